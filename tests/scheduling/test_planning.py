from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from scheduling.errors import AlreadyExists, InvalidField
from scheduling.models import Schedule, Task
from scheduling.services import planning
from scheduling.services.definitions import update_job, update_schedule
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def plan(now=NOW, horizon=15.0):
    return planning.run_once(now=now, horizon_secs=horizon, catch_up_secs=7 * 86_400)


def outcomes():
    return list(Task.objects.order_by("scheduled_at").values_list("outcome", flat=True))


def test_every_instant_up_to_the_horizon_gets_one_task_however_often_one_plans():
    factories.schedule(kind="interval", interval_secs=5, start_time=NOW)
    assert plan() == 3
    assert plan() == 0
    assert plan(now=NOW + timedelta(seconds=5)) == 1
    instants = list(Task.objects.order_by("scheduled_at").values_list("scheduled_at", flat=True))
    assert instants == [NOW + timedelta(seconds=5 * n) for n in range(1, 5)]


def test_two_tasks_for_one_instant_are_refused_by_the_database():
    factories.schedule()
    plan()
    task = Task.objects.first()
    task.pk = None
    with pytest.raises(IntegrityError, match="task_one_per_instant"), transaction.atomic():
        task.save(force_insert=True)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("skip", ["missed"] * 4), ("run_once", ["coalesced"] * 3 + ["late"]), ("run_all", ["late"] * 4)],
)
def test_after_an_outage_every_instant_has_the_outcome_of_its_policy(policy, expected):
    job = factories.job(config={"misfire_policy": policy, "misfire_grace_secs": 0})
    factories.schedule(job=job, kind="cron", cron_expression="*/15 * * * *")
    plan(now=NOW + timedelta(minutes=61))
    assert outcomes() == expected


def test_a_disabled_job_leaves_a_row_that_says_so():
    job = factories.job()
    factories.schedule(job=job)
    plan()
    update_job(job_id=job.pk, now=NOW, enabled=False)
    plan(now=NOW + timedelta(seconds=5))
    assert set(outcomes()) == {"skipped_disabled"}
    assert not Task.objects.exclude(status="cancelled").exists()


def test_a_schedule_ends_after_its_count():
    schedule = factories.schedule(kind="interval", interval_secs=1, max_count=3)
    plan()
    schedule.refresh_from_db()
    assert (Task.objects.count(), schedule.status, schedule.next_run_at) == (3, "expired", None)


def test_once_fires_once():
    factories.schedule(kind="once", start_time=NOW + timedelta(seconds=3))
    assert plan() == 1
    assert plan(now=NOW + timedelta(seconds=10)) == 0


def test_editing_a_schedule_replaces_what_is_planned_for_the_future():
    schedule = factories.schedule(kind="interval", interval_secs=5, start_time=NOW)
    plan()
    update_schedule(schedule_id=schedule.pk, now=NOW + timedelta(seconds=6), interval_secs=4)
    plan(now=NOW + timedelta(seconds=6))
    seconds = [
        (at - NOW).total_seconds()
        for at in Task.objects.order_by("id").values_list("scheduled_at", flat=True)
    ]
    assert seconds == [5, 8, 12, 16, 20]


def test_one_bad_schedule_does_not_stop_the_others():
    bad = factories.schedule(kind="cron", cron_expression="*/5 * * * * *")
    good = factories.schedule()
    Schedule.objects.filter(pk=bad.pk).update(timezone="Mars/Olympus")
    plan()
    assert not Task.objects.filter(schedule=bad).exists()
    assert Task.objects.filter(schedule=good).exists()
    bad.refresh_from_db()
    assert "Mars/Olympus" in bad.problem


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"kind": "cron", "cron_expression": "0 0 * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"kind": "cron", "cron_expression": "0 0 30 2 *"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": "*/0 * * * *"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": "0," * 2000 + "0 * * * *"}, "cron_expression"),
        ({"kind": "cron"}, "cron_expression"),
        ({"kind": "interval", "interval_secs": -5}, "interval_secs"),
        ({"kind": "interval", "interval_secs": 0}, "interval_secs"),
        ({"kind": "once"}, "start_time"),
        ({"kind": "flow"}, "kind"),
        ({"kind": "interval", "interval_secs": 5, "max_count": 0}, "max_count"),
    ],
)
def test_an_unsound_schedule_is_refused_by_field_and_changes_nothing(fields, at_fault):
    job = factories.job()
    with pytest.raises(InvalidField) as refusal:
        factories.schedule(job=job, **fields)
    assert list(refusal.value.errors) == [at_fault]
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("config", "at_fault"),
    [
        ({"cmd": "perl"}, "config.cmd"),
        ({"args": "-c date"}, "config.args"),
        ({"args": [1]}, "config.args"),
        ({"timeout_secs": 0}, "config.timeout_secs"),
        ({"retry_backoff": "sometimes"}, "config.retry_backoff"),
        ({"timeout": 5}, "config.timeout"),
    ],
)
def test_an_unsound_job_is_refused_by_field(config, at_fault):
    with pytest.raises(InvalidField) as refusal:
        factories.job(config=config)
    assert list(refusal.value.errors) == [at_fault]


def test_a_jobs_script_becomes_its_arguments():
    assert factories.job(args=[], command="date -u").task_config["args"] == ["-c", "date -u"]
    with pytest.raises(InvalidField, match="takes no script"):
        factories.job(cmd="exec", args=[], command="date")


def test_a_name_is_taken_once_in_a_namespace():
    factories.job(name="a")
    factories.job(name="a", namespace="other")
    with pytest.raises(AlreadyExists):
        factories.job(name="a")


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "BASH_ENV", "HETUFLOW_X", "a b"])
def test_dangerous_environment_variables_are_refused(name):
    with pytest.raises(InvalidField) as refusal:
        factories.job(environment={name: "x"})
    assert list(refusal.value.errors) == ["environment"]
