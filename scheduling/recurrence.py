"""The rules of time (pure): which instants a schedule plans.

Instants go in and come out as aware UTC; the zone of the schedule matters only in here. What expressions mean
and what the clocks do to them stands in `scheduling.timing`.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import Final
from zoneinfo import available_timezones

from access.sentences import said as _
from scheduling.timing import cron, expressions, zones
from scheduling.timing.cron import Every
from scheduling.timing.errors import ExpressionError
from scheduling.timing.expressions import Expression
from scheduling.timing.words import in_words
from scheduling.timing.zones import Gap, Overlap

MAX_INTERVAL_SECS: Final = 366 * 86_400
# The calendar of before and the end of all dates are left to others.
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9900

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RecurrenceError(ValueError):
    """A schedule's rule is refused; `field` is the one at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What a schedule says about time; instants are aware UTC.

    `cron_expression` holds one expression a line. An interval is a fixed rate from `start_time`, or from the
    Unix epoch where there is none, so that its instants do not depend on when anything was started.
    Without `dst_gap` and `dst_overlap` expressions are treated as Debian's cron treats them: those with a
    fixed hour and minute run once, after a gap and in the first pass, others follow the time that passes.
    `seed` tells schedules apart for `~`.
    """

    kind: str
    cron_expression: str | None = None
    interval_secs: int | None = None
    timezone: str = "UTC"
    start_time: datetime | None = None
    end_time: datetime | None = None
    dst_gap: str | None = None
    dst_overlap: str | None = None
    seed: str = ""


def validate(recurrence: Recurrence) -> None:
    """Raise RecurrenceError, naming the field and an example that works, where the rule is not sound."""
    if recurrence.timezone not in _zone_names():
        raise RecurrenceError(
            "timezone",
            _(
                "%(timezone)s is not an IANA time zone; examples: UTC, Asia/Shanghai",
                timezone=repr(recurrence.timezone),
            ),
        )
    _validate_bounds(recurrence)
    _validate_daylight(recurrence)
    if recurrence.kind == "cron":
        try:
            _expressions(recurrence)
        except ExpressionError as error:
            raise RecurrenceError("cron_expression", error.args[0]) from error
    elif recurrence.kind == "interval":
        interval = recurrence.interval_secs
        if type(interval) is not int or not 1 <= interval <= MAX_INTERVAL_SECS:
            raise RecurrenceError(
                "interval_secs",
                _(
                    "expected a whole number of seconds from 1 to %(most)s, such as 300",
                    most=MAX_INTERVAL_SECS,
                ),
            )
    elif recurrence.kind == "once":
        if recurrence.start_time is None:
            raise RecurrenceError("start_time", _("required, such as 2026-12-24T18:00:00Z"))
    else:
        raise RecurrenceError(
            "kind", _("%(kind)s is not one of cron, interval, once", kind=repr(recurrence.kind))
        )


def next_after(recurrence: Recurrence, after: datetime) -> datetime | None:
    """Return the first planned instant strictly after `after`, or None where there is none."""
    return next(_instants(recurrence, after), None)


def instants_between(recurrence: Recurrence, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """Return the planned instants in (after, until], the first `limit` of them."""
    return stretch(recurrence, after, until, limit)[0]


def stretch(
    recurrence: Recurrence, after: datetime, until: datetime, limit: int
) -> tuple[list[datetime], datetime | None]:
    """Return the planned instants in (after, until], the first `limit` of them, and the one that follows."""
    result: list[datetime] = []
    for instant in _instants(recurrence, after):
        if instant > until or len(result) >= limit:
            return result, instant
        result.append(instant)
    return result, None


def instants_after(recurrence: Recurrence, after: datetime, limit: int) -> Iterator[datetime]:
    """Yield at most `limit` planned instants strictly after `after`."""
    return islice(_instants(recurrence, after), limit)


def count_between(recurrence: Recurrence, after: datetime, until: datetime, limit: int) -> int:
    """Return how many instants are planned in (after, until], counted up to `limit` and one."""
    if recurrence.kind == "interval":
        interval = timedelta(seconds=recurrence.interval_secs or 1)
        first = next_after(recurrence, after)
        last = until if recurrence.end_time is None else min(until, recurrence.end_time)
        return 0 if first is None or first > last else min((last - first) // interval, limit) + 1
    return sum(
        1 for _ in takewhile(lambda instant: instant <= until, instants_after(recurrence, after, limit + 1))
    )


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A change of the clocks: on the wall, `before` becomes `after` (naive); what is planned meanwhile.

    Of the local times that it skips or repeats, `times` are planned, each with what becomes of it.
    """

    at: datetime
    before: datetime
    after: datetime
    times: tuple[tuple[datetime, Gap | Overlap], ...]


def clock_changes(
    recurrence: Recurrence, after: datetime, until: datetime, limit: int
) -> Iterator[ClockChange]:
    """Yield the changes of the clocks in (after, until], with at most `limit` planned times each."""
    parsed = _expressions(recurrence) if recurrence.kind == "cron" else ()
    patterns = [each for each in parsed if not isinstance(each, Every)]
    for old, new in zones.changes(recurrence.timezone, after, until):
        begin, end = sorted((old.local_end, new.local_start))
        times: dict[datetime, Gap | Overlap] = {}
        for pattern in patterns:
            policy = _policies(pattern, recurrence)[new.offset < old.offset]
            planned = takewhile(lambda local: local < end, pattern.after(begin - zones.TICK))  # noqa: B023
            times |= dict.fromkeys(islice(planned, limit), policy)
        at = new.start.replace(tzinfo=UTC)
        yield ClockChange(at, old.local_end, new.local_start, tuple(sorted(times.items())))


