"""History is kept as long as somebody wants it, and goes in small pieces that stand in nobody's way."""

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from access.models import AuditEntry
from scheduling.errors import AlreadyExists, InvalidField
from scheduling.models import Alert, OutputChunk, RetentionRule, Task, TaskInstance
from scheduling.services import planning, retention
from scheduling.services.definitions import update_job
from scheduling.services.retention import Retention
from scheduling.services.retention_rules import create_rule, delete_rule, update_rule
from tests import factories
from tests.factories import ANN, NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _kept_for_ever_unless_said(settings):
    settings.HETUFLOW_KEEP_DAYS = 0


def ended(job, *, days, status="completed", output=b""):
    """Make a task that ended so many days ago, with an attempt and its output."""
    task = factories.task(job=job)
    instance = TaskInstance.objects.create(
        id=uuid.uuid4(),
        task=task,
        job=job,
        attempt=1,
        token=task.pk,
        status="completed",
        stdout_bytes=len(output),
    )
    OutputChunk.objects.create(instance=instance, stream=1, offset=0, data=output, at=NOW)
    Task.objects.filter(pk=task.pk).update(status=status, completed_at=NOW - days * DAY)
    return task.pk


def forget(now=NOW):
    return Retention().run_once(now=now)


def left(job):
    return set(Task.objects.filter(job=job).values_list("pk", flat=True))


def test_nothing_goes_where_nobody_says_so():
    job = factories.job()
    ended(job, days=5000)
    assert forget() == 0


def test_what_is_older_than_its_days_goes_with_its_attempts_and_output():
    job = factories.job()
    create_rule(namespace="default", keep_days=30)
    ended(job, days=31, output=b"old")
    young = ended(job, days=29)
    assert forget() == 1
    assert left(job) == {young}
    assert TaskInstance.objects.count() == OutputChunk.objects.count() == 1
    assert forget() == 0


def test_the_setting_holds_where_no_rule_does_and_zero_keeps_for_ever(settings):
    settings.HETUFLOW_KEEP_DAYS = 10
    kept, gone = factories.job(), factories.job()
    create_rule(namespace="default", job=kept, keep_days=0)
    old = ended(kept, days=400)
    ended(gone, days=11)
    assert forget() == 1
    assert (left(kept), left(gone)) == ({old}, set())


def test_only_the_last_so_many_are_kept_whatever_their_age():
    job = factories.job()
    create_rule(namespace="default", job=job, keep_last=2)
    tasks = [ended(job, days=1) for _ in range(5)]
    assert forget() == 3
    assert left(job) == set(tasks[-2:])


def test_what_has_not_ended_is_never_touched_and_hides_nothing_behind_it():
    job = factories.job()
    create_rule(namespace="default", keep_days=1, keep_last=1)
    waiting = factories.task(job=job, scheduled_at=NOW - 900 * DAY).pk
    ended(job, days=900)
    last = ended(job, days=0)
    assert forget() == 1
    assert left(job) == {waiting, last}


def waiting(job, count):
    """Make tasks that wait, of an instant long ago."""
    return {factories.task(job=job, scheduled_at=NOW - 900 * DAY - n * DAY).pk for n in range(count)}


def ended_lately(job, count):
    """Make tasks that ended an hour ago, whatever their ids."""
    return {ended(job, days=1 / 24) for _ in range(count)}


@pytest.mark.parametrize("before", [waiting, ended_lately])
def test_an_old_task_goes_however_many_with_lower_ids_stay(before):
    job = factories.job()
    create_rule(namespace="default", keep_days=30)
    stay = before(job, 201)
    ended(job, days=31)
    assert forget() == 1
    assert left(job) == stay


def test_the_last_are_those_that_ended_last():
    job = factories.job()
    create_rule(namespace="default", job=job, keep_last=2)
    first, _second, third = (ended(job, days=days) for days in (1, 5, 3))
    assert forget() == 1
    assert left(job) == {first, third}


