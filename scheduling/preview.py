"""When a schedule would run next, told for people: in UTC, in its zone, and what the clocks do (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduling.recurrence import Recurrence, instants_between

_FAR: datetime = datetime(9990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FireTime:
    """One planned instant, and what is odd about its local time.

    `clock_change` is by how much the clocks went forward since the instant before; `twice` is `first` or
    `second` where the local time comes twice on that day.
    """

    utc: datetime
    local: datetime
    clock_change: timedelta = timedelta()
    twice: str = ""

    @property
    def note(self) -> str:
        """What is odd, in words; empty for most."""
        notes = []
        if self.clock_change:
            direction = "forward" if self.clock_change > timedelta() else "back"
            minutes = abs(self.clock_change) // timedelta(minutes=1)
            notes.append(f"The clocks go {direction} by {minutes} minutes before this run.")
        if self.twice:
            notes.append(f"This local time comes twice on that day; this is the {self.twice}.")
        return " ".join(notes)


def next_fire_times(recurrence: Recurrence, *, after: datetime, count: int) -> list[FireTime]:
    """Return the first `count` planned instants strictly after `after`; the rule must be valid."""
    instants = instants_between(recurrence, after, _FAR, count)
    return fire_times(instants, zone=ZoneInfo(recurrence.timezone), after=after)


def fire_times(instants: Iterable[datetime], *, zone: ZoneInfo, after: datetime) -> list[FireTime]:
    """Return instants with their local times; the first is compared with `after`."""
    before = after.astimezone(zone)
    found = []
    for instant in instants:
        local = instant.astimezone(zone)
        found.append(
            FireTime(
                utc=instant, local=local, clock_change=_offset(local) - _offset(before), twice=_fold(local)
            )
        )
        before = local
    return found


def _fold(local: datetime) -> str:
    first, second = local.replace(fold=0), local.replace(fold=1)
    if _offset(first) <= _offset(second):
        return ""
    return "second" if local.fold else "first"


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or timedelta()
