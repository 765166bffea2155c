"""Every invariant broken on purpose, where need be with the rule that forbids it taken away.

Each function breaks the rule of its name in the test's own transaction and returns the id of what is wrong.
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection

from scheduling.clock import database_now
from scheduling.invariants import history, instants, progress
from scheduling.models import Backfill, Lease, OutputChunk, Schedule, Task, TaskInstance
from scheduling.services import planning
from scheduling.services.claiming import claim
from tests import factories

MINUTE = timedelta(minutes=1)


def execute(statement: str) -> None:
    """Run a statement that changes a table, which is refused while deferred checks wait."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement)


def change(row: Any, **fields: Any) -> Any:
    type(row).objects.filter(pk=row.pk).update(**fields)
    row.refresh_from_db()
    return row


def attempt(**config: Any) -> TaskInstance:
    """Return a live attempt that an agent of four slots was just given."""
    now = database_now()
    agent = factories.agent()
    task = factories.task(now=now, job=factories.job(config=config))
    claim(slots={agent.id: 1}, now=now, lead_secs=2, lease_secs=600)
    return TaskInstance.objects.select_related("task").get(task=task)


def end(instance: TaskInstance, status: str, **fields: Any) -> TaskInstance:
    return change(instance, status=status, completed_at=database_now(), **fields)


def next_attempt(first: TaskInstance, **fields: Any) -> TaskInstance:
    values = {"token": first.token + 1000, "attempt": first.attempt + 1, **fields}
    copy = TaskInstance.objects.get(pk=first.pk)
    copy.pk = uuid.uuid4()
    for name, value in values.items():
        setattr(copy, name, value)
    copy.save(force_insert=True)
    Task.objects.filter(pk=copy.task_id).update(attempt_count=copy.attempt)
    return copy


def chunk(instance: TaskInstance, offset: int, data: bytes) -> None:
    OutputChunk.objects.create(instance=instance, stream=1, offset=offset, data=data, at=database_now())


def planned_schedule() -> Schedule:
    """Return a schedule that was planned every five seconds for the last two minutes."""
    now = database_now()
    schedule = factories.schedule(now=now - 2 * MINUTE)
    planning.run_once(now=now, horizon_secs=15, catch_up_secs=3600)
    schedule.refresh_from_db()
    return schedule


# --- history --------------------------------------------------------------------------------------------


def doubled_instant() -> object:
    execute("ALTER TABLE scheduling_task DROP CONSTRAINT task_one_per_instant")
    schedule, now = factories.schedule(), database_now()
    tasks = [factories.task(now=now) for _ in range(2)]
    return max(change(task, schedule=schedule).pk for task in tasks)


def doubled_instant_of_a_backfill() -> object:
    execute("ALTER TABLE scheduling_task DROP CONSTRAINT task_one_per_backfilled_instant")
    now = database_now()
    backfill = Backfill.objects.create(
        schedule=factories.schedule(), range_from=now, range_to=now, planned_until=now, total=1
    )
    return max(change(factories.task(now=now), backfill=backfill).pk for _ in range(2))


def two_live_attempts() -> object:
    execute("DROP INDEX taskinstance_one_live_per_task")
    return next_attempt(attempt()).task_id


def live_attempt_of_an_ended_task() -> object:
    return change(attempt().task, status="cancelled", completed_at=database_now()).pk


def end_of_a_waiting_task() -> object:
    execute("ALTER TABLE scheduling_task DROP CONSTRAINT task_completed_at_iff_terminal")
    return change(factories.task(), completed_at=database_now()).pk


def end_of_a_live_attempt() -> object:
    return change(attempt(), completed_at=database_now()).pk


def completed_by_a_failure() -> object:
    failed = end(attempt(), "failed")
    return change(failed.task, status="completed", completed_at=database_now()).pk


def task_without_its_attempt() -> object:
    return end(attempt(), "lost").task_id


def cancelled_and_waiting() -> object:
    return change(factories.task(), cancel_requested_at=database_now()).pk


def too_many_retries() -> object:
    return change(factories.task(), retry_count=1, max_retries=0).pk


def token_that_shrinks() -> object:
    first = end(attempt(), "failed")
    return next_attempt(first, status="pending", completed_at=None, token=first.token - 1).pk


def token_beyond_the_sequence() -> object:
    first = attempt()
    return change(first, token=first.token + 1000).pk


def attempt_that_nobody_counted() -> object:
    return change(attempt(), attempt=5).task_id


def attempt_of_another_namespace() -> object:
    return change(attempt(), namespace="another").pk


