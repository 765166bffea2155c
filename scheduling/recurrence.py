"""The rules of time (pure): which instants a schedule plans.

Instants go in and come out as aware UTC; the zone of the schedule matters only in here. Cron is cronsim's,
which follows Debian's cron through daylight-saving changes: 5 fields, or 6 with seconds first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

MAX_EXPRESSION_CHARS: Final = 255
MAX_INTERVAL_SECS: Final = 366 * 86_400

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_CRON_CHARACTERS: Final = re.compile(r"[0-9A-Za-z*/,#\- ]+\Z")
_EXAMPLE: Final = "an example that works: 30 2 * * 1-5 (half past two on weekdays)"


class RecurrenceError(ValueError):
    """A schedule's rule is refused; `field` is the one at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What a schedule says about time; instants are aware UTC.

    An interval is a fixed rate from `start_time`, or from the Unix epoch where there is none, so that its
    instants do not depend on when anything was started.
    """

    kind: str
    cron_expression: str | None = None
    interval_secs: int | None = None
    timezone: str = "UTC"
    start_time: datetime | None = None
    end_time: datetime | None = None


def validate(recurrence: Recurrence) -> None:
    """Raise RecurrenceError, naming the field and an example that works, where the rule is not sound."""
    if recurrence.timezone not in _zone_names():
        raise RecurrenceError(
            "timezone", f"{recurrence.timezone!r} is not an IANA time zone; examples: UTC, Asia/Shanghai"
        )
    _validate_bounds(recurrence)
    if recurrence.kind == "cron":
        _validate_cron(recurrence.cron_expression, recurrence.timezone)
    elif recurrence.kind == "interval":
        interval = recurrence.interval_secs
        if type(interval) is not int or not 1 <= interval <= MAX_INTERVAL_SECS:
            raise RecurrenceError(
                "interval_secs",
                f"expected a whole number of seconds from 1 to {MAX_INTERVAL_SECS}, such as 300",
            )
    elif recurrence.kind == "once":
        if recurrence.start_time is None:
            raise RecurrenceError("start_time", "required, such as 2026-12-24T18:00:00Z")
    else:
        raise RecurrenceError("kind", f"{recurrence.kind!r} is not one of cron, interval, once")


def next_after(recurrence: Recurrence, after: datetime) -> datetime | None:
    """Return the first planned instant strictly after `after`, or None where there is none."""
    return next(_instants(recurrence, after), None)


def instants_between(recurrence: Recurrence, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """Return the planned instants in (after, until], the first `limit` of them."""
    result: list[datetime] = []
    for instant in _instants(recurrence, after):
        if instant > until or len(result) >= limit:
            break
        result.append(instant)
    return result


def _instants(recurrence: Recurrence, after: datetime) -> Iterator[datetime]:
    """Yield the planned instants strictly after `after`, in order, within start and end."""
    start, end = recurrence.start_time, recurrence.end_time
    if recurrence.kind == "once":
        candidates: Iterator[datetime] = iter([start] if start is not None and start > after else [])
    elif recurrence.kind == "interval":
        candidates = _interval_instants(recurrence, after)
    else:
        # The start itself counts, and cronsim looks strictly after what it is given.
        begin = after if start is None else max(after, start - timedelta(microseconds=1))
        candidates = _cron_instants(str(recurrence.cron_expression), recurrence.timezone, begin)
    for instant in candidates:
        if end is not None and instant > end:
            return
        yield instant


def _interval_instants(recurrence: Recurrence, after: datetime) -> Iterator[datetime]:
    anchor = recurrence.start_time or _EPOCH
    interval = timedelta(seconds=recurrence.interval_secs or 1)
    step = max(0, (after - anchor) // interval + 1) if after >= anchor else 0
    while True:
        yield anchor + step * interval
        step += 1


def _cron_instants(expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Yield cronsim's instants in UTC.

    From within the second pass of a repeated hour cronsim's next instant can lie in the past (it is the first
    pass's); such instants have had their turn and are passed over.
    """
    last = after
    for local in CronSim(normalise_cron(expression), after.astimezone(_zone(timezone))):
        instant = local.astimezone(UTC)
        if instant > last:
            last = instant
            yield instant


def normalise_cron(expression: str) -> str:
    """Return `expression` with a macro such as @daily spelt out."""
    return _MACROS.get(expression.strip().lower(), expression.strip())


def describe(recurrence: Recurrence) -> str:
    """Return the rule in English words."""
    if recurrence.kind == "cron":
        now = datetime.now(UTC)
        words = CronSim(normalise_cron(str(recurrence.cron_expression)), now).explain()
        return f"{words} ({recurrence.timezone})"
    if recurrence.kind == "interval":
        return f"Every {recurrence.interval_secs} seconds"
    return f"Once, at {recurrence.start_time:%Y-%m-%d %H:%M:%S} UTC"


@lru_cache(maxsize=4096)
def _validate_cron(expression: str | None, timezone: str) -> None:
    if not expression or not expression.strip():
        raise RecurrenceError("cron_expression", f"required; {_EXAMPLE}")
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise RecurrenceError("cron_expression", f"longer than {MAX_EXPRESSION_CHARS} characters; {_EXAMPLE}")
    text = normalise_cron(expression)
    if not _CRON_CHARACTERS.match(text):
        raise RecurrenceError(
            "cron_expression", f"{expression!r} holds a character that cron does not know; {_EXAMPLE}"
        )
    try:
        next(CronSim(text, datetime(2024, 1, 1, tzinfo=_zone(timezone))))
    except (CronSimError, StopIteration) as error:
        why = str(error) or "it never comes true"
        raise RecurrenceError(
            "cron_expression", f"{expression!r} cannot be planned: {why}; {_EXAMPLE}"
        ) from None


def _validate_bounds(recurrence: Recurrence) -> None:
    for name in ("start_time", "end_time"):
        value = getattr(recurrence, name)
        if value is not None and value.tzinfo is None:
            raise RecurrenceError(name, "expected a time with its zone, such as 2026-12-24T18:00:00Z")
    start, end = recurrence.start_time, recurrence.end_time
    if start is not None and end is not None and end <= start:
        raise RecurrenceError("end_time", "expected a time after start_time")


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
