"""Why does it not run? The first check that fails is the answer."""

from datetime import timedelta

import pytest

from agents.models import Agent
from scheduling.models import Calendar, Freeze, Job, Task
from scheduling.services import planning
from scheduling.services.claiming import claim
from scheduling.services.definitions import create_schedule, update_job
from scheduling.services.explaining import explain_job, explain_task
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def failing(explanation):
    return next((check.name for check in explanation.checks if not check.passed), None)


def test_a_task_that_an_agent_will_take_passes_all_checks():
    factories.agent()
    explanation = explain_task(task=factories.task(), now=NOW)
    assert explanation.runs
    assert explanation.summary == "An agent will take it within seconds."


def test_a_task_that_is_not_due_says_when_it_is():
    factories.agent()
    task = factories.task(scheduled_at=NOW + timedelta(seconds=90))
    explanation = explain_task(task=task, now=NOW)
    assert failing(explanation) == "due"
    assert "in 90.0 s" in explanation.summary


def test_a_job_at_its_limit_names_the_runs_that_hold_it():
    agent, job = factories.agent(), factories.job(config={"max_concurrency": 1})
    first, second = factories.task(job=job), factories.task(job=job)
    claim(slots={agent.pk: 1}, now=NOW, lead_secs=2, lease_secs=30)
    explanation = explain_task(task=Task.objects.get(pk=second.pk), now=NOW)
    check = next(check for check in explanation.checks if check.name == "concurrency")
    assert explanation.summary == "1 of 1 runs of the job at once are taken."
    assert [(blocker.kind, blocker.id) for blocker in check.blockers] == [("task", str(first.pk))]


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        ({"capabilities": {"max_concurrent_tasks": 4, "commands": ["python"]}}, "command", "bash is offered"),
        ({"reported_labels": {"zone": "eu"}}, "labels", "lacks gpu=true"),
        ({"enabled": False}, "enabled", "0 of 1"),
        ({"status": "offline"}, "online", "0 of 1"),
        ({"status": "draining"}, "not_draining", "0 of 1"),
        ({"capabilities": {"max_concurrent_tasks": 0, "commands": ["bash"]}}, "slots", "0 of 1"),
    ],
)
def test_what_agents_lack_is_said_and_they_are_named(change, check, words):
    agent = factories.agent(labels={"gpu": "true", "zone": "eu"})
    Agent.objects.filter(pk=agent.pk).update(**change)
    job = factories.job(config={"labels": {"gpu": "true"}})
    explanation = explain_task(task=factories.task(job=job), now=NOW)
    found = next(each for each in explanation.checks if not each.passed)
    assert (found.name, words in explanation.summary) == (check, True)
    assert [blocker.id for blocker in found.blockers] == [str(agent.pk)]


def test_without_agents_that_is_the_answer():
    assert failing(explain_task(task=factories.task(), now=NOW)) == "agents"


def test_a_task_that_ended_tells_how():
    schedule = factories.schedule()
    update_job(job_id=schedule.job_id, now=NOW, enabled=False)
    planning.run_once(now=NOW + timedelta(seconds=6), horizon_secs=0, catch_up_secs=3600)
    explanation = explain_task(task=Task.objects.first(), now=NOW)
    assert explanation.summary == "The task has ended: cancelled, skipped_disabled. the job was disabled"


def test_a_task_that_runs_tells_where():
    agent, task = factories.agent(), factories.task()
    claim(slots={agent.pk: 1}, now=NOW, lead_secs=2, lease_secs=30)
    explanation = explain_task(task=Task.objects.get(pk=task.pk), now=NOW)
    assert explanation.summary == f"Attempt 1 is pending on agent {agent.name}."
    assert explanation.runs


def test_a_job_tells_what_keeps_its_schedules_from_running_it():
    factories.agent()
    job = factories.job()
    assert failing(explain_job(job=job, now=NOW)) == "schedule"
    calendar = Calendar.objects.create(
        name="never", windows=[{"weekdays": [], "from": "00:00", "to": "00:00"}]
    )
    create_schedule(job=job, now=NOW, kind="cron", cron_expression="0 9 * * *", calendar=calendar)
    explanation = explain_job(job=Job.objects.get(pk=job.pk), now=NOW)
    assert failing(explanation) == "calendar"
    assert "outside the allowed times of never" in explanation.summary
    Freeze.objects.create(namespace="default", since=NOW, reason="release")
    assert explain_job(job=job, now=NOW).summary == "Namespace default is frozen: release"
    job = update_job(job_id=job.pk, now=NOW, enabled=False)
    assert failing(explain_job(job=job, now=NOW)) == "job_enabled"


def test_a_job_that_will_run_tells_when():
    factories.agent()
    schedule = factories.schedule()
    explanation = explain_job(job=schedule.job, now=NOW)
    assert explanation.summary == "It runs next at 2026-03-02T12:00:05Z."


def test_explaining_takes_as_many_statements_for_many_agents_as_for_one(django_assert_num_queries):
    factories.agent()
    task = Task.objects.select_related("job", "route", "schedule").get(pk=factories.task().pk)
    with django_assert_num_queries(1):
        explain_task(task=task, now=NOW)
    for _ in range(5):
        factories.agent()
    with django_assert_num_queries(1):
        explain_task(task=task, now=NOW)


def test_explaining_compares_no_agent_with_another(monkeypatch):
    for _ in range(3):
        factories.agent()
    task = Task.objects.select_related("job", "route", "schedule").get(pk=factories.task().pk)
    monkeypatch.setattr(Agent, "__eq__", lambda one, other: pytest.fail(f"{one} was compared with {other}"))
    assert explain_task(task=task, now=NOW).runs
