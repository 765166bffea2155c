"""How many next instants a second, against bare cronsim: the same expressions, zones and moments.

Two questions are asked of both: the next instant after a moment, which is what saving and planning a schedule
need (cronsim is constructed for it, ours is a rule that was stored), and one instant after another. Blocks of
both are timed in turn, by CPU time of the thread.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from benchmarks.installation import Installation
from benchmarks.table import Row, quantile

NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
ZONES: Final = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Shanghai")
EXPRESSIONS: Final = (
    "* * * * *",
    "*/5 * * * *",
    "30 2 * * *",
    "0 9 * * MON-FRI",
    "30 2 1 * *",
    "0 0 L * *",
    "15 3 * * FRI#2",
    "*/10 * * * * *",
)
IN_A_ROW: Final = 100
AIM: Final = "≥ 0.60"


def measure(_place: Installation, quick: bool) -> list[Row]:
    """Compare both for each expression in each zone; rows tell the least favourable zone."""
    rounds, moments = (2, 20) if quick else (9, 400)
    rows: list[Row] = []
    for expression in EXPRESSIONS:
        for what, make in (("next", _next_ones), ("in a row", _in_a_row)):
            found = [_compare(*make(expression, zone, moments), rounds) for zone in ZONES]
            share, rate, zone = min(
                (share, rate, zone) for (share, rate), zone in zip(found, ZONES, strict=True)
            )
            name = f"{expression}: {what}"
            rows.append(Row(name, f"{share:.2f} of cronsim, {rate:,.0f} a second (least: {zone})", AIM))
    return rows


def _next_ones(expression: str, zone: str, moments: int) -> tuple[Callable[[], Any], Callable[[], Any], int]:
    from scheduling.recurrence import Recurrence, next_after  # noqa: PLC0415 (after the settings are known)

    rule = Recurrence(kind="cron", cron_expression=expression, timezone=zone)
    instants = [NOW + timedelta(hours=37 * number, seconds=number) for number in range(moments)]
    locals_ = [instant.astimezone(_zone(zone)) for instant in instants]
    return (
        lambda: [next_after(rule, instant) for instant in instants],
        lambda: [next(CronSim(expression, local)) for local in locals_],
        moments,
    )


def _in_a_row(expression: str, zone: str, moments: int) -> tuple[Callable[[], Any], Callable[[], Any], int]:
    from scheduling.recurrence import Recurrence, instants_after  # noqa: PLC0415

    rule = Recurrence(kind="cron", cron_expression=expression, timezone=zone)
    local = NOW.astimezone(_zone(zone))
    starts = range(max(1, moments // IN_A_ROW))
    return (
        lambda: [list(instants_after(rule, NOW, IN_A_ROW)) for _ in starts],
        lambda: [list(islice(CronSim(expression, local), IN_A_ROW)) for _ in starts],
        len(starts) * IN_A_ROW,
    )


def _compare(
    ours: Callable[[], Any], bare: Callable[[], Any], count: int, rounds: int
) -> tuple[float, float]:
    """Return the median share of cronsim's rate, and our own rate."""
    shares, rates = [], []
    for _ in range(rounds):
        own, other = _seconds(ours), _seconds(bare)
        shares.append(other / own)
        rates.append(count / own)
    return quantile(shares, 0.5), quantile(rates, 0.5)


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def _zone(name: str) -> Any:
    return UTC if name == "UTC" else ZoneInfo(name)
