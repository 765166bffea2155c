"""What is to run: tasks that wait, and the next instants of schedules. Bounded, and nothing is written."""

import time
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.models import QuerySet

from scheduling.judging import FrozenSpan
from scheduling.kinds import ScheduleStatus
from scheduling.models import Freeze, Schedule, Task
from scheduling.services.previewing import coming_runs

MAX_WAITING: Final = 300
MAX_PLANNED: Final = 500
# So many of those that have waited longest, or come next, are looked at.
_TASKS_LOOKED_AT: Final = 20_000
_SCHEDULES_LOOKED_AT: Final = 200
_OF_ONE_SCHEDULE: Final = 50
_BUDGET_SECS: Final = 0.5


class Waiting(NamedTuple):
    """A task without an attempt that lives."""

    id: int
    job_id: int
    due_at: datetime


class Planned(NamedTuple):
    """An instant of a schedule that is no task yet."""

    schedule_id: int
    job_id: int
    due_at: datetime


def waiting_tasks(
    *, until: datetime, namespaces: Collection[str] | None = None, job_ids: Collection[int] | None = None
) -> list[Waiting]:
    """Return tasks that wait and are due by `until`, those that were planned for first."""
    claimable = Task.objects.claimable().filter(scheduled_at__lte=until).order_by("scheduled_at")
    if job_ids is None and namespaces is not None:
        # However many wait of other namespaces.
        claimable = Task.objects.filter(pk__in=claimable.values("pk")[:_TASKS_LOOKED_AT])
    tasks = _within(claimable, namespaces=namespaces, path="namespace", job_ids=job_ids)
    rows = tasks.filter(due_at__lte=until).order_by("scheduled_at")
    return [Waiting._make(row) for row in rows.values_list("pk", "job_id", "due_at")[:MAX_WAITING]]


def planned_instants(
    *,
    now: datetime,
    until: datetime,
    namespaces: Collection[str] | None = None,
    job_ids: Collection[int] | None = None,
) -> tuple[list[Planned], bool]:
    """Return what schedules will run by `until`, soonest schedules first, and whether that is all.

    Calendars and freezes hold; of each schedule the next _OF_ONE_SCHEDULE instants are looked at.
    """
    schedules = Schedule.objects.present().filter(
        status=ScheduleStatus.ENABLED,
        job__enabled=True,
        job__archived_at__isnull=True,
        next_run_at__isnull=False,
        next_run_at__lte=until,
    )
    chosen = _within(schedules, namespaces=namespaces, path="job__namespace", job_ids=job_ids)
    found = list(
        chosen.select_related("job", "calendar").order_by("next_run_at", "pk")[: _SCHEDULES_LOOKED_AT + 1]
    )
    frozen = _frozen({schedule.namespace for schedule in found}, now=now)
    give_up_at = time.monotonic() + _BUDGET_SECS
    planned: list[Planned] = []
    is_all = len(found) <= _SCHEDULES_LOOKED_AT
    for schedule in found[:_SCHEDULES_LOOKED_AT]:
        if len(planned) >= MAX_PLANNED or time.monotonic() > give_up_at:
            return planned, False
        coming = _coming(schedule, now=now, until=until, frozen=frozen.get(schedule.namespace))
        planned += coming
        is_all = is_all and len(coming) < _OF_ONE_SCHEDULE
    return planned, is_all


def _coming(
    schedule: Schedule, *, now: datetime, until: datetime, frozen: FrozenSpan | None
) -> list[Planned]:
    after = max(now, schedule.planned_until)
    try:
        runs = coming_runs(schedule, now=after, until=until, count=_OF_ONE_SCHEDULE, frozen=frozen)
    except (ValueError, OverflowError):
        # Planning says on the schedule what is wrong with it.
        return []
    return [Planned(schedule.pk, schedule.job_id, run.fate.due_at) for run in runs if run.fate.runs]


def _frozen(namespaces: Collection[str], *, now: datetime) -> dict[str, FrozenSpan]:
    freezes = Freeze.objects.filter(namespace__in=namespaces).exclude(until__lte=now)
    return {each.namespace: FrozenSpan(each.since, each.until, each.reason) for each in freezes}


def _within(
    rows: QuerySet[Any], *, namespaces: Collection[str] | None, path: str, job_ids: Collection[int] | None
) -> QuerySet[Any]:
    if job_ids is not None:
        rows = rows.filter(job_id__in=job_ids)
    return rows if namespaces is None else rows.filter(**{f"{path}__in": sorted(namespaces)})
