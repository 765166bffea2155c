"""What can be done to many objects by a bulk action: to each by itself, or to many of them together."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db.models import Q

from access.actors import Actor
from access.permits import Permit, Permits
from scheduling.kinds import BulkVerb, ScheduleStatus
from scheduling.models import Alert, BulkTarget, Job, Schedule, Task
from scheduling.services import alerts, importing, manual, many
from scheduling.services.definitions import (
    archive_job,
    archive_schedule,
    disable_schedule,
    enable_schedule,
    update_job,
)
from scheduling.states import TASK_RETRYABLE, TASK_TERMINAL

# So many targets are done in one transaction, where a few statements do for all of them.
AT_ONCE: Final = 200

# Does a verb to many objects, by their ids.
DoMany = Callable[..., many.Done]


@dataclass(frozen=True, slots=True)
class Deed:
    """What a verb does to one target, what it takes to be offered, and to which objects it can be done.

    `do` returns what is noted of the target; `do_many` does it to many objects at once, where that is known.
    """

    permission: str
    do: Callable[[BulkTarget, datetime, Actor, Permits], dict[str, Any] | None]
    applies_to: Q
    do_many: DoMany | None = None
    at_once: int = AT_ONCE


def _deed(
    permission: str,
    do: Callable[[int, datetime, Actor, Permit], object],
    applies_to: Q,
    do_many: DoMany | None = None,
    at_once: int = AT_ONCE,
) -> Deed:
    """Return the deed that is done to an object, by its id."""

    def do_to_object(target: BulkTarget, now: datetime, by: Actor, permits: Permits) -> None:
        do(target.target_id, now, by, permits(permission))

    return Deed(permission, do_to_object, applies_to, do_many, at_once)


def _run_job(job_id: int, now: datetime, by: Actor, permit: Permit) -> None:
    job = Job.objects.present().get(pk=job_id)
    permit(job.namespace)
    manual.trigger_job(job=job, now=now, by=by)


def _cancel_task(task_id: int, now: datetime, by: Actor, permit: Permit) -> None:
    permit(Task.objects.values_list("namespace", flat=True).get(pk=task_id))
    manual.cancel(task_id=task_id, now=now, by=by)


def _retry_task(task_id: int, now: datetime, by: Actor, permit: Permit) -> None:
    permit(Task.objects.values_list("namespace", flat=True).get(pk=task_id))
    manual.retry(task_id=task_id, now=now, by=by)


def _acknowledge_alert(alert_id: int, now: datetime, by: Actor, permit: Permit) -> None:
    permit(Alert.objects.values_list("namespace", flat=True).get(pk=alert_id))
    alerts.acknowledge(alert_id=alert_id, now=now, by=by)


def _switch_job(*, enabled: bool) -> Callable[[int, datetime, Actor, Permit], object]:
    return lambda job_id, now, by, permit: update_job(
        job_id=job_id, now=now, by=by, permit=permit, enabled=enabled
    )


DEEDS: Final[dict[BulkVerb, Deed]] = {
    BulkVerb.RUN_JOBS: _deed("scheduling.add_task", _run_job, Q(enabled=True)),
    BulkVerb.ENABLE_JOBS: _deed(
        "scheduling.switch_job",
        _switch_job(enabled=True),
        Q(enabled=False),
        partial(many.switch_jobs, enabled=True),
    ),
    BulkVerb.DISABLE_JOBS: _deed(
        "scheduling.switch_job",
        _switch_job(enabled=False),
        Q(enabled=True),
        partial(many.switch_jobs, enabled=False),
        # Of each, many tasks may wait that are skipped.
        at_once=10,
    ),
    BulkVerb.ARCHIVE_JOBS: _deed(
        "scheduling.delete_job",
        lambda pk, now, by, permit: archive_job(job_id=pk, now=now, by=by, permit=permit),
        Q(archived_at__isnull=True),
    ),
    BulkVerb.ENABLE_SCHEDULES: _deed(
        "scheduling.switch_schedule",
        lambda pk, now, by, permit: enable_schedule(schedule_id=pk, now=now, by=by, permit=permit),
        ~Q(status=ScheduleStatus.ENABLED),
        partial(many.switch_schedules, enabled=True),
        at_once=50,
    ),
    BulkVerb.DISABLE_SCHEDULES: _deed(
        "scheduling.switch_schedule",
        lambda pk, now, by, permit: disable_schedule(schedule_id=pk, now=now, by=by, permit=permit),
        ~Q(status=ScheduleStatus.DISABLED),
        partial(many.switch_schedules, enabled=False),
        at_once=50,
    ),
    BulkVerb.ARCHIVE_SCHEDULES: _deed(
        "scheduling.delete_schedule",
        lambda pk, now, by, permit: archive_schedule(schedule_id=pk, now=now, by=by, permit=permit),
        Q(archived_at__isnull=True),
    ),
    BulkVerb.CANCEL_TASKS: _deed(
        "scheduling.change_task",
        _cancel_task,
        ~Q(status__in=TASK_TERMINAL) & Q(cancel_requested_at__isnull=True),
        many.cancel_tasks,
    ),
    BulkVerb.RETRY_TASKS: _deed(
        "scheduling.change_task", _retry_task, Q(status__in=TASK_RETRYABLE), many.retry_tasks
    ),
    BulkVerb.ACKNOWLEDGE_ALERTS: _deed(
        "scheduling.change_alert",
        _acknowledge_alert,
        Q(acknowledged_at__isnull=True),
        many.acknowledge_alerts,
    ),
    BulkVerb.CHECK_DEFINITIONS: Deed("scheduling.add_job", importing.check_entry, Q()),
    BulkVerb.IMPORT_DEFINITIONS: Deed("scheduling.add_job", importing.import_entry, Q()),
}
MODELS: Final[dict[str, type[Alert | Job | Schedule | Task]]] = {
    "alert": Alert,
    "job": Job,
    "schedule": Schedule,
    "task": Task,
}


def model_of(verb: str) -> type[Alert | Job | Schedule | Task] | None:
    """Return what the verb is done to, None for the entries of a file."""
    return MODELS.get(verb.partition(".")[0])
