"""What people ask for by hand: run a job now; change, cancel, retry or delete a task."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from access import audit
from access.actors import SYSTEM, Actor
from access.sentences import said as _
from scheduling import hints
from scheduling.environment import environment_problem
from scheduling.errors import InvalidField, InvalidState, JobArchived, JobDisabled
from scheduling.models import Job, Task
from scheduling.services import by_hand, definitions, lifecycle
from scheduling.services.parameters import completed_parameters
from scheduling.states import TASK_RETRYABLE, TASK_TERMINAL, TaskStatus
from scheduling.task_config import load_task_config

CANCELLABLE = tuple(status for status in TaskStatus if status not in TASK_TERMINAL)
_AUDITED: Final = ("job_id", "status", "priority", "scheduled_at", "parameters", "environment", "config")

# Many may hold it at once, and whoever archives the job waits for them all. The key alone, which a new task
# locks, does not keep it from being archived.
_HOLD_JOB: Final = "SELECT FROM scheduling_job WHERE id = %s AND archived_at IS NULL FOR SHARE"


def trigger_job(
    *,
    job: Job,
    now: datetime,
    by: Actor = SYSTEM,
    parameters: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    priority: int = 0,
    scheduled_at: datetime | None = None,
    config: Mapping[str, Any] | None = None,
    max_retries: int | None = None,
    force: bool = False,
) -> Task:
    """Create one task of `job`, due now or at `scheduled_at`, and return it.

    `config` holds what differs from the job's. Raises JobDisabled for a disabled job unless `force`,
    JobArchived for one that was archived meanwhile, InvalidField for bad values.
    """
    if not job.enabled and not force:
        raise JobDisabled
    _refuse_bad_values(environment=environment, priority=priority)
    changes = {**(config or {}), **({} if max_retries is None else {"max_retries": max_retries})}
    task_config = definitions.task_config_for(job=job, changes=changes)
    complete = completed_parameters(job, parameters)
    with transaction.atomic():
        _hold_job(job.pk)
        task = Task.objects.create(
            job=job,
            namespace=job.namespace,
            route_id=_route_id(job, task_config) if changes else job.route_id,
            priority=priority,
            scheduled_at=scheduled_at or now,
            due_at=scheduled_at or now,
            parameters=complete,
            environment={**job.environment, **(environment or {})},
            config=task_config,
            max_retries=task_config["max_retries"],
            created_by=by.name,
        )
        _record(task, "task.create", by=by, after=_described(task))
        hints.tasks_became_claimable()
        return task


def update_task(
    *,
    task_id: int,
    now: datetime,
    by: Actor = SYSTEM,
    config: Mapping[str, Any] | None = None,
    max_retries: int | None = None,
    **fields: Any,
) -> Task:
    """Change a task that no agent has had yet, and return it.

    `fields` are `priority`, `scheduled_at`, `parameters` and `environment`; `config` holds what is to differ
    from the task's. Raises InvalidState where it is not pending, InvalidField, Task.DoesNotExist.
    """
    with transaction.atomic():
        task = Task.objects.select_related("job").select_for_update(of=("self",)).get(pk=task_id)
        if task.status != TaskStatus.PENDING:
            raise InvalidState(
                action=_("change this task"), current=task.status, allowed=(TaskStatus.PENDING,)
            )
        _refuse_bad_values(environment=fields.get("environment"), priority=fields.get("priority"))
        if "parameters" in fields:
            fields["parameters"] = completed_parameters(task.job, fields["parameters"])
        if "scheduled_at" in fields:
            if task.schedule_id is not None:
                raise InvalidField({"scheduled_at": _("planned by the task's schedule; change that instead")})
            fields["due_at"] = fields["scheduled_at"]
        changes = {**(config or {}), **({} if max_retries is None else {"max_retries": max_retries})}
        if changes:
            fields["config"] = definitions.task_config_for(job=task.job, changes=changes, base=task.config)
            fields["max_retries"] = fields["config"]["max_retries"]
            fields["route_id"] = _route_id(task.job, fields["config"])
        if fields:
            Task.objects.filter(pk=task_id).update(
                **fields, updated_at=now, lock_version=F("lock_version") + 1
            )
            hints.tasks_became_claimable()
        changed = Task.objects.get(pk=task_id)
        _record(changed, "task.update", by=by, before=_described(task), after=_described(changed))
        return changed


def delete_task(*, task_id: int, by: Actor = SYSTEM) -> None:
    """Delete a task that ended, with its attempts and their output; raise InvalidState, Task.DoesNotExist."""
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        if task.status not in TASK_TERMINAL:
            raise InvalidState(action=_("delete this task"), current=task.status, allowed=TASK_TERMINAL)
        _record(task, "task.delete", by=by, before=_described(task))
        task.delete()


def cancel(*, task_id: int, now: datetime, by: Actor = SYSTEM) -> Task:
    """Cancel a task and return it; raise InvalidState where it ended already, Task.DoesNotExist."""
    reason = reason_of_cancel(by)
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        if task.status in TASK_TERMINAL:
            raise InvalidState(action=_("cancel this task"), current=task.status, allowed=CANCELLABLE)
        lifecycle.cancel_task(task_id=task_id, now=now, reason=reason)
        by_hand.end_cancelled_by_hand(task_ids=[task_id], now=now)
        cancelled = Task.objects.get(pk=task_id)
        before, after = {"status": task.status}, {"status": cancelled.status, "reason": reason}
        _record(cancelled, "task.cancel", by=by, before=before, after=after)
        return cancelled


def reason_of_cancel(by: Actor) -> str:
    """Return what a task says that somebody cancelled."""
    return f"cancelled by {by.name}" if by.name else "cancelled"


def retry(*, task_id: int, now: datetime, by: Actor = SYSTEM) -> Task:
    """Start a failed or cancelled task anew and return it.

    Raises InvalidState, JobArchived, Task.DoesNotExist.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        if task.status in TASK_RETRYABLE:
            _hold_job(task.job_id)
        if not lifecycle.retry_task(task_id=task_id, now=now, by=by.name):
            raise InvalidState(action=_("retry this task"), current=task.status, allowed=TASK_RETRYABLE)
        retried = Task.objects.get(pk=task_id)
        before, after = {"status": task.status}, {"status": retried.status}
        _record(retried, "task.retry", by=by, before=before, after=after)
        return retried


def _hold_job(job_id: int) -> None:
    """Keep a job from being archived until the transaction ends; raise JobArchived where it is already."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLD_JOB, [job_id])
        if not cursor.rowcount:
            raise JobArchived


def _described(task: Task) -> dict[str, Any]:
    return audit.snapshot(task, _AUDITED)


def _record(task: Task, action: str, *, by: Actor, **fields: Any) -> None:
    audit.record(by=by, action=action, subject=task, namespace=task.namespace, **fields)


def _refuse_bad_values(
    *,
    environment: Mapping[str, str] | None,
    priority: int | None,
) -> None:
    errors: dict[str, str] = {}
    if problem := environment_problem(environment or {}, allowed=settings.HETUFLOW_ALLOWED_ENVIRONMENT):
        errors["environment"] = problem
    if not -(2**31) <= (priority or 0) < 2**31:
        errors["priority"] = _("expected a whole number of 32 bits")
    if errors:
        raise InvalidField(errors)


def _route_id(job: Job, config: Mapping[str, Any]) -> int:
    return definitions.route_for(config=load_task_config(config), job_id=job.pk).pk
