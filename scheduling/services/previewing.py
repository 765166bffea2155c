"""What planning would make of a schedule's next instants, calendar and freeze included. Writes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Q

from scheduling.calendars import NO_CALENDAR, CalendarRules, Obstacle
from scheduling.judging import FrozenSpan, PlannedInstant, Rules, judge
from scheduling.models import Freeze, Schedule
from scheduling.preview import FireTime, fire_times
from scheduling.recurrence import instants_between
from scheduling.services.calendars import rules_of
from scheduling.services.next_runs import recurrence_of

_FAR: Final = datetime(9990, 1, 1, tzinfo=UTC)
# Among so many instants the next ones that a calendar allows are looked for: first among few.
_LOOKED_AT: Final = (50, 1000)


@dataclass(frozen=True, slots=True)
class ComingRun:
    """A planned instant, what is to become of it, and what stands against it."""

    time: FireTime
    fate: PlannedInstant
    obstacle: Obstacle | None = None
    is_frozen: bool = False


def coming_runs(
    schedule: Schedule, *, now: datetime, count: int, frozen: FrozenSpan | None = None
) -> list[ComingRun]:
    """Return the next `count` instants of a schedule, whose rule must be valid, and what becomes of them.

    No query where the schedule's calendar is loaded. The job is taken to be enabled.
    """
    zone, calendar = ZoneInfo(schedule.timezone), calendar_of(schedule)
    rules = Rules(
        zone=zone,
        grace_ends=now,
        misfire_policy="run_all",
        calendar=calendar,
        calendar_policy=schedule.calendar_policy,
        frozen=frozen,
    )
    instants, following = _instants(schedule, now=now, count=count)
    judged = judge(instants, following, (), rules)
    times = fire_times(instants, zone=zone, after=now)
    found = [
        ComingRun(
            time=time,
            fate=fate,
            obstacle=calendar.obstacle(time.utc, zone),
            is_frozen=frozen is not None and frozen.holds(time.utc),
        )
        for time, fate in zip(times, judged, strict=True)
    ]
    return _up_to_the_last_allowed(schedule, found)


def next_runs(schedule: Schedule, *, now: datetime, count: int) -> list[datetime]:
    """Return when a schedule runs its job next, at most `count` times, without what its calendar forbids."""
    runs: list[datetime] = []
    for looked_at in (count, *(_LOOKED_AT if schedule.calendar_id is not None else ())):
        coming = coming_runs(schedule, now=now, count=looked_at)
        runs = [each.fate.due_at for each in coming if each.fate.runs][:count]
        if len(runs) == count:
            break
    return runs


def calendar_of(schedule: Schedule) -> CalendarRules:
    """Return the rules of a schedule's calendar, or those that forbid nothing."""
    return NO_CALENDAR if schedule.calendar is None else rules_of(schedule.calendar)


def freeze_of(namespace: str, *, now: datetime) -> Freeze | None:
    """Return what keeps a namespace from being planned at the moment."""
    return (
        Freeze.objects.filter(namespace=namespace, since__lte=now)
        .filter(Q(until__isnull=True) | Q(until__gt=now))
        .first()
    )


def _instants(schedule: Schedule, *, now: datetime, count: int) -> tuple[list[datetime], datetime | None]:
    if schedule.counts_from_the_end:
        # The later ones depend on when runs end.
        first = schedule.next_run_at or schedule.start_time or now
        return ([max(first, now)][:count], None)
    found = instants_between(recurrence_of(schedule), now, _FAR, count + 1)
    return found[:count], found[count] if len(found) > count else None


def _up_to_the_last_allowed(schedule: Schedule, found: list[ComingRun]) -> list[ComingRun]:
    if schedule.max_count is None:
        return found
    left = schedule.max_count - schedule.run_count
    kept = []
    for each in found:
        if left <= 0:
            break
        kept.append(each)
        left -= each.fate.runs
    return kept
