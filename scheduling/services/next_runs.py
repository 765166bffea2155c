"""What a schedule's own fields say of when it runs next."""

from datetime import datetime, timedelta
from typing import Final

from access.sentences import said as _
from scheduling.errors import InvalidState
from scheduling.kinds import ScheduleKind, ScheduleStatus
from scheduling.models import Schedule
from scheduling.recurrence import Recurrence, next_after

_RECURRENCE_FIELDS: Final = (
    "kind",
    "cron_expression",
    "interval_secs",
    "timezone",
    "start_time",
    "end_time",
    "dst_gap",
    "dst_overlap",
)


def recurrence_of(schedule: Schedule) -> Recurrence:
    """Return the pure rule that `schedule` states."""
    fields = {name: getattr(schedule, name) for name in _RECURRENCE_FIELDS}
    return Recurrence(**fields, seed=str(schedule.seed))


def set_next_run(schedule: Schedule, *, now: datetime) -> None:
    """Set the next instant, and with it the status that follows from there being none."""
    schedule.next_run_at = None
    if schedule.status == ScheduleStatus.DISABLED:
        return
    used_up = schedule.max_count is not None and schedule.run_count >= schedule.max_count
    # A start in the past is no reason to run at once, but for `once` it is the only instant there is.
    if schedule.kind == ScheduleKind.ONCE and schedule.start_time and schedule.run_count == 0:
        schedule.next_run_at = schedule.start_time
        schedule.planned_until = min(now, schedule.start_time - timedelta(microseconds=1))
    elif not used_up and schedule.counts_from_the_end:
        # The first run comes at the start, or at once.
        schedule.next_run_at = max(now, schedule.start_time or now)
        if schedule.end_time is not None and schedule.next_run_at > schedule.end_time:
            schedule.next_run_at = None
    elif not used_up:
        schedule.next_run_at = next_after(recurrence_of(schedule), now)
    has_next = schedule.next_run_at is not None
    schedule.status = ScheduleStatus.ENABLED if has_next else ScheduleStatus.EXPIRED


def nothing_left(schedule: Schedule) -> InvalidState:
    """Return why a schedule cannot be enabled that has no instant left."""
    return InvalidState(
        action=_("enable this schedule, which has no instant left"),
        current=schedule.status,
        allowed=(ScheduleStatus.ENABLED, ScheduleStatus.DISABLED),
    )
