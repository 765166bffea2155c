"""A backfill runs each instant of a range once more, a few at a time, whoever is killed meanwhile."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from access.models import AuditEntry
from scheduling.attempts import ReportedFact
from scheduling.errors import InvalidField, InvalidState
from scheduling.models import Alert, Backfill, Calendar, Freeze, Task
from scheduling.services import backfilling, backfills, lifecycle, planning
from scheduling.services.claiming import claim
from scheduling.services.definitions import archive_job, archive_schedule, update_job, update_schedule
from scheduling.services.lifecycle import AttemptKey
from scheduling.states import InstanceStatus
from tests import factories
from tests.factories import ANN, NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db
FIRST = datetime(2026, 2, 1, tzinfo=UTC)


def daily(*, config=None, **fields):
    return factories.schedule(
        job=factories.job(config=config or {}), kind="cron", cron_expression="0 6 * * *", **fields
    )


def backfill(schedule, *, days=5, **fields):
    fields = {"range_from": FIRST, "range_to": FIRST + timedelta(days=days), **fields}
    return backfills.create_backfill(schedule_id=schedule.pk, now=NOW, by=ANN, **fields)


def step(now=NOW):
    return backfilling.run_once(now=now)


def tasks_of(backfill):
    return Task.objects.filter(backfill=backfill).order_by("scheduled_at")


def run_all_waiting(agent, *, status="completed", now=NOW):
    """Let an agent run whatever waits, and return how many there were and which backfills may go on."""
    started = claim(slots={agent.id: 100}, now=now, lead_secs=2, lease_secs=30)
    reports = [
        (
            AttemptKey(agent_id=agent.id, instance_id=each.instance_id, token=each.token),
            ReportedFact(seq=1, status=InstanceStatus(status), at=now),
        )
        for each in started
    ]
    return len(started), lifecycle.apply_reports(reports, now=now).backfills


def test_it_runs_every_instant_of_the_range_in_order_one_after_the_other():
    agent, wanted = factories.agent(slots=100), backfill(daily())
    seen = []
    while step():
        (task,) = tasks_of(wanted).filter(status="pending")
        seen.append(task.scheduled_at)
        assert run_all_waiting(agent) == (1, {wanted.pk})

    wanted.refresh_from_db()
    assert seen == [FIRST.replace(hour=6) + timedelta(days=day) for day in range(5)]
    assert (wanted.status, wanted.planned, wanted.total, wanted.completed_at) == ("completed", 5, 5, NOW)


def test_both_ends_of_the_range_belong_to_it():
    wanted = backfill(
        daily(), range_from=FIRST.replace(hour=6), range_to=FIRST.replace(day=2, hour=6), parallel=9
    )
    step()
    assert [task.scheduled_at.day for task in tasks_of(wanted)] == [1, 2]


def test_never_more_than_it_may_have_at_once_are_there():
    agent, wanted = factories.agent(slots=100), backfill(daily(), days=10, parallel=3)
    counts = []
    while step():
        counts.append(tasks_of(wanted).filter(status="pending").count())
        run_all_waiting(agent)
    assert counts == [3, 3, 3, 1]


def test_a_task_is_due_at_once_and_carries_the_parameters_of_its_instant():
    schedule = daily(parameters={"day": '{{ business_date | format("%F") }}'})
    wanted = backfill(schedule, range_from=FIRST + timedelta(days=1))
    step()
    task = tasks_of(wanted).get()
    assert (task.due_at, task.parameters, task.created_by) == (NOW, {"day": "2026-02-02"}, "ann")
    assert (task.schedule_id, task.outcome, task.schedule_kind) == (None, None, "cron")


def test_a_second_step_adds_nothing_and_neither_do_two_at_once():
    backfill(daily(), parallel=2)
    assert (step(), step()) == (2, 0)


@pytest.mark.django_db(transaction=True)
def test_racing_steps_give_each_instant_one_task():
    wanted = backfill(daily(), days=20, parallel=20)
    assert sum(at_once(*[step] * 4)) == 20
    assert tasks_of(wanted).count() == 20


@pytest.mark.django_db(transaction=True)
def test_a_step_that_dies_before_its_commit_leaves_nothing_and_the_next_one_goes_on(monkeypatch):
    wanted = backfill(daily(), parallel=2)
    with monkeypatch.context() as patch:
        patch.setattr(backfilling.alerts, "raise_for_paused_backfills", _die)
        with pytest.raises(KeyboardInterrupt):
            step()
    assert tasks_of(wanted).count() == 0
    assert step() == 2


def _die(_paused):
    raise KeyboardInterrupt


def test_a_retry_by_the_job_holds_its_place_and_a_failure_does_not_stop_the_rest():
    schedule = daily(config={"max_retries": 1, "retry_interval_secs": 10})
    agent, wanted = factories.agent(slots=100), backfill(schedule, days=2)
    step()
    run_all_waiting(agent, status="failed")
    assert step() == 0
    later = NOW + timedelta(seconds=11)
    run_all_waiting(agent, status="failed", now=later)
    assert step(later) == 1
    assert [task.status for task in tasks_of(wanted)] == ["failed", "pending"]


def test_it_pauses_on_a_failure_where_it_should_and_goes_on_when_told():
    agent, wanted = factories.agent(slots=100), backfill(daily(), on_failure="pause")
    step()
    run_all_waiting(agent, status="failed")
    assert step() == 0
    wanted.refresh_from_db()
    assert (wanted.status, wanted.problem) == ("paused", "paused because a run failed")
    assert Alert.objects.get().text == f"Backfill #{wanted.pk}: paused because a run failed"

    later = NOW + timedelta(seconds=1)
    backfills.resume_backfill(backfill_id=wanted.pk, now=later, by=ANN)
    assert step(later) == 1


def test_one_that_was_paused_goes_on_where_it_was():
    agent, wanted = factories.agent(slots=100), backfill(daily())
    step()
    backfills.pause_backfill(backfill_id=wanted.pk, now=NOW, by=ANN)
    run_all_waiting(agent)
    assert step() == 0
    assert backfills.resume_backfill(backfill_id=wanted.pk, now=NOW, by=ANN).problem == ""
    assert step() == 1
    assert [task.scheduled_at.day for task in tasks_of(wanted)] == [1, 2]
    assert [
        *AuditEntry.objects.order_by("pk").filter(subject_type="backfill").values_list("action", flat=True)
    ] == [
        "backfill.create",
        "backfill.pause",
        "backfill.resume",
    ]


def test_cancelling_ends_what_waits_and_asks_what_runs_to_stop():
    agent, wanted = factories.agent(slots=100), backfill(daily(), parallel=2)
    step()
    claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    cancelled = backfills.cancel_backfill(backfill_id=wanted.pk, now=NOW, by=ANN)
    assert (cancelled.status, cancelled.completed_at) == ("cancelled", NOW)
    running, waiting = tasks_of(wanted)
    assert (running.status, running.cancel_requested_at) == ("locked", NOW)
    assert (waiting.status, waiting.reason) == ("cancelled", f"backfill #{wanted.pk} was cancelled")
    assert step() == 0
    for action in (backfills.cancel_backfill, backfills.resume_backfill, backfills.pause_backfill):
        with pytest.raises(InvalidState, match="cancelled"):
            action(backfill_id=wanted.pk, now=NOW, by=ANN)


def test_days_off_are_no_part_of_it():
    calendar = Calendar.objects.create(name="work", dates=[{"date": "2026-02-02", "until": "2026-02-04"}])
    wanted = backfill(daily(calendar=calendar), parallel=9)
    step()
    assert wanted.total == 2
    assert [task.scheduled_at.day for task in tasks_of(wanted)] == [1, 5]


def test_what_was_completed_can_be_left_out():
    schedule = daily()
    agent, first = factories.agent(slots=100), backfill(schedule, days=2, parallel=9)
    step()
    run_all_waiting(agent)
    own = {"schedule": schedule, "scheduled_at": FIRST.replace(day=4, hour=6)}
    done = factories.task(job=schedule.job)
    Task.objects.filter(pk=done.pk).update(**own, status="completed", completed_at=NOW)
    missed = factories.task(job=schedule.job)
    own["scheduled_at"] += timedelta(days=1)
    Task.objects.filter(pk=missed.pk).update(**own, status="cancelled", outcome="missed", completed_at=NOW)

    wanted = backfill(schedule, parallel=9, only_missing=True)
    step()
    wanted.refresh_from_db()
    assert [task.scheduled_at.day for task in tasks_of(wanted)] == [3, 5]
    assert (wanted.total, wanted.planned, wanted.left_out) == (5, 2, 3)
    assert first.status == "running"


def test_it_waits_for_a_run_of_the_schedule_unless_it_may_run_beside_it():
    schedule = daily()
    agent = factories.agent(slots=100)
    own = factories.task(job=schedule.job)
    Task.objects.filter(pk=own.pk).update(schedule=schedule)
    claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    patient, bold = backfill(schedule), backfill(schedule, overlap="allow")
    assert step() == 1
    patient.refresh_from_db()
    assert patient.problem == "waits: a run of the schedule is going on"
    assert tasks_of(bold).count() == 1


@pytest.mark.parametrize("obstacle", ["job", "freeze"])
def test_it_waits_while_its_job_is_disabled_or_its_namespace_frozen(obstacle):
    schedule = daily()
    wanted = backfill(schedule)
    if obstacle == "job":
        update_job(job_id=schedule.job_id, now=NOW, enabled=False)
    else:
        Freeze.objects.create(namespace="default", since=NOW)
    assert step() == 0
    wanted.refresh_from_db()
    assert (wanted.status, wanted.problem.partition(":")[0]) == ("running", "waits")
    update_job(job_id=schedule.job_id, now=NOW, enabled=True)
    Freeze.objects.all().delete()
    assert step() == 1
    wanted.refresh_from_db()
    assert wanted.problem == ""


def test_a_limited_job_keeps_its_limit_and_a_backfill_neither_skips_nor_replaces():
    for policy in ("forbid", "replace"):
        schedule = daily(config={"concurrency_policy": policy})
        agent = factories.agent(slots=100)
        wanted = backfill(schedule, parallel=5)
        step()
        assert len(claim(slots={agent.id: 100}, now=NOW, lead_secs=2, lease_secs=30)) == 1
        lifecycle.skip_overlapping_tasks(now=NOW)
        lifecycle.replace_overlapping_attempts(now=NOW)
        assert tasks_of(wanted).filter(status="pending", cancel_requested_at=None).count() == 4
        assert tasks_of(wanted).filter(cancel_requested_at__isnull=False).count() == 0
        backfills.cancel_backfill(backfill_id=wanted.pk, now=NOW)


def test_it_runs_what_the_schedule_said_when_it_was_asked_for():
    schedule = daily()
    wanted = backfill(schedule, parallel=9)
    update_schedule(schedule_id=schedule.pk, now=NOW, cron_expression="0 7 * * *")
    step()
    assert {task.scheduled_at.hour for task in tasks_of(wanted)} == {6}


def test_one_that_cannot_go_on_is_paused_and_the_others_do():
    bad, good = backfill(daily()), backfill(daily())
    Backfill.objects.filter(pk=bad.pk).update(rule={"kind": "cron", "cron_expression": "gibberish"})
    assert step() == 1
    bad.refresh_from_db()
    assert bad.status == "paused"
    assert bad.problem
    assert tasks_of(good).count() == 1


@pytest.mark.parametrize("archive", ["job", "schedule"])
def test_it_ends_with_its_schedule(archive):
    schedule = daily()
    wanted = backfill(schedule)
    if archive == "job":
        archive_job(job_id=schedule.job_id, now=NOW)
    else:
        archive_schedule(schedule_id=schedule.pk, now=NOW)
    wanted.refresh_from_db()
    assert (wanted.status, step()) == ("cancelled", 0)


@pytest.mark.parametrize(
    ("fields", "at_fault", "message"),
    [
        ({"range_to": FIRST - timedelta(days=1)}, "range_to", "after range_from"),
        ({"range_to": NOW + timedelta(days=1)}, "range_to", "in the past"),
        ({"parallel": 0}, "parallel", "from 1 to 100"),
        ({"parallel": 101}, "parallel", "from 1 to 100"),
        ({"range_to": FIRST}, "range_from", "no instant"),
    ],
)
def test_a_range_that_cannot_be_run_is_refused_and_says_why(fields, at_fault, message):
    with pytest.raises(InvalidField) as refused:
        backfill(daily(), **fields)
    assert message in refused.value.errors[at_fault]
    assert not Backfill.objects.exists()


def test_a_range_of_too_many_instants_or_of_none_allowed_is_refused():
    often = factories.schedule(kind="interval", interval_secs=1)
    with pytest.raises(InvalidField, match="more than 50000"):
        backfill(often, days=1)
    calendar = Calendar.objects.create(name="work", dates=[{"date": "2026-01-01", "until": "2026-12-31"}])
    with pytest.raises(InvalidField, match="forbids all 5"):
        backfill(daily(calendar=calendar))
    delayed = factories.schedule(kind="interval", interval_secs=60, interval_mode="delay")
    with pytest.raises(InvalidField, match="counts from the end"):
        backfill(delayed)


def test_a_step_takes_the_same_number_of_statements_for_one_and_for_many(django_assert_num_queries):
    for number in (1, 9):
        for _ in range(number):
            backfill(daily(), parallel=2)
        with django_assert_num_queries(9) as counted:
            step()
        assert counted
        Backfill.objects.update(status="cancelled", completed_at=NOW)


def test_planning_beside_it_plans_its_own_instants_only():
    schedule = daily()
    wanted = backfill(schedule)
    step()
    planning.run_once(now=NOW + timedelta(days=1), horizon_secs=15, catch_up_secs=86_400)
    assert Task.objects.filter(schedule=schedule).count() == 1
    assert tasks_of(wanted).count() == 1


def test_the_database_refuses_an_instant_twice_and_an_end_without_a_time():
    wanted = backfill(daily())
    step()
    task = tasks_of(wanted).get()
    other = factories.task()
    with pytest.raises(IntegrityError, match="task_one_per_backfilled_instant"), transaction.atomic():
        Task.objects.filter(pk=other.pk).update(backfill=wanted, scheduled_at=task.scheduled_at)
    with pytest.raises(IntegrityError, match="backfill_completed_at_iff_ended"), transaction.atomic():
        Backfill.objects.filter(pk=wanted.pk).update(status="completed")
    assert connection.is_usable()
