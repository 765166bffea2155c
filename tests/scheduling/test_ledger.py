"""The ledger: what was planned against what happened."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduling.models import Task, TaskInstance
from scheduling.services import planning
from scheduling.services.definitions import create_schedule, disable_schedule
from scheduling.services.ledger import ledger_of
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=10)


def minutely(**config):
    return create_schedule(job=factories.job(config=config), now=NOW, kind="interval", interval_secs=60)


def ledger(schedule, *, end=LATER, limit=100):
    schedule.refresh_from_db()
    return ledger_of(schedule, begin=NOW, end=end, limit=limit)


def plan(now):
    planning.run_once(now=now, horizon_secs=15, catch_up_secs=86_400.0)


def test_what_happened_comes_from_tasks_and_what_will_from_the_rule():
    schedule = minutely(misfire_policy="skip", misfire_grace_secs=0)
    plan(NOW + timedelta(seconds=190))
    found = ledger(schedule)
    assert [entry["outcome"] for entry in found.entries] == ["missed"] * 3 + ["planned"] * 7
    assert found.totals == {"missed": 3, "planned": 7}
    assert not found.has_more


def test_an_entry_tells_when_it_started_and_how_late():
    schedule = minutely()
    plan(NOW + timedelta(seconds=50))
    task = Task.objects.get()
    started = task.due_at + timedelta(milliseconds=12)
    TaskInstance.objects.create(
        task=task, job=task.job, attempt=1, token=1, status="completed", started_at=started
    )
    entry = ledger(schedule).entries[0]
    assert (entry["task_id"], entry["started_at"], entry["delay_secs"]) == (task.pk, started, 0.012)


def test_a_row_that_stands_for_many_counts_for_as_many():
    schedule = minutely(misfire_policy="skip")
    planning.run_once(now=NOW + timedelta(minutes=10), horizon_secs=15, catch_up_secs=120.0)
    assert ledger(schedule).totals["missed"] >= 8


def test_a_ledger_is_cut_where_it_gets_long_and_says_so():
    found = ledger(minutely(), limit=4)
    assert (len(found.entries), found.has_more) == (4, True)


def test_a_disabled_schedule_plans_nothing_more():
    schedule = minutely()
    disable_schedule(schedule_id=schedule.pk, now=NOW)
    assert list(ledger(schedule).entries) == []


def test_a_ledger_takes_as_many_statements_for_many_instants_as_for_one(django_assert_num_queries):
    schedule = minutely()
    plan(NOW + timedelta(minutes=9))
    schedule.refresh_from_db()
    for end in (NOW + timedelta(minutes=1), datetime(2026, 3, 2, 13, tzinfo=UTC)):
        with django_assert_num_queries(2):
            ledger_of(schedule, begin=NOW, end=end, limit=100)
