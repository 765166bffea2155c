"""What planning would make of a schedule's next instants, calendar and freeze included. Writes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Q

from scheduling.calendars import NO_CALENDAR, CalendarRules, Obstacle
from scheduling.judging import FrozenSpan, PlannedInstant, Rules, judge
from scheduling.kinds import CalendarPolicy
from scheduling.models import Freeze, Schedule
from scheduling.preview import FireTime, fire_times
from scheduling.recurrence import instants_between, next_after
from scheduling.services.calendars import rules_of
from scheduling.services.next_runs import recurrence_of

_FAR: Final = datetime(9990, 1, 1, tzinfo=UTC)
# So many instants, or stretches in which all is forbidden, are looked at for the next run.
_LOOKED_AT: Final = 500
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ComingRun:
    """A planned instant, what is to become of it, and what stands against it."""

    time: FireTime
    fate: PlannedInstant
    obstacle: Obstacle | None = None
    is_frozen: bool = False


def coming_runs(
    schedule: Schedule,
    *,
    now: datetime,
    count: int,
    until: datetime = _FAR,
    frozen: FrozenSpan | None = None,
) -> list[ComingRun]:
    """Return the next `count` instants of a schedule up to `until`, and what becomes of them.

    Its rule must be valid.

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
    instants, following = _instants(schedule, now=now, until=until, count=count)
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


def next_run(schedule: Schedule, *, now: datetime) -> datetime | None:
    """Return when a schedule runs its job next, after what its calendar forbids; None where it does not.

    None as well where all that was looked at is forbidden.
    """
    zone, calendar = ZoneInfo(schedule.timezone), calendar_of(schedule)
    at = now
    for _each in range(_LOOKED_AT):
        coming = coming_runs(schedule, now=at, count=1)
        if not coming:
            return None
        fate = coming[0].fate
        if fate.runs:
            return fate.due_at
        at = fate.scheduled_at
        # A run that is moved stands between others that are not, so each is looked at.
        if schedule.calendar_policy == CalendarPolicy.SKIP:
            at = calendar.changes_after(at, zone) - _TICK
    return None


def calendar_of(schedule: Schedule) -> CalendarRules:
    """Return the rules of a schedule's calendar, or those that forbid nothing."""
    return NO_CALENDAR if schedule.calendar is None else rules_of(schedule.calendar)


def frozen_span(namespace: str, *, now: datetime) -> FrozenSpan | None:
    """Return the time in which a namespace is frozen, where it is at `now` or later."""
    freeze = Freeze.objects.filter(namespace=namespace).exclude(until__lte=now).first()
    return None if freeze is None else FrozenSpan(freeze.since, freeze.until, freeze.reason)


def freeze_of(namespace: str, *, now: datetime) -> Freeze | None:
    """Return what keeps a namespace from being planned at the moment."""
    return (
        Freeze.objects.filter(namespace=namespace, since__lte=now)
        .filter(Q(until__isnull=True) | Q(until__gt=now))
        .first()
    )


def _instants(
    schedule: Schedule, *, now: datetime, until: datetime, count: int
) -> tuple[list[datetime], datetime | None]:
    """Return the instants that are asked for, and the one after them."""
    if schedule.counts_from_the_end:
        # The later ones depend on when runs end.
        first = max(schedule.next_run_at or schedule.start_time or now, now)
        return ([first] if first <= until else [], None)
    recurrence = recurrence_of(schedule)
    found = instants_between(recurrence, now, until, count)
    return found, next_after(recurrence, found[-1] if found else now)


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
