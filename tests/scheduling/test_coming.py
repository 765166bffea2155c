"""What is to run: tasks that wait, and instants that schedules will plan."""

from datetime import timedelta

import pytest

from scheduling.models import Schedule, Task
from scheduling.services import coming, planning
from scheduling.services.calendars import freeze
from scheduling.services.coming import planned_instants, waiting_tasks
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def hourly(namespace="ours", **fields):
    job = factories.job(namespace=namespace, **fields.pop("job_fields", {}))
    return factories.schedule(job=job, kind="cron", cron_expression="0 * * * *", **fields)


def instants(**asked):
    planned, _is_all = planned_instants(now=NOW, until=NOW + 3 * HOUR, **asked)
    return [(each.schedule_id, (each.due_at - NOW) / HOUR) for each in planned]


def test_the_next_instants_of_schedules_come_the_soonest_schedule_first():
    first = hourly()
    second = factories.schedule(kind="cron", cron_expression="30 14 * * *")
    assert instants() == [(first.pk, 1), (first.pk, 2), (first.pk, 3), (second.pk, 2.5)]


def test_what_does_not_run_does_not_come():
    hourly(status="disabled")
    hourly(job_fields={"enabled": False})
    hourly("frozen")
    freeze(namespace="frozen", now=NOW)
    broken = hourly()
    Schedule.objects.filter(pk=broken.pk).update(cron_expression="not cron")
    assert instants() == []


def test_what_is_a_task_already_is_no_planned_instant():
    schedule = hourly()
    planning.run_once(now=NOW + HOUR - timedelta(seconds=5), horizon_secs=15, catch_up_secs=86_400.0)
    assert instants() == [(schedule.pk, 2), (schedule.pk, 3)]
    [waiting] = waiting_tasks(until=NOW + 3 * HOUR)
    assert waiting == (Task.objects.get().pk, schedule.job_id, NOW + HOUR)


def test_only_those_of_the_chosen_namespaces_and_jobs_come():
    ours, theirs = hourly("ours"), hourly("theirs")
    for schedule in (ours, theirs):
        factories.task(job=schedule.job)
    for choice in ({"namespaces": ["ours"]}, {"job_ids": [ours.job_id]}):
        assert {number for number, _at in instants(**choice)} == {ours.pk}
        assert [task.job_id for task in waiting_tasks(until=NOW, **choice)] == [ours.job_id]
    assert len(waiting_tasks(until=NOW)) == 2
    assert waiting_tasks(until=NOW, namespaces=[]) == []


def test_tasks_that_run_or_ended_do_not_wait_nor_do_those_for_later():
    task = factories.task()
    Task.objects.filter(pk=task.pk).update(status="failed", completed_at=NOW)
    factories.task(now=NOW + 5 * HOUR)
    assert waiting_tasks(until=NOW + HOUR) == []


@pytest.mark.parametrize("name", ["_OF_ONE_SCHEDULE", "_SCHEDULES_LOOKED_AT", "MAX_PLANNED"])
def test_it_is_said_where_not_all_is_there(name, monkeypatch):
    hourly()
    hourly()
    assert planned_instants(now=NOW, until=NOW + 3 * HOUR)[1]
    monkeypatch.setattr(coming, name, 1)
    planned, is_all = planned_instants(now=NOW, until=NOW + 3 * HOUR)
    assert planned
    assert not is_all


def test_it_takes_as_many_queries_for_many_schedules_as_for_one(django_assert_num_queries):
    hourly()
    with django_assert_num_queries(2):
        planned_instants(now=NOW, until=NOW + HOUR)
    for _ in range(5):
        hourly()
    with django_assert_num_queries(2):
        planned_instants(now=NOW, until=NOW + HOUR)
