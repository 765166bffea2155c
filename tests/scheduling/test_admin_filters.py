"""What the lists of the admin are narrowed to by their filters."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent
from hetuflow.preferences import ZONE_COOKIE
from scheduling.models import Job, Schedule, Task, TaskInstance
from tests import factories
from tests.admin_client import client_of

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def browser():
    return client_of(superuser=True)


def narrowed(browser, of_list, **query):
    """Return the ids of what a list shows, in its order."""
    response = browser.get(reverse(f"admin:{of_list}_changelist"), query)
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ({"planned": "1"}, [-0.5]),
        ({"planned": "24"}, [-0.5, -5]),
        ({"planned": "168"}, [-0.5, -5, -100]),
        ({"planned": "future"}, [5]),
        ({"planned": "", "planned_from": "", "planned_to": ""}, None),
        ({"planned_from": "-101", "planned_to": "-4"}, [-5, -100]),
        ({"planned_from": "-6"}, [5, -0.5, -5]),
        ({"planned_to": "-6"}, [-100, -500]),
        ({"planned": "24", "planned_to": "-4"}, [-5]),
        ({"planned_from": "yesterday"}, None),
    ],
)
def test_tasks_of_a_time_newest_first(browser, query, hours):
    now = timezone.now()
    tasks = {hour: factories.task() for hour in (-500, -5, -100, 5, -0.5)}
    for hour, task in tasks.items():
        Task.objects.filter(pk=task.pk).update(scheduled_at=now + timedelta(hours=hour))
    given = {
        name: f"{now + timedelta(hours=int(value)):%Y-%m-%dT%H:%M:%SZ}"
        if value.removeprefix("-").isdigit() and name != "planned"
        else value
        for name, value in query.items()
    }
    expected = reversed(tasks.values()) if hours is None else [tasks[hour] for hour in hours]
    found = narrowed(browser, "scheduling_task", **given)
    if hours is None and "yesterday" in query.values():
        assert sorted(found) == sorted(task.pk for task in expected)
    else:
        assert found == [task.pk for task in expected]


def test_times_are_those_of_the_readers_clocks_and_a_wrong_one_is_told(browser):
    task = factories.task(now=NOON)
    Task.objects.filter(pk=task.pk).update(scheduled_at=NOON)
    browser.cookies[ZONE_COOKIE] = "Asia/Shanghai"
    assert narrowed(browser, "scheduling_task", planned_to="2026-03-02T19:59") == []
    assert narrowed(browser, "scheduling_task", planned_from="2026-03-02T20:00") == [task.pk]
    response = browser.get(reverse("admin:scheduling_task_changelist"), {"planned_to": "noon"})
    assert "Expected a time such as" in response.content.decode()


def test_attempts_of_a_time(browser):
    now, attempts = timezone.now(), {hours: factories.attempt() for hours in (200, 100, 5, 0)}
    for hours, attempt in attempts.items():
        TaskInstance.objects.filter(pk=attempt.pk).update(created_at=now - timedelta(hours=hours))
    list_of = "scheduling_taskinstance"
    assert narrowed(browser, list_of, begun="1") == [attempts[0].pk]
    assert narrowed(browser, list_of, begun="24") == [attempts[0].pk, attempts[5].pk]
    before = f"{now - timedelta(hours=4):%Y-%m-%dT%H:%M:%SZ}"
    assert attempts[0].pk not in narrowed(browser, list_of, begun_to=before)


def test_attempts_that_ran_long_or_do_so_already(browser):
    now, attempts = timezone.now(), [factories.attempt() for _ in range(4)]
    for attempt, minutes, ended in zip(attempts, (4, 20, 90, 70), (True, True, True, False), strict=True):
        TaskInstance.objects.filter(pk=attempt.pk).update(
            created_at=now - timedelta(minutes=minutes, seconds=1),
            started_at=now - timedelta(minutes=minutes),
            completed_at=now if ended else None,
            status="completed" if ended else "running",
        )
    ids = [attempt.pk for attempt in attempts]
    assert narrowed(browser, "scheduling_taskinstance", longer="5") == [ids[3], ids[2], ids[1]]
    assert narrowed(browser, "scheduling_taskinstance", longer="60") == [ids[3], ids[2]]
    assert narrowed(browser, "scheduling_taskinstance", longer="1440") == []
    assert len(narrowed(browser, "scheduling_taskinstance", longer="nonsense")) == 4


def test_attempts_by_exit_code_job_and_namespace(browser):
    attempts = [factories.attempt() for _ in range(3)]
    for attempt, code in zip(attempts, (0, 137, None), strict=True):
        TaskInstance.objects.filter(pk=attempt.pk).update(exit_code=code)
    list_of = "scheduling_taskinstance"
    assert narrowed(browser, list_of, exit_code="137") == [attempts[1].pk]
    assert narrowed(browser, list_of, exit_code=" 0 ") == [attempts[0].pk]
    assert narrowed(browser, list_of, exit_code="many") == []
    assert narrowed(browser, list_of, job__id__exact=attempts[0].job_id) == [attempts[0].pk]
    assert len(narrowed(browser, list_of, namespace="default")) == 3
    assert narrowed(browser, list_of, namespace="other") == []


def test_tasks_that_were_retried_and_those_of_a_namespace(browser):
    once, again = factories.task(), factories.task(job=factories.job(namespace="other"))
    Task.objects.filter(pk=again.pk).update(attempt_count=2)
    Task.objects.filter(pk=once.pk).update(attempt_count=1)
    assert narrowed(browser, "scheduling_task", tried="again") == [again.pk]
    assert narrowed(browser, "scheduling_task", namespace="default") == [once.pk]


def test_jobs_whose_last_run_failed(browser):
    jobs = [factories.job(name=f"{number}") for number in range(4)]
    for job, statuses in zip(jobs, ("FC", "CF", "FP", "C"), strict=True):
        for status in statuses:
            task = factories.task(job=job)
            ended = {"C": "completed", "F": "failed"}.get(status)
            if ended:
                Task.objects.filter(pk=task.pk).update(status=ended, completed_at=NOON)
    assert narrowed(browser, "scheduling_job", last="failed") == [jobs[1].pk, jobs[2].pk]


def test_jobs_that_no_schedule_runs(browser):
    scheduled, archived, alone = (factories.job() for _ in range(3))
    factories.schedule(job=scheduled)
    Schedule.objects.filter(pk=factories.schedule(job=archived).pk).update(archived_at=NOON)
    assert set(narrowed(browser, "scheduling_job", schedules="none")) == {archived.pk, alone.pk}


def test_schedules_in_trouble_and_those_of_a_namespace(browser):
    fine, paused, broken = (factories.schedule() for _ in range(3))
    Schedule.objects.filter(pk=paused.pk).update(
        problem="paused after 3 failures in a row", status="disabled"
    )
    Schedule.objects.filter(pk=broken.pk).update(problem="ValueError: no such zone")
    Job.objects.filter(pk=broken.job_id).update(namespace="other")
    assert narrowed(browser, "scheduling_schedule", trouble="paused") == [paused.pk]
    assert narrowed(browser, "scheduling_schedule", trouble="unplanned") == [broken.pk]
    assert set(narrowed(browser, "scheduling_schedule", namespace="default")) == {fine.pk, paused.pk}


def test_agents_by_connection_and_version(browser, settings):
    settings.HETUFLOW_VERSION = "2.0"
    for name, status, version in (("a", "busy", "2.0"), ("b", "offline", "1.9"), ("c", "draining", "")):
        agent = factories.agent()
        Agent.objects.filter(pk=agent.pk).update(name=name, status=status, version=version)
    names = dict(Agent.objects.values_list("pk", "name"))

    def found(**query):
        return "".join(names[pk] for pk in narrowed(browser, "agents_agent", **query))

    assert (found(connected="yes"), found(connected="no"), found(connected="")) == ("ac", "b", "abc")
    assert (found(version="same"), found(version="other"), found(version="")) == ("a", "b", "abc")


def test_a_filter_by_namespace_offers_those_that_there_are(browser):
    for namespace in ("b", "a", "c"):
        factories.job(namespace=namespace)
    Job.objects.filter(namespace="c").update(archived_at=NOON)
    page = browser.get(reverse("admin:scheduling_schedule_changelist")).content.decode()
    assert [name for name in "abc" if f'<option value="{name}">' in page] == ["a", "b"]
