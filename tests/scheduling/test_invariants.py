"""What the invariants say of sound rows, how far they look, and that they cannot write."""

from datetime import timedelta

import psycopg
import pytest
from django.db import InternalError, OperationalError, connection
from django.db.models import F

from scheduling.clock import database_now
from scheduling.invariants import history, instants, progress
from scheduling.invariants.checks import Check, find, finding, reading
from scheduling.models import Alert, RetentionRule, Schedule, Task
from scheduling.services import lifecycle, manual, planning
from scheduling.services.calendars import freeze
from scheduling.services.definitions import update_job, update_schedule
from scheduling.services.retention import Retention
from tests import broken, factories
from tests.processes import database_url

CHECKS = (*history.CHECKS, *progress.CHECKS)
HOUR = timedelta(hours=1)


def plan(now, *, catch_up_secs=7 * 86_400):
    planning.run_once(now=now, horizon_secs=15, catch_up_secs=catch_up_secs)


def differences(**options):
    compared = instants.compare(**options)
    return compared.missing, compared.surplus, compared.next_runs


@pytest.mark.django_db
def test_nothing_is_found_where_nothing_is_there():
    assert [check.name for check in CHECKS if find(check, now=database_now()) is not None] == []
    assert instants.compare().findings() == []


@pytest.mark.django_db
def test_nothing_is_found_in_rows_that_services_made():
    now = database_now()
    first, second = broken.attempt(max_retries=1), broken.attempt(max_concurrency=2)
    manual.cancel(task_id=second.task_id, now=now)
    lifecycle.lose_attempts(now=now + HOUR, limit=10)
    broken.attempt()
    broken.planned_schedule()
    assert first.task_id
    assert [check.name for check in CHECKS if find(check, now=database_now()) is not None] == []
    assert instants.compare().findings() == []


@pytest.mark.django_db
def test_history_is_looked_at_as_far_back_as_one_asks():
    wrong = broken.too_many_retries()
    for _ in range(3):
        factories.task()
    (check,) = [check for check in history.CHECKS if check.name == "no more retries than allowed"]
    assert find(check, now=database_now(), recent=3) is None
    found = find(check, now=database_now(), recent=4)
    assert found is not None
    assert found.ids == (str(wrong),)
    assert find(check, now=database_now(), recent=None) == found


def test_many_findings_are_counted_up_to_a_thousand_and_ten_are_named():
    check = Check("a rule", "task", "", "do this")
    many = finding(check, [str(number) for number in range(1001)])
    assert (str(many), len(many.ids)) == ("more than 1000 tasks: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …", 10)
    assert str(finding(check, ["7"])) == "1 task: 7"
    assert finding(check, []) is None


# --- I2 -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_outages_freezes_and_rows_that_stand_for_many_leave_nothing_to_find():
    now = database_now()
    schedules = [
        factories.schedule(now=now - 5 * HOUR, interval_secs=secs, kind="interval") for secs in (7, 60)
    ]
    plan(now - 5 * HOUR)
    plan(now - 2 * HOUR, catch_up_secs=600)
    freeze(namespace="default", now=now - HOUR)
    plan(now)
    assert Task.objects.filter(instants__gt=1).count() == 2
    compared = instants.compare(window=None, most=10_000)
    assert compared.findings() == []
    assert (compared.schedules, compared.instants > 2500) == (len(schedules), True)
    assert instants.compare(window=None, most=1000).schedules == 1


@pytest.mark.django_db
def test_a_changed_rule_counts_from_its_change_on():
    now = database_now()
    schedule = factories.schedule(now=now - HOUR, kind="interval", interval_secs=7)
    plan(now - 60 * timedelta(seconds=1))
    # An agent has one of the future already, which stays when the rule changes.
    kept = schedule.tasks.order_by("-scheduled_at")[0]
    broken.change(kept, status="locked")
    update_schedule(schedule_id=schedule.pk, now=now - 60 * timedelta(seconds=1), interval_secs=11)
    plan(now)
    schedule.refresh_from_db()
    assert kept.scheduled_at > schedule.rule_since
    assert differences(window=None) == ({}, {}, {})


@pytest.mark.django_db
def test_instants_of_a_disabled_job_have_their_rows_too():
    now = database_now()
    schedule = factories.schedule(now=now - HOUR, kind="interval", interval_secs=60)
    plan(now - HOUR / 2)
    update_job(job_id=schedule.job_id, now=now - HOUR / 2, enabled=False)
    plan(now)
    assert differences() == ({}, {}, {})


@pytest.mark.django_db
def test_tasks_that_people_deleted_are_not_missed():
    now = database_now()
    schedule = factories.schedule(now=now - HOUR, kind="interval", interval_secs=60)
    plan(now)
    deleted, lost = schedule.tasks.order_by("scheduled_at")[4:6]
    manual.delete_task(task_id=deleted.pk)
    assert differences() == ({}, {}, {})
    lost.delete()
    assert differences() == ({schedule.pk: [lost.scheduled_at]}, {}, {})


@pytest.mark.django_db
@pytest.mark.parametrize("rule", [{"keep_last": 5}, {"keep_days": 1}])
def test_what_was_kept_as_long_as_it_was_to_be_is_not_missed(rule):
    now = database_now()
    schedule = factories.schedule(now=now - 31 * HOUR, kind="interval", interval_secs=3600)
    for back in range(30, -1, -1):
        plan(now - back * HOUR)
    RetentionRule.objects.create(namespace="default", **rule)
    schedule.tasks.update(status="cancelled", completed_at=F("scheduled_at"))
    ended = schedule.tasks.filter(status="cancelled")
    before = ended.count()
    assert Retention().run_once(now=now) > 0
    assert differences(window=None) == ({}, {}, {})
    # The latest is kept by either rule.
    lost = ended.order_by("-scheduled_at")[0]
    lost.delete()
    assert ended.count() < before
    assert differences(window=None) == ({schedule.pk: [lost.scheduled_at]}, {}, {})


@pytest.mark.django_db
def test_only_so_many_schedules_and_so_much_of_the_past_are_compared():
    now = database_now()
    schedule = factories.schedule(now=now - 3 * HOUR, kind="interval", interval_secs=60)
    factories.schedule(now=now - 3 * HOUR, kind="cron", cron_expression="0 0 1 1 *")
    plan(now)
    schedule.tasks.order_by("scheduled_at")[3].delete()
    assert differences(window=HOUR) == ({}, {}, {})
    compared = instants.compare(schedules=1, window=None)
    assert (compared.schedules, list(compared.missing)) == (1, [schedule.pk])


@pytest.mark.django_db
def test_schedules_that_count_from_the_end_are_left_out():
    now = database_now()
    factories.schedule(now=now - HOUR, kind="interval", interval_secs=60, interval_mode="delay")
    plan(now)
    assert instants.compare().schedules == 0


# --- reading --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_reading_cannot_write_and_sees_one_snapshot():
    factories.schedule()
    with psycopg.connect(database_url(), autocommit=True) as other, reading():
        assert Schedule.objects.count() == 1
        other.execute("DELETE FROM scheduling_schedule")
        assert Schedule.objects.count() == 1
        with pytest.raises(InternalError, match="read-only"):
            Alert.objects.create(kind="missed", namespace="default", text="")
    assert Schedule.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_takes_too_long_is_given_up():
    with psycopg.connect(database_url()) as other:
        other.execute("LOCK TABLE scheduling_outputchunk")
        with pytest.raises(OperationalError, match="statement timeout"), reading(limit_secs=0.1):
            find(history.CHECKS[-4], now=database_now())
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("30s",)
