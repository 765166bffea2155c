"""What people ask for by hand: run a job now, cancel a task, retry one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from scheduling import hints
from scheduling.environment import environment_problem
from scheduling.errors import InvalidField, InvalidState, JobDisabled
from scheduling.models import Job, Task
from scheduling.services import lifecycle
from scheduling.states import TASK_RETRYABLE, TASK_TERMINAL, TaskStatus

CANCELLABLE = tuple(status for status in TaskStatus if status not in TASK_TERMINAL)


def trigger_job(
    *,
    job: Job,
    now: datetime,
    by: str = "",
    parameters: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    priority: int = 0,
    scheduled_at: datetime | None = None,
    force: bool = False,
) -> Task:
    """Create one task of `job`, due now or at `scheduled_at`, and return it.

    Raises JobDisabled for a disabled job unless `force`, InvalidField for bad values.
    """
    if not job.enabled and not force:
        raise JobDisabled
    extra = dict(environment or {})
    problem = environment_problem(extra, allowed=settings.HETUFLOW_ALLOWED_ENVIRONMENT)
    if problem:
        raise InvalidField({"environment": problem})
    if not -(2**31) <= priority < 2**31:
        raise InvalidField({"priority": "expected a whole number of 32 bits"})
    task = Task.objects.create(
        job=job,
        namespace=job.namespace,
        route_id=job.route_id,
        priority=priority,
        scheduled_at=scheduled_at or now,
        due_at=scheduled_at or now,
        parameters=dict(parameters or {}),
        environment={**job.environment, **extra},
        config=job.task_config,
        max_retries=job.task_config["max_retries"],
        created_by=by,
    )
    hints.tasks_became_claimable()
    return task


def cancel(*, task_id: int, now: datetime, by: str = "") -> Task:
    """Cancel a task and return it; raise InvalidState where it ended already, Task.DoesNotExist."""
    ended = Task.objects.filter(pk=task_id, status__in=TASK_TERMINAL).values_list("status", flat=True).first()
    if ended is not None:
        raise InvalidState(action="cancel this task", current=ended, allowed=CANCELLABLE)
    return lifecycle.cancel_task(task_id=task_id, now=now, reason=f"cancelled by {by}" if by else "cancelled")


def retry(*, task_id: int, now: datetime, by: str = "") -> Task:
    """Start a failed or cancelled task anew and return it; raise InvalidState, Task.DoesNotExist."""
    if not lifecycle.retry_task(task_id=task_id, now=now, by=by):
        task = Task.objects.get(pk=task_id)
        raise InvalidState(action="retry this task", current=task.status, allowed=TASK_RETRYABLE)
    return Task.objects.get(pk=task_id)
