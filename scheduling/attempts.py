"""What a report means for an attempt and its task (pure): agents report facts, this decides the state.

Nothing here reads or writes anything. `decide` takes one attempt as it stands and the reports that came
for it, and returns what is to be written, so that the database layer handles a thousand at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from scheduling.retry import RetryPolicy, delay_secs
from scheduling.states import INSTANCE_FAILURES, INSTANCE_TERMINAL, InstanceStatus, TaskStatus


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt and the part of its task that decisions need, as locked in the database."""

    instance_id: str
    task_id: int
    status: InstanceStatus
    last_seq: int
    started_at: datetime | None
    completed_at: datetime | None
    task_status: TaskStatus
    task_cancel_requested: bool
    retry_count: int
    retry_policy: RetryPolicy


@dataclass(frozen=True, slots=True)
class ReportedFact:
    """One report, its time already translated to the database's clock."""

    seq: int
    status: InstanceStatus
    at: datetime
    exit_code: int | None = None
    signal: int | None = None
    error_message: str = ""
    result: Any = None
    metrics: dict[str, Any] = field(default_factory=dict)
    output_truncated: bool = False
    start_delay_ms: float | None = None


@dataclass(slots=True)
class Change:
    """What becomes of an attempt and its task. `task_status` None leaves the task alone."""

    status: InstanceStatus
    last_seq: int
    started_at: datetime | None
    completed_at: datetime | None = None
    fact: ReportedFact | None = None
    start_delay_ms: float | None = None
    task_status: TaskStatus | None = None
    retry_count: int = 0
    due_at: datetime | None = None

    @property
    def is_end(self) -> bool:
        """Whether the attempt ended with this change."""
        return self.completed_at is not None


def decide(
    attempt: Attempt, facts: Sequence[ReportedFact], *, now: datetime, random: Callable[[], float]
) -> Change | None:
    """Return what `facts`, in any order, mean for `attempt`; None where they say nothing new.

    A fact with a sequence number that was seen already is a repetition. After the end of an attempt nothing
    changes its status; but what a lost attempt reports late is kept on it, so that its result is not lost.
    """
    if attempt.status == InstanceStatus.LOST:
        return _late_news(attempt, facts)
    fresh = _fresh(attempt, facts)
    if not fresh:
        return _late_start(attempt, facts)
    if attempt.status in INSTANCE_TERMINAL:
        return None
    change = Change(
        status=attempt.status,
        last_seq=fresh[-1].seq,
        started_at=attempt.started_at,
        retry_count=attempt.retry_count,
    )
    for fact in fresh:
        if fact.start_delay_ms is not None:
            change.start_delay_ms = fact.start_delay_ms
        if change.started_at is None:
            change.started_at = fact.at
        if fact.status in INSTANCE_TERMINAL:
            change.fact = fact
            break
    if change.fact is None:
        change.status = InstanceStatus.RUNNING
        change.task_status = TaskStatus.RUNNING
        return change
    end(attempt, change, status=change.fact.status, at=change.fact.at, now=now, random=random)
    return change


def _fresh(attempt: Attempt, facts: Sequence[ReportedFact]) -> list[ReportedFact]:
    return sorted((fact for fact in facts if fact.seq > attempt.last_seq), key=lambda fact: fact.seq)


def _late_news(attempt: Attempt, facts: Sequence[ReportedFact]) -> Change | None:
    """Return the change of what a lost attempt reports late: when it began, if nobody knew, and how it ended.

    That it began is said whether its end is known yet or not, so that its end never stands in for its start.
    It did so before it was given up, as far as clocks of two machines can tell.
    """
    fresh = _fresh(attempt, facts)
    change = Change(
        status=attempt.status,
        last_seq=fresh[-1].seq if fresh else attempt.last_seq,
        started_at=attempt.started_at,
        fact=next((fact for fact in fresh if fact.status in INSTANCE_TERMINAL), None),
        retry_count=attempt.retry_count,
    )
    start = next((fact for fact in facts if fact.status == InstanceStatus.RUNNING), None)
    if start is not None and attempt.started_at is None:
        change.started_at = min(start.at, attempt.completed_at or start.at)
        change.start_delay_ms = start.start_delay_ms
    return change if change.fact or change.started_at != attempt.started_at else None


def _late_start(attempt: Attempt, facts: Sequence[ReportedFact]) -> Change | None:
    """Return the change of a start that arrived after the end, which had to stand in for it until now."""
    if attempt.completed_at is None or attempt.started_at != attempt.completed_at:
        return None
    starts = [
        fact for fact in facts if fact.status == InstanceStatus.RUNNING and fact.at < attempt.completed_at
    ]
    if not starts:
        return None
    return Change(
        status=attempt.status,
        last_seq=attempt.last_seq,
        started_at=starts[0].at,
        start_delay_ms=starts[0].start_delay_ms,
        retry_count=attempt.retry_count,
    )


def end(
    attempt: Attempt,
    change: Change,
    *,
    status: InstanceStatus,
    at: datetime,
    now: datetime,
    random: Callable[[], float],
) -> None:
    """Let `change` end the attempt with `status`, and say what its task does next.

    A failure is retried while the policy allows it and nobody asked for the task to be cancelled.
    """
    change.status = status
    change.completed_at = max(at, change.started_at or at)
    change.due_at = None
    if status == InstanceStatus.COMPLETED:
        change.task_status = TaskStatus.COMPLETED
    elif status == InstanceStatus.CANCELLED or attempt.task_cancel_requested:
        change.task_status = TaskStatus.CANCELLED
    elif status in INSTANCE_FAILURES and attempt.retry_count < attempt.retry_policy.max_retries:
        change.task_status = TaskStatus.WAITING_RETRY
        change.retry_count = attempt.retry_count + 1
        delay = delay_secs(attempt.retry_policy, change.retry_count, random=random)
        change.due_at = now + timedelta(seconds=delay)
    else:
        change.task_status = TaskStatus.FAILED
