"""The ledger: what was planned against what happened."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduling.models import Schedule, Task, TaskInstance
from scheduling.services import planning
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.definitions import create_schedule, disable_schedule
from scheduling.services.ledger import count_by_span, ledger_of
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
    schedule = Schedule.objects.select_related("job", "calendar").get(pk=schedule.pk)
    for end in (NOW + timedelta(minutes=1), datetime(2026, 3, 2, 13, tzinfo=UTC)):
        with django_assert_num_queries(3):
            ledger_of(schedule, begin=NOW, end=end, limit=100)


def test_what_the_calendar_or_a_freeze_will_skip_or_move_is_said_beforehand():
    calendar = create_calendar(name="off", dates=[{"date": "2026-03-04", "name": "Founders' Day"}])
    schedule = create_schedule(
        job=factories.job(), now=NOW, kind="cron", cron_expression="0 9 * * *", calendar=calendar
    )
    freeze(namespace="default", now=NOW, until=NOW + timedelta(days=1), reason="release")
    found = ledger(schedule, end=NOW + timedelta(days=3))
    assert [(entry["outcome"], entry["reason"]) for entry in found.entries] == [
        ("planned", "will be skipped: the namespace is frozen: release"),
        ("planned", "will be skipped: off: Founders' Day"),
        ("planned", ""),
    ]


def test_of_a_schedule_that_counts_from_the_end_only_the_next_run_is_told():
    schedule = create_schedule(
        job=factories.job(), now=NOW, kind="interval", interval_secs=60, interval_mode="delay"
    )
    later = NOW + timedelta(minutes=1)
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=later)
    assert [entry["scheduled_at"] for entry in ledger(schedule).entries] == [later]


def test_no_more_runs_are_announced_than_are_left():
    schedule = create_schedule(job=factories.job(), now=NOW, kind="interval", interval_secs=60, max_count=3)
    schedule.refresh_from_db()
    instants = [NOW + timedelta(minutes=number) for number in (1, 2, 3)]
    assert [entry["scheduled_at"] for entry in ledger(schedule).entries] == instants
    later = ledger_of(schedule, begin=instants[0], end=LATER, limit=100)
    assert [entry["scheduled_at"] for entry in later.entries] == instants[1:]


def test_instants_are_counted_by_day_and_by_hour():
    schedule = minutely(misfire_policy="skip", misfire_grace_secs=0)
    plan(NOW + timedelta(seconds=190))
    schedule.refresh_from_db()
    by_day = count_by_span(schedule, begin=NOW, end=LATER, span="day")
    assert by_day == {datetime(2026, 3, 2, tzinfo=UTC): {"missed": 3, "planned": 7}}
    by_hour = count_by_span(schedule, begin=NOW, end=LATER, span="hour")
    assert by_hour == {NOW: {"missed": 3, "planned": 7}}
