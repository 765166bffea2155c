"""When a schedule would run next, told for people: in UTC, in its zone, and what the clocks do (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduling.recurrence import Recurrence, instants_between

_FAR: datetime = datetime(9990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FireTime:
    """One planned instant; `note` says what is odd about its local time, or is empty."""

    utc: datetime
    local: datetime
    note: str


def next_fire_times(recurrence: Recurrence, *, after: datetime, count: int) -> list[FireTime]:
    """Return the first `count` planned instants strictly after `after`; the rule must be valid."""
    instants = instants_between(recurrence, after, _FAR, count)
    return list(_with_notes(instants, ZoneInfo(recurrence.timezone), after))


def _with_notes(instants: list[datetime], zone: ZoneInfo, after: datetime) -> Iterator[FireTime]:
    before = after.astimezone(zone)
    for instant in instants:
        local = instant.astimezone(zone)
        notes = [_change_note(before, local), _fold_note(local)]
        yield FireTime(utc=instant, local=local, note=" ".join(note for note in notes if note))
        before = local


def _change_note(before: datetime, local: datetime) -> str:
    change = _offset(local) - _offset(before)
    if not change:
        return ""
    direction = "forward" if change > timedelta() else "back"
    minutes = abs(change) // timedelta(minutes=1)
    return f"The clocks go {direction} by {minutes} minutes before this run."


def _fold_note(local: datetime) -> str:
    first, second = local.replace(fold=0), local.replace(fold=1)
    if _offset(first) <= _offset(second):
        return ""
    which = "second" if local.fold else "first"
    return f"This local time comes twice on that day; this is the {which}."


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or timedelta()