def test_jobs_that_keep_many_are_looked_at_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(retention, "COUNTED_PER_STEP", 5)
    jobs = [factories.job() for _ in range(4)]
    for job, last in zip(jobs, (2, 3, 1, 9), strict=True):
        create_rule(namespace="default", job=job, keep_last=last)
    steps, first = [], 0
    while rules := retention._next_rules(first):
        steps.append([last for _job, _days, last in rules])
        first = rules[-1][0] + 1
    assert steps == [[2, 3], [1], [9]]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"job": 5, "namespace": 20, "all": 40}, 5),
        ({"namespace": 20, "all": 40}, 20),
        ({"all": 40}, 40),
        ({"namespace": None, "all": 40}, 40),
    ],
)
def test_the_rule_nearest_to_the_job_counts(rules, kept):
    job = factories.job(namespace="shop")
    for name, days in rules.items():
        about = {"job": ("shop", job), "namespace": ("shop", None), "all": ("*", None)}[name]
        # What a rule leaves open the next one says.
        create_rule(namespace=about[0], job=about[1], keep_days=days, keep_last=None if days else 1000)
    survivor = ended(job, days=kept - 1)
    ended(job, days=kept + 1)
    assert forget() == 1
    assert left(job) == {survivor}


def test_it_goes_round_all_jobs_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(retention, "JOBS_PER_STEP", 2)
    monkeypatch.setattr(retention, "TASKS_PER_BATCH", 3)
    create_rule(namespace="*", keep_days=1)
    for _ in range(5):
        job = factories.job()
        for _ in range(4):
            ended(job, days=2)
    assert forget() == 20


def test_when_its_time_is_up_it_goes_on_where_it_was(monkeypatch):
    monkeypatch.setattr(retention, "BUDGET_SECS", -1.0)
    monkeypatch.setattr(retention, "TASKS_PER_BATCH", 2)
    create_rule(namespace="*", keep_days=1)
    job = factories.job()
    for _ in range(3):
        ended(job, days=2)
    keeper = Retention()
    assert [keeper.run_once(now=NOW) for _ in range(4)] == [2, 1, 0, 0]


