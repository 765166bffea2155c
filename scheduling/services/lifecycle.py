"""The only writer of a status: every transition of tasks and task instances, set-based.

All functions take `now` by the database's clock, lock tasks and instances in the order of the instance id,
and leave hints after the commit. A row that is no longer in the expected state is left alone: somebody
newer won.
"""

import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import uuid_utils.compat
from django.db import connection, transaction
from django.db.models import F

from scheduling import hints
from scheduling.attempts import Attempt, Change, ReportedFact, decide, end
from scheduling.models import Task, TaskInstance
from scheduling.retry import RetryPolicy
from scheduling.services import statements
from scheduling.states import (
    INSTANCE_LIVE,
    TASK_CLAIMABLE,
    TASK_ON_AGENT,
    InstanceStatus,
    Outcome,
    TaskStatus,
)


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """Who says so: a report counts only if all three are those of one attempt (I5)."""

    agent_id: uuid.UUID
    instance_id: uuid.UUID
    token: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task that a claim gives to an agent; `place` where its job is limited."""

    task_id: int
    agent_id: uuid.UUID | None
    place: int | None


@dataclass(frozen=True, slots=True)
class StartedAttempt:
    """All that a dispatch frame says about one attempt."""

    agent_id: uuid.UUID
    instance_id: uuid.UUID
    token: int
    task_id: int
    job_id: int
    job_name: str
    attempt: int
    start_at: datetime
    scheduled_at: datetime
    config: dict[str, Any]
    environment: dict[str, str]
    parameters: dict[str, Any]


@dataclass(slots=True)
class ReportResult:
    """What applying reports came to: the keys that were fenced off, and backfills that may go on."""

    stale: list[tuple[AttemptKey, int]]
    applied: int = 0
    backfills: set[int] = field(default_factory=set)


LOST_MESSAGE: Final = (
    "The agent was not heard of before its lease ran out; whether the command ran is not known."
)


def begin_attempts(
    assignments: Sequence[Assignment], *, now: datetime, lease_secs: float
) -> list[StartedAttempt]:
    """Lock the assigned tasks and create an attempt for each, with a fencing token and a lease.

    Runs in the caller's transaction, which must hold the row locks of these tasks. The attempts are
    committed before anything is sent to an agent: the row is the assignment.
    """
    if not assignments:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            statements.BEGIN_ATTEMPTS,
            {
                "task_ids": [assignment.task_id for assignment in assignments],
                "agent_ids": [assignment.agent_id for assignment in assignments],
                "places": [assignment.place for assignment in assignments],
                "instance_ids": [uuid_utils.compat.uuid7() for _ in assignments],
                "now": now,
                "lease_expires_at": now + timedelta(seconds=lease_secs),
            },
        )
        return [started_attempt(row) for row in cursor.fetchall()]


def started_attempt(row: tuple[Any, ...]) -> StartedAttempt:
    """Return the attempt of one row with the columns of `statements.ATTEMPT_COLUMNS`."""
    (agent_id, instance_id, token, task_id, job_id, job_name, attempt, start_at, scheduled_at, *documents) = (
        row
    )
    config, environment, parameters = (statements.load_json(document) for document in documents)
    return StartedAttempt(
        agent_id=agent_id,
        instance_id=instance_id,
        token=token,
        task_id=task_id,
        job_id=job_id,
        job_name=job_name,
        attempt=attempt,
        start_at=start_at,
        scheduled_at=scheduled_at,
        config=config,
        environment=environment,
        parameters=parameters,
    )


def accept_attempts(keys: Sequence[AttemptKey], *, now: datetime) -> None:
    """Note that agents have the frames of these attempts: instance and task become `dispatched`."""
    if not keys:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements.ACCEPT_ATTEMPTS, _key_arrays(keys) | {"now": now})


def decline_attempts(declined: Sequence[tuple[AttemptKey, str]], *, now: datetime) -> None:
    """Take back attempts that agents refused to start; their tasks wait again and lose no retry."""
    if not declined:
        return
    parameters = _key_arrays([key for key, _ in declined]) | {"now": now}
    parameters["reasons"] = [reason for _, reason in declined]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements.DECLINE_ATTEMPTS, parameters)
        if cursor.rowcount:
            hints.tasks_became_claimable()


def renew_leases(
    keys: Sequence[AttemptKey], *, now: datetime, lease_secs: float
) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
    """Extend the leases of attempts that their agents named in heartbeats.

    Returns the ids of those that are live and renewed, and among these the ones somebody wants cancelled.
    """
    if not keys:
        return set(), set()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            statements.RENEW_LEASES,
            _key_arrays(keys) | {"now": now, "lease_expires_at": now + timedelta(seconds=lease_secs)},
        )
        rows = cursor.fetchall()
    return {instance_id for instance_id, _ in rows}, {instance_id for instance_id, wanted in rows if wanted}


def extend_leases(*, agent_ids: Iterable[uuid.UUID], until: datetime) -> int:
    """Give the attempts of agents whose server died until `until` to be named again; return how many."""
    return (
        TaskInstance.objects.live()
        .filter(agent_id__in=list(agent_ids), lease_expires_at__lt=until)
        .update(lease_expires_at=until)
    )


def apply_reports(reports: Sequence[tuple[AttemptKey, ReportedFact]], *, now: datetime) -> ReportResult:
    """Apply what agents report, all of it in one transaction; return what was fenced off as stale.

    Repetitions, late and reordered reports change nothing that is settled. The caller acknowledges only
    after this returned, that is after the commit.
    """
    facts: dict[AttemptKey, list[ReportedFact]] = defaultdict(list)
    for key, fact in reports:
        facts[key].append(fact)
    with transaction.atomic():
        attempts = _lock_attempts(list(facts))
        result = ReportResult(stale=[(key, fact.seq) for key, fact in reports if key not in attempts])
        changes: list[tuple[Attempt, Change, uuid.UUID]] = []
        for key, attempt in attempts.items():
            change = decide(attempt, facts[key], now=now, random=random.random)
            if change is not None:
                changes.append((attempt, change, key.agent_id))
        result.backfills = _write_changes(changes, now=now)
        result.applied = len(changes)
    return result


def lose_attempts(*, now: datetime, limit: int) -> int:
    """End attempts whose lease ran out as `lost`, at most `limit`; return how many there were.

    A lost attempt counts as a failed one: whether its command ran cannot be known, so only a task that
    allows retries is started again. Skips rows that somebody else has locked; they are seen next time.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(statements.LOCK_EXPIRED_ATTEMPTS, {"now": now, "limit": limit})
            attempts = [(_attempt(row), row[-1]) for row in cursor.fetchall()]
        changes = []
        for attempt, agent_id in attempts:
            change = Change(
                status=InstanceStatus.LOST,
                last_seq=attempt.last_seq,
                started_at=attempt.started_at,
                retry_count=attempt.retry_count,
                fact=ReportedFact(seq=0, status=InstanceStatus.LOST, at=now, error_message=LOST_MESSAGE),
            )
            end(attempt, change, status=InstanceStatus.LOST, at=now, now=now, random=random.random)
            changes.append((attempt, change, agent_id))
        _write_changes(changes, now=now)
    return len(changes)


