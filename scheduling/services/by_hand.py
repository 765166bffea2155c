"""Attempts that are driven by REST calls: by agents that speak HTTP only, and by operators.

They go through the same state machine as attempts that an agent's socket reports on. Nobody renews their
lease: it lasts as long as the command may take, so that one that is forgotten becomes `lost` (I8).
"""

import random
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from access import audit
from access.actors import SYSTEM, Actor
from access.sentences import said as _
from scheduling.attempts import Attempt, Change, ReportedFact, decide, end
from scheduling.errors import InvalidField, InvalidState, JobAtLimit
from scheduling.models import Job, Task, TaskInstance
from scheduling.services import lifecycle
from scheduling.services.lifecycle import Assignment
from scheduling.services.output import append_output
from scheduling.states import (
    INSTANCE_LIVE,
    INSTANCE_TERMINAL,
    TASK_CLAIMABLE,
    InstanceStatus,
    TaskStatus,
)

STARTABLE: Final = (InstanceStatus.PENDING, InstanceStatus.DISPATCHED)
LEASE_RESERVE_SECS: Final = 60
_AUDITED: Final = (
    "task_id",
    "agent_id",
    "attempt",
    "status",
    "cancel_requested_at",
    "exit_code",
    "result",
    "error_message",
    "metrics",
)