def describe(recurrence: Recurrence, *, language: str = "en") -> str:
    """Return the rule in words; Chinese where cron is concerned, if `language` says so."""
    if recurrence.kind == "cron":
        words = in_words(recurrence.cron_expression or "", language=language, seed=recurrence.seed)
        return f"{words} ({recurrence.timezone})"
    if recurrence.kind == "interval":
        return f"Every {recurrence.interval_secs} seconds"
    return f"Once, at {recurrence.start_time:%Y-%m-%d %H:%M:%S} UTC"


def drawn(recurrence: Recurrence) -> Recurrence:
    """Return the same rule with what `~` draws spelt out, so that schedules which run alike are equal."""
    text = recurrence.cron_expression or ""
    if recurrence.kind != "cron" or "~" not in text:
        return replace(recurrence, seed="")
    lines = expressions.split(text)
    spelt_out = [
        cron.spell_out(line, recurrence.seed) if expressions.language(line) == "cron" else line
        for line in lines
    ]
    return replace(recurrence, cron_expression="\n".join(spelt_out), seed="")


def _instants(recurrence: Recurrence, after: datetime) -> Iterator[datetime]:
    """Yield the planned instants strictly after `after`, in order, within start and end."""
    start, end = recurrence.start_time, recurrence.end_time
    if recurrence.kind == "once":
        candidates: Iterator[datetime] = iter([start] if start is not None and start > after else [])
    elif recurrence.kind == "interval":
        interval = timedelta(seconds=recurrence.interval_secs or 1)
        candidates = _interval_instants(start or _EPOCH, interval, after)
    else:
        # The start itself counts, and patterns look strictly after what they are given.
        begin = after if start is None else max(after, start - timedelta(microseconds=1))
        candidates = _expression_instants(recurrence, begin)
    for instant in candidates:
        if end is not None and instant > end:
            return
        yield instant


def _interval_instants(anchor: datetime, interval: timedelta, after: datetime) -> Iterator[datetime]:
    step = max(0, (after - anchor) // interval + 1) if after >= anchor else 0
    while True:
        yield anchor + step * interval
        step += 1


def _expression_instants(recurrence: Recurrence, after: datetime) -> Iterator[datetime]:
    """Yield the instants of all expressions, each once, strictly after `after`."""
    parsed = _expressions(recurrence)
    if len(parsed) == 1:
        yield from _instants_of(parsed[0], recurrence, after)
        return
    last = after
    for instant in heapq.merge(*(_instants_of(each, recurrence, after) for each in parsed)):
        if instant > last:
            last = instant
            yield instant


def _instants_of(expression: Expression, recurrence: Recurrence, after: datetime) -> Iterator[datetime]:
    if isinstance(expression, Every):
        return _interval_instants(recurrence.start_time or _EPOCH, expression.interval, after)
    gap, overlap = _policies(expression, recurrence)
    return zones.instants(expression, recurrence.timezone, after, gap=gap, overlap=overlap)


def _policies(expression: zones.Pattern, recurrence: Recurrence) -> tuple[Gap, Overlap]:
    """Return what the schedule says of skipped and repeated times, or else what Debian's cron does."""
    is_fixed = expression.is_wall_clock
    return (
        Gap(recurrence.dst_gap or (Gap.NEXT_VALID if is_fixed else Gap.SKIP)),
        Overlap(recurrence.dst_overlap or (Overlap.FIRST if is_fixed else Overlap.BOTH)),
    )


def _expressions(recurrence: Recurrence) -> tuple[Expression, ...]:
    text = recurrence.cron_expression or ""
    return expressions.parse(
        text,
        zone=recurrence.timezone,
        start=recurrence.start_time,
        # Schedules that draw nothing share what is parsed.
        seed=recurrence.seed if "~" in text else "",
    )


def _validate_bounds(recurrence: Recurrence) -> None:
    for name in ("start_time", "end_time"):
        value = getattr(recurrence, name)
        if value is not None and value.tzinfo is None:
            raise RecurrenceError(name, _("expected a time with its zone, such as 2026-12-24T18:00:00Z"))
        if value is not None and not FIRST_YEAR <= value.year <= LAST_YEAR:
            raise RecurrenceError(
                name,
                _(
                    "expected a year from %(first)s to %(last)s",
                    first=FIRST_YEAR,
                    last=LAST_YEAR,
                ),
            )
    start, end = recurrence.start_time, recurrence.end_time
    if start is not None and end is not None and end <= start:
        raise RecurrenceError("end_time", _("expected a time after start_time"))


def _validate_daylight(recurrence: Recurrence) -> None:
    for name, choices in (("dst_gap", Gap), ("dst_overlap", Overlap)):
        value = getattr(recurrence, name)
        if value is not None and value not in list(choices):
            raise RecurrenceError(
                name, _("expected one of %(choices)s, or null for what cron does", choices=", ".join(choices))
            )


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())