def transition_attempts(
    instance_ids: Sequence[uuid.UUID], *, now: datetime, decision: Callable[[Attempt], Change | None]
) -> None:
    """Lock attempts with their tasks and write what `decision` makes of each; it may raise to refuse.

    For transitions that no agent reports; one transaction.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(statements.LOCK_ATTEMPTS_BY_ID, {"instance_ids": list(instance_ids)})
            attempts = [(_attempt(row), row[-1]) for row in cursor.fetchall()]
        changes = [(attempt, decision(attempt), agent_id) for attempt, agent_id in attempts]
        _write_changes([(a, change, agent_id) for a, change, agent_id in changes if change], now=now)


def cancel_task(*, task_id: int, now: datetime, reason: str) -> Task:
    """Cancel a task as `cancel_tasks` does, and return it as it stands. Raises Task.DoesNotExist."""
    with transaction.atomic():
        Task.objects.select_for_update().get(pk=task_id)
        cancel_tasks([task_id], now=now, reason=reason)
        return Task.objects.get(pk=task_id)


def cancel_tasks(task_ids: Collection[int], *, now: datetime, reason: str) -> None:
    """Cancel tasks, whose locks the caller holds.

    Those that wait are cancelled at once; of those that an agent has, the attempt is asked to stop, and task
    and attempt are cancelled when the agent says that it did. Asking again changes nothing, nor does asking
    for one that ended.
    """
    tasks = Task.objects.filter(pk__in=task_ids)
    on_agent = tasks.filter(status__in=TASK_ON_AGENT, cancel_requested_at__isnull=True)
    asked = list(on_agent.values_list("pk", flat=True))
    tasks.filter(status__in=TASK_CLAIMABLE).update(
        status=TaskStatus.CANCELLED,
        reason=reason,
        cancel_requested_at=now,
        completed_at=now,
        updated_at=now,
        lock_version=F("lock_version") + 1,
    )
    if not asked:
        return
    Task.objects.filter(pk__in=asked).update(cancel_requested_at=now, reason=reason, updated_at=now)
    live = TaskInstance.objects.live().filter(task_id__in=asked)
    live.update(cancel_requested_at=now, updated_at=now)
    for agent_id in set(live.filter(agent__isnull=False).values_list("agent_id", flat=True)):
        hints.cancel_requested(agent_id)


def retry_task(*, task_id: int, now: datetime, by: str) -> bool:
    """Start a failed or cancelled task anew, at once; return False where its state forbids it."""
    with transaction.atomic():
        return bool(retry_tasks([task_id], now=now, by=by))


def retry_tasks(task_ids: Collection[int], *, now: datetime, by: str) -> set[int]:
    """Start those of the tasks anew that failed or were cancelled, at once, and return which these are.

    In the caller's transaction; locks them.
    """
    over = Task.objects.filter(pk__in=task_ids, status__in=(TaskStatus.FAILED, TaskStatus.CANCELLED))
    still = over.exclude(instances__status__in=INSTANCE_LIVE)
    ids = set(still.order_by("pk").select_for_update(of=("self",)).values_list("pk", flat=True))
    Task.objects.filter(pk__in=ids).update(
        status=TaskStatus.PENDING,
        reason=f"retried by {by}" if by else "retried",
        due_at=now,
        completed_at=None,
        cancel_requested_at=None,
        retry_count=0,
        manual_retries=F("manual_retries") + 1,
        lock_version=F("lock_version") + 1,
        updated_at=now,
    )
    if ids:
        hints.tasks_became_claimable()
    return ids


def skip_disabled_tasks(*, job_ids: Collection[int], now: datetime, include_manual: bool = False) -> int:
    """Cancel the tasks of disabled jobs that no agent has; return how many.

    Tasks that a person triggered are left alone unless `include_manual`.
    """
    waiting = Task.objects.filter(job_id__in=job_ids, status__in=TASK_CLAIMABLE)
    if not include_manual:
        waiting = waiting.filter(schedule__isnull=False)
    return waiting.update(
        status=TaskStatus.CANCELLED,
        outcome=Outcome.SKIPPED_DISABLED,
        reason="the job was disabled",
        completed_at=now,
        updated_at=now,
    )


def skip_overlapping_tasks(*, now: datetime) -> int:
    """Cancel due tasks of jobs that forbid overlap while an attempt of theirs runs; return how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements.SKIP_OVERLAPPING, {"now": now})
        skipped: int = cursor.rowcount
    return skipped