def end_before_the_start() -> object:
    instance = attempt()
    return end(instance, "failed", started_at=database_now() + MINUTE).pk


def hole_in_the_output() -> object:
    instance = attempt()
    chunk(instance, 0, b"ab")
    chunk(instance, 5, b"c")
    return change(instance, stdout_bytes=3).pk


def output_that_is_gone() -> object:
    return change(attempt(), stdout_bytes=7).pk


def shared_place() -> object:
    execute("DROP INDEX taskinstance_one_live_per_place")
    first = attempt(max_concurrency=2)
    next_attempt(first, task=factories.task(job=first.job), attempt=1)
    return first.job_id


def backfill_that_counts_too_much() -> object:
    now = database_now()
    return Backfill.objects.create(
        schedule=factories.schedule(),
        range_from=now,
        range_to=now,
        planned_until=now,
        total=1,
        planned=1,
        left_out=1,
    ).pk


# --- progress -------------------------------------------------------------------------------------------


def outlived_lease() -> object:
    now = database_now()
    Lease.objects.create(name="gateway", holder="s", since=now - 10 * MINUTE, renewed_at=now)
    return change(attempt(), lease_expires_at=now - 2 * MINUTE).pk


def unanswered_claim() -> object:
    return change(attempt(), created_at=database_now() - 2 * MINUTE).pk


def late_start() -> object:
    then = database_now() - 2 * MINUTE
    return change(attempt(), status="dispatched", start_at=then, dispatched_at=then).pk


def unheard_cancel() -> object:
    return change(attempt(kill_grace_secs=5), cancel_requested_at=database_now() - 2 * MINUTE).pk


def endless_run() -> object:
    begun = database_now() - 5 * MINUTE
    return change(attempt(timeout_secs=60), status="running", started_at=begun).pk


def more_attempts_than_slots() -> object:
    first = attempt()
    change(first.agent, connected_at=database_now() - MINUTE, capabilities={"max_concurrent_tasks": 1})
    second = next_attempt(first, task=factories.task(job=first.job), attempt=1)
    for instance in (first, second):
        change(instance, created_at=database_now() - MINUTE / 2)
    return first.agent_id


def job_beyond_its_limit() -> object:
    first = attempt(max_concurrency=1)
    change(first.job, updated_at=database_now() - MINUTE)
    next_attempt(first, task=factories.task(job=first.job), attempt=1, place=2)
    return first.job_id


# --- instants -------------------------------------------------------------------------------------------


def instant_without_a_task() -> object:
    schedule = planned_schedule()
    schedule.tasks.order_by("scheduled_at")[3].delete()
    return schedule.pk


def task_that_no_rule_names() -> object:
    schedule = planned_schedule()
    task = schedule.tasks.order_by("scheduled_at")[3]
    task.pk, task.scheduled_at = None, task.scheduled_at + timedelta(seconds=1)
    task.save(force_insert=True)
    return schedule.pk


def next_run_that_is_skipped() -> object:
    schedule = planned_schedule()
    assert schedule.next_run_at is not None
    return change(schedule, next_run_at=schedule.next_run_at + timedelta(seconds=5)).pk


HISTORY = [
    doubled_instant,
    doubled_instant_of_a_backfill,
    two_live_attempts,
    live_attempt_of_an_ended_task,
    end_of_a_waiting_task,
    end_of_a_live_attempt,
    completed_by_a_failure,
    task_without_its_attempt,
    cancelled_and_waiting,
    too_many_retries,
    token_that_shrinks,
    token_beyond_the_sequence,
    attempt_that_nobody_counted,
    attempt_of_another_namespace,
    end_before_the_start,
    hole_in_the_output,
    output_that_is_gone,
    shared_place,
    backfill_that_counts_too_much,
]
PROGRESS = [
    outlived_lease,
    unanswered_claim,
    late_start,
    unheard_cancel,
    endless_run,
    more_attempts_than_slots,
    job_beyond_its_limit,
]
INSTANTS = [instant_without_a_task, task_that_no_rule_names, next_run_that_is_skipped]

# By the name of the rule; a rule without a way to break it, or a way too many, is an error.
BREAKS: dict[str, Callable[[], object]] = {
    check.name: way
    for checks, ways in (
        (history.CHECKS, HISTORY),
        (progress.CHECKS, PROGRESS),
        ((instants.MISSING, instants.SURPLUS, instants.NEXT), INSTANTS),
    )
    for check, way in zip(checks, ways, strict=True)
}