def create_attempt(
    *, task_id: int, agent_id: uuid.UUID | None, now: datetime, by: Actor = SYSTEM
) -> TaskInstance:
    """Begin an attempt of a waiting task, for `agent_id` or nobody yet, and return it.

    Locks task and, where it is limited, the job. Raises InvalidState for a task that does not wait,
    JobAtLimit, Task.DoesNotExist.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update(of=("self",)).get(pk=task_id)
        if task.status not in TASK_CLAIMABLE:
            raise InvalidState(
                action=_("begin an attempt of this task"), current=task.status, allowed=TASK_CLAIMABLE
            )
        assignment = Assignment(task_id=task_id, agent_id=agent_id, place=_free_place(task.job_id))
        (begun,) = lifecycle.begin_attempts([assignment], now=now, lease_secs=_lease_secs(task))
        TaskInstance.objects.filter(pk=begun.instance_id).update(by_hand=True)
        instance = TaskInstance.objects.get(pk=begun.instance_id)
        after = audit.snapshot(instance, _AUDITED)
        audit.record(
            by=by, action="task_instance.create", subject=instance, namespace=task.namespace, after=after
        )
        return instance


def start_attempt(
    *, instance_id: uuid.UUID, agent_id: uuid.UUID | None, now: datetime, by: Actor = SYSTEM
) -> TaskInstance:
    """Note that an attempt's command was started, on `agent_id` where that was open; return the attempt.

    Raises InvalidState, InvalidField for another agent than the attempt's, TaskInstance.DoesNotExist.
    """
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.status not in STARTABLE:
            raise InvalidState(action=_("start this attempt"), current=instance.status, allowed=STARTABLE)
        if agent_id is not None and instance.agent_id not in (None, agent_id):
            raise InvalidField(
                {"agent_id": _("the attempt belongs to agent %(agent_id)s", agent_id=instance.agent_id)}
            )
        if agent_id is not None:
            TaskInstance.objects.filter(pk=instance_id).update(agent_id=agent_id)
        if instance.by_hand:
            until = now + timedelta(seconds=_lease_secs(instance.task))
            TaskInstance.objects.filter(pk=instance_id).update(lease_expires_at=until)
        _report([instance_id], InstanceStatus.RUNNING, now=now)
        return _changed(instance, "task_instance.start", by=by)


def complete_attempt(
    *,
    instance_id: uuid.UUID,
    now: datetime,
    by: Actor = SYSTEM,
    exit_code: int | None = None,
    result: Any = None,
    error_message: str = "",
    metrics: dict[str, Any] | None = None,
    output: str = "",
) -> TaskInstance:
    """End an attempt as `completed`, or with a non-zero exit code as `failed`; return it.

    A failure is retried as the task's policy says. `output` is appended to what is stored of stdout. Raises
    InvalidState for an attempt that ended, TaskInstance.DoesNotExist.
    """
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.status not in INSTANCE_LIVE:
            raise InvalidState(
                action=_("complete this attempt"), current=instance.status, allowed=INSTANCE_LIVE
            )
        if output:
            append_output(instance=instance, data=output.encode(), at=now)
        _report(
            [instance_id],
            InstanceStatus.FAILED if exit_code else InstanceStatus.COMPLETED,
            now=now,
            exit_code=exit_code,
            result=result,
            error_message=error_message,
            metrics=metrics or {},
        )
        return _changed(instance, "task_instance.complete", by=by)


def update_attempt(
    *, instance_id: uuid.UUID, now: datetime, by: Actor = SYSTEM, **fields: Any
) -> TaskInstance:
    """Set `result`, `error_message` or `metrics` of an attempt that has not ended, and return it.

    Raises InvalidState, TaskInstance.DoesNotExist.
    """
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.status not in INSTANCE_LIVE:
            raise InvalidState(
                action=_("change this attempt"), current=instance.status, allowed=INSTANCE_LIVE
            )
        if fields:
            TaskInstance.objects.filter(pk=instance_id).update(**fields, updated_at=now)
        return _changed(instance, "task_instance.update", by=by)


def cancel_attempt(*, instance_id: uuid.UUID, now: datetime, by: Actor = SYSTEM) -> TaskInstance:
    """Cancel an attempt, and with it its task; return the attempt.

    One that an agent runs is cancelled when the agent says that it stopped. Raises InvalidState for one that
    ended, TaskInstance.DoesNotExist.
    """
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.status not in INSTANCE_LIVE:
            raise InvalidState(
                action=_("cancel this attempt"), current=instance.status, allowed=INSTANCE_LIVE
            )
        reason = f"cancelled by {by.name}" if by.name else "cancelled"
        lifecycle.cancel_task(task_id=instance.task_id, now=now, reason=reason)
        end_cancelled_by_hand(task_ids=[instance.task_id], now=now)
        return _changed(instance, "task_instance.cancel", by=by)


def end_cancelled_by_hand(*, task_ids: Collection[int], now: datetime) -> None:
    """End the tasks' attempts at once where no agent's socket could be asked to."""
    by_hand = TaskInstance.objects.live().filter(
        task_id__in=task_ids, by_hand=True, cancel_requested_at__isnull=False
    )
    ids = list(by_hand.values_list("pk", flat=True))
    if ids:
        _report(ids, InstanceStatus.CANCELLED, now=now)


def delete_attempt(*, instance_id: uuid.UUID, by: Actor = SYSTEM) -> None:
    """Delete an attempt that ended, with its output. Raises InvalidState, TaskInstance.DoesNotExist."""
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.status not in INSTANCE_TERMINAL:
            raise InvalidState(
                action=_("delete this attempt"), current=instance.status, allowed=INSTANCE_TERMINAL
            )
        before = audit.snapshot(instance, _AUDITED)
        audit.record(
            by=by,
            action="task_instance.delete",
            subject=instance,
            namespace=instance.task.namespace,
            before=before,
        )
        instance.delete()


def requeue_attempts_of(*, agent_id: uuid.UUID, now: datetime, reason: str) -> int:
    """End what an agent that goes away was running as `lost`, and let its tasks wait again, at once.

    They lose no retry; tasks that somebody wants cancelled are cancelled. Returns how many attempts ended.
    """
    live = list(TaskInstance.objects.live().filter(agent_id=agent_id).values_list("pk", flat=True))

    def lose(attempt: Attempt) -> Change | None:
        if attempt.status not in INSTANCE_LIVE:
            return None
        fact = ReportedFact(seq=attempt.last_seq, status=InstanceStatus.LOST, at=now, error_message=reason)
        change = Change(
            status=attempt.status, last_seq=attempt.last_seq, started_at=attempt.started_at, fact=fact
        )
        end(attempt, change, status=InstanceStatus.LOST, at=now, now=now, random=random.random)
        change.retry_count = attempt.retry_count
        if not attempt.task_cancel_requested:
            change.task_status = TaskStatus.WAITING_RETRY
            change.due_at = now
        return change

    lifecycle.transition_attempts(live, now=now, decision=lose)
    return len(live)


def _changed(instance: TaskInstance, action: str, *, by: Actor) -> TaskInstance:
    """Return the attempt as it is now, and record what became of it since `instance` was read."""
    changed = TaskInstance.objects.get(pk=instance.pk)
    audit.record(
        by=by,
        action=action,
        subject=changed,
        namespace=instance.task.namespace,
        before=audit.snapshot(instance, _AUDITED),
        after=audit.snapshot(changed, _AUDITED),
    )
    return changed


def _report(
    instance_ids: Sequence[uuid.UUID], status: InstanceStatus, *, now: datetime, **facts: Any
) -> None:
    """Apply one fact to each as if its agent had reported it next."""

    def next_fact(attempt: Attempt) -> Change | None:
        fact = ReportedFact(seq=attempt.last_seq + 1, status=status, at=now, **facts)
        return decide(attempt, [fact], now=now, random=random.random)

    lifecycle.transition_attempts(instance_ids, now=now, decision=next_fact)


def _locked(instance_id: uuid.UUID) -> TaskInstance:
    """Return the attempt with its task, both locked in the order in which reports lock them."""
    instance: TaskInstance = (
        TaskInstance.objects.select_related("task").select_for_update(of=("self", "task")).get(pk=instance_id)
    )
    return instance


def _lease_secs(task: Task) -> float:
    return float(task.config["timeout_secs"]) + LEASE_RESERVE_SECS


def _free_place(job_id: int) -> int | None:
    """Lock a limited job and return a place that no attempt has; None for one without a limit."""
    limit = (
        Job.objects.select_for_update(no_key=True, of=("self",))
        .filter(pk=job_id)
        .values_list("max_concurrency", flat=True)
        .get()
    )
    if limit is None:
        return None
    taken = set(TaskInstance.objects.live().filter(job_id=job_id).values_list("place", flat=True))
    free = next((place for place in range(1, limit + 1) if place not in taken), None)
    if free is None:
        raise JobAtLimit
    return free