def replace_overlapping_attempts(*, now: datetime) -> int:
    """Ask attempts to stop where a newer task of a job with policy `replace` is due; return how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements.REPLACE_OVERLAPPED, {"now": now})
        agent_ids = {agent_id for (agent_id,) in cursor.fetchall()}
        for agent_id in agent_ids:
            hints.cancel_requested(agent_id)
    return len(agent_ids)


def _lock_attempts(keys: Sequence[AttemptKey]) -> dict[AttemptKey, Attempt]:
    """Lock the attempts that `keys` name, with their tasks, and return those that exist and match."""
    with connection.cursor() as cursor:
        cursor.execute(statements.LOCK_ATTEMPTS, _key_arrays(keys))
        rows = cursor.fetchall()
    attempts = {}
    for row in rows:
        key = AttemptKey(agent_id=row[-1], instance_id=row[0], token=row[-2])
        attempts[key] = _attempt(row)
    return attempts


def _attempt(row: tuple[Any, ...]) -> Attempt:
    (instance_id, task_id, status, last_seq, started_at, completed_at, task_status, *rest) = row
    cancel_requested_at, retry_count, max_retries, interval_secs, backoff, _token, _agent_id = rest
    return Attempt(
        instance_id=instance_id,
        task_id=task_id,
        status=InstanceStatus(status),
        last_seq=last_seq,
        started_at=started_at,
        completed_at=completed_at,
        task_status=TaskStatus(task_status),
        task_cancel_requested=cancel_requested_at is not None,
        retry_count=retry_count,
        retry_policy=RetryPolicy(max_retries=max_retries, interval_secs=interval_secs, backoff=backoff),
    )


def _write_changes(changes: Sequence[tuple[Attempt, Change, uuid.UUID | None]], *, now: datetime) -> set[int]:
    """Write instances, tasks and the agents' counters, one statement each; return backfills with a change."""
    backfills: set[int] = set()
    if not changes:
        return backfills
    with connection.cursor() as cursor:
        cursor.execute(statements.WRITE_INSTANCES, statements.instance_arrays(changes) | {"now": now})
        task_changes = [(attempt, change) for attempt, change, _ in changes if change.task_status]
        if task_changes:
            cursor.execute(statements.WRITE_TASKS, statements.task_arrays(task_changes) | {"now": now})
            backfills = {backfill_id for (backfill_id,) in cursor.fetchall() if backfill_id is not None}
        failed = [
            attempt.task_id for attempt, change in task_changes if change.task_status == TaskStatus.FAILED
        ]
        if failed:
            cursor.execute(statements.PAUSE_FAILING, {"task_ids": failed, "now": now})
        ended = [(change, agent_id) for _, change, agent_id in changes if change.is_end and agent_id]
        if ended:
            cursor.execute(statements.COUNT_FOR_AGENTS, statements.counter_arrays(ended, now=now))
    if any(change.due_at for _, change, _ in changes):
        hints.tasks_became_claimable()
    return backfills


def _key_arrays(keys: Sequence[AttemptKey]) -> dict[str, list[Any]]:
    return {
        "agent_ids": [key.agent_id for key in keys],
        "instance_ids": [key.instance_id for key in keys],
        "tokens": [key.token for key in keys],
    }
