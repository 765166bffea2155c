"""What the triggers keep, and what overlaps: statuses that end, and instants that wait for an end."""

import contextlib
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from scheduling.attempts import ReportedFact
from scheduling.models import Task, TaskInstance
from scheduling.services import lifecycle, statements
from scheduling.services.claiming import claim
from scheduling.states import (
    INSTANCE_LIVE,
    TASK_TERMINAL,
    InstanceStatus,
    TaskStatus,
)
from tests import factories
from tests.factories import NOW
from tests.scheduling.cases import STATES, Case, accepted, report, running, take

# --- the triggers ---------------------------------------------------------------------------------------


def statuses_after_tries(model, pk, statuses, **more):
    """Return which of `statuses` the database lets a row become; each is tried and undone."""
    let = []
    for status in statuses:
        fields = {"status": status} | more
        if model is Task:
            fields["completed_at"] = NOW if status in TASK_TERMINAL else None
        with contextlib.suppress(IntegrityError), transaction.atomic():
            assert model.objects.filter(pk=pk).update(**fields) == 1
            let.append(status)
            transaction.set_rollback(True)
    return let


@pytest.mark.django_db
@pytest.mark.parametrize(
    "state", ["completed", "failed", "timed out", "lost", "cancelled", "declined", "waiting for its retry"]
)
def test_the_database_refuses_every_way_out_of_a_terminal_instance(state):
    case = STATES[state][0]()
    others = [status for status in InstanceStatus if status != case.statuses[1]]
    assert statuses_after_tries(TaskInstance, case.key.instance_id, others) == []


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "cancelled while it waited"])
def test_the_database_lets_a_terminal_task_go_nowhere_but_by_a_counted_retry(state):
    case = STATES[state][0]()
    others = [status for status in TaskStatus if status != case.statuses[0]]
    assert statuses_after_tries(Task, case.task.pk, others) == []
    way_back = [] if state == "completed" else ["pending"]
    retry = {"manual_retries": F("manual_retries") + 1}
    assert statuses_after_tries(Task, case.task.pk, others, **retry) == way_back


@pytest.mark.django_db
def test_a_status_that_does_not_end_anything_is_no_concern_of_the_triggers():
    case = running()
    assert statuses_after_tries(TaskInstance, case.key.instance_id, INSTANCE_LIVE) == list(INSTANCE_LIVE)


@pytest.mark.django_db
def test_a_start_that_is_reported_after_the_end_is_kept():
    case = accepted()
    ended = ReportedFact(seq=2, status=InstanceStatus.COMPLETED, at=NOW + timedelta(seconds=7), exit_code=0)
    started = ReportedFact(seq=1, status=InstanceStatus.RUNNING, at=NOW, start_delay_ms=1.5)
    for fact in (ended, started):
        lifecycle.apply_reports([(case.key, fact)], now=NOW)
    instance = TaskInstance.objects.get(pk=case.key.instance_id)
    assert (instance.status, instance.started_at, instance.start_delay_ms) == ("completed", NOW, 1.5)
    assert (instance.completed_at, instance.exit_code) == (NOW + timedelta(seconds=7), 0)


# --- overlap --------------------------------------------------------------------------------------------


def two_tasks_of(policy):
    """One attempt of a limited job runs and a planned instant of the same job is due."""
    job = factories.job(config={"concurrency_policy": policy})
    schedule = factories.schedule(job=job)
    case = Case(task=factories.task(job=job), agent=factories.agent())
    take(case)
    report("running", seq=1)(case)
    second = factories.task(job=job)
    Task.objects.filter(pk=second.pk).update(schedule=schedule)
    return case, second


@pytest.mark.django_db
@pytest.mark.parametrize(("policy", "status"), [("forbid", "cancelled"), ("queue", "pending")])
def test_an_instant_that_overlaps_is_skipped_or_waits_by_its_policy(policy, status):
    case, second = two_tasks_of(policy)
    lifecycle.skip_overlapping_tasks(now=NOW)
    second.refresh_from_db()
    assert (second.status, second.outcome) == (status, "skipped_overlap" if policy == "forbid" else None)
    assert case.statuses == ("running", "running")


@pytest.mark.django_db
def test_to_see_what_overlaps_no_task_of_another_job_is_read():
    two_tasks_of("forbid")
    other = factories.task()
    fields = [field.attname for field in Task._meta.concrete_fields if not field.primary_key]
    Task.objects.bulk_create(Task(**{name: getattr(other, name) for name in fields}) for _ in range(400))
    with connection.cursor() as cursor:
        # What was counted when other tests had other rows leads to another plan.
        cursor.execute("ANALYZE scheduling_task")
    for statement in (statements.SKIP_OVERLAPPING, statements.REPLACE_OVERLAPPED):
        with connection.cursor() as cursor:
            # Few rows are read faster than an index.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", {"now": NOW})
            (plan,) = cursor.fetchone()[0]
        assert sum(tasks_read(plan["Plan"])) < 100


def tasks_read(plan):
    """Yield how many rows each part of a plan reads of the tasks."""
    if plan.get("Relation Name") == "scheduling_task" and "Scan" in plan["Node Type"]:
        yield (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from tasks_read(part)


@pytest.mark.django_db
def test_a_newer_instant_asks_the_running_one_to_stop_and_takes_its_place():
    case, second = two_tasks_of("replace")
    assert lifecycle.replace_overlapping_attempts(now=NOW) == 1
    assert lifecycle.replace_overlapping_attempts(now=NOW) == 0
    report("cancelled", seq=2)(case)
    (started,) = claim(slots={case.agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    assert (started.task_id, case.statuses) == (second.pk, ("cancelled", "cancelled"))