def test_much_output_goes_in_several_transactions(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(retention, "BYTES_PER_BATCH", 100)
    create_rule(namespace="*", keep_days=1)
    job = factories.job()
    for _ in range(3):
        ended(job, days=2, output=b"x" * 60)
    keeper, ends = Retention(), {job.pk: (NOW - DAY, 0)}
    assert [keeper.delete_batch(ends) for _ in range(2)] == [2, 1]
    assert not ends


@pytest.mark.django_db(transaction=True)
def test_what_somebody_has_locked_is_left_for_later_and_nobody_waits():
    create_rule(namespace="*", keep_days=1)
    job = factories.job()
    held, free = ended(job, days=2), ended(job, days=2)
    with transaction.atomic():
        Task.objects.select_for_update().get(pk=held)
        assert at_once(forget) == [1]
    assert (left(job), free in left(job)) == ({held}, False)
    assert forget() == 1


@pytest.mark.django_db(transaction=True)
def test_an_attempt_whose_output_is_being_stored_is_left_for_later_with_its_task():
    create_rule(namespace="*", keep_days=1)
    job = factories.job()
    held, _free = ended(job, days=2), ended(job, days=2)
    with transaction.atomic():
        TaskInstance.objects.select_for_update(no_key=True).get(task_id=held)
        assert at_once(forget) == [1]
    assert (left(job), OutputChunk.objects.count()) == ({held}, 1)
    assert forget() == 1


def test_one_index_leads_to_what_is_kept_and_to_what_goes():
    create_rule(namespace="*", keep_days=1, keep_last=3)
    job = factories.job()
    for _ in range(5):
        ended(job, days=0)
    plans = []

    def explain(execute, sql, params, many, context):
        if "FROM unnest" in sql:
            with connection.cursor() as cursor:
                cursor.cursor.execute(f"EXPLAIN {sql}", params)
                plans.append(str(cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    with connection.execute_wrapper(explain):
        assert forget() == 2
    assert len(plans) == 2
    for plan in plans:
        assert "using task_ended" in plan
        assert "Sort" not in plan


@pytest.mark.django_db(transaction=True)
def test_many_at_once_delete_each_task_once():
    create_rule(namespace="*", keep_days=1)
    job = factories.job()
    for _ in range(40):
        ended(job, days=2)
    assert sum(at_once(*[forget] * 4)) == 40


def test_what_was_deleted_is_not_planned_again():
    schedule = factories.schedule(now=NOW - 3 * DAY, kind="cron", cron_expression="0 9 * * *")
    planning.run_once(now=NOW, horizon_secs=15, catch_up_secs=7 * 86_400)
    Task.objects.filter(status="pending").update(status="completed", completed_at=NOW - DAY)
    create_rule(namespace="*", keep_last=1)
    assert forget() == 2
    planning.run_once(now=NOW + timedelta(minutes=1), horizon_secs=15, catch_up_secs=7 * 86_400)
    assert Task.objects.filter(schedule=schedule).count() == 1


def test_alerts_go_once_somebody_has_seen_them(settings):
    settings.HETUFLOW_KEEP_DAYS = 90
    for seen in (None, NOW - 91 * DAY, NOW - 89 * DAY):
        Alert.objects.create(kind="missed", namespace="default", text="", acknowledged_at=seen)
    forget()
    assert set(Alert.objects.values_list("acknowledged_at", flat=True)) == {None, NOW - 89 * DAY}


def test_a_rule_moves_with_its_job():
    job = factories.job()
    rule = create_rule(namespace="default", job=job, keep_days=5)
    update_job(job_id=job.pk, now=NOW, namespace="elsewhere")
    rule.refresh_from_db()
    assert rule.namespace == "elsewhere"


def test_rules_are_changed_and_deleted_and_each_write_is_told():
    rule = create_rule(namespace="default", keep_days=5, by=ANN)
    update_rule(rule_id=rule.pk, keep_days=None, keep_last=9, by=ANN)
    with pytest.raises(AlreadyExists):
        create_rule(namespace="default", keep_days=7)
    delete_rule(rule_id=rule.pk, by=ANN)
    assert not RetentionRule.objects.exists()
    entries = AuditEntry.objects.filter(subject_type="retention_rule").order_by("pk")
    assert [(entry.action.partition(".")[2], entry.actor) for entry in entries] == [
        ("create", "ann"),
        ("update", "ann"),
        ("delete", "ann"),
    ]


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({}, "keep_days"),
        ({"keep_days": -1}, "keep_days"),
        ({"keep_days": 36_501}, "keep_days"),
        ({"keep_last": 100_001}, "keep_last"),
        ({"keep_days": 1, "colour": "red"}, "colour"),
        ({"keep_days": 1, "namespace": ""}, "namespace"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields, at_fault):
    with pytest.raises(InvalidField) as refused:
        create_rule(**{"namespace": "default", **fields})
    assert set(refused.value.errors) == {at_fault}
    assert not RetentionRule.objects.exists()


def test_the_database_keeps_one_rule_for_each_and_none_that_says_nothing():
    create_rule(namespace="default", keep_days=5)
    with pytest.raises(IntegrityError, match="retentionrule_one_per_namespace"), transaction.atomic():
        RetentionRule.objects.create(namespace="default", keep_days=1)
    with pytest.raises(IntegrityError, match="retentionrule_says_something"), transaction.atomic():
        RetentionRule.objects.create(namespace="other")
    with pytest.raises(IntegrityError, match="retentionrule_for_all_names_no_job"), transaction.atomic():
        RetentionRule.objects.create(namespace="*", job=factories.job(), keep_days=1)
    assert connection.is_usable()


@pytest.mark.parametrize("table", ["task", "taskinstance", "outputchunk"])
def test_dead_rows_are_cleared_away_when_a_fiftieth_is_dead(table):
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [f"scheduling_{table}"])
        assert "autovacuum_vacuum_scale_factor=0.02" in cursor.fetchone()[0]


def test_dead_output_that_is_stored_aside_is_cleared_away_as_soon():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT aside.reloptions FROM pg_class c JOIN pg_class aside ON aside.oid = c.reltoastrelid"
            " WHERE c.relname = 'scheduling_outputchunk'"
        )
        assert cursor.fetchone()[0] == ["autovacuum_vacuum_scale_factor=0.02"]
