"""Why tasks wait, by queues."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from scheduling.models import Task
from scheduling.services import waiting
from scheduling.services.claiming import claim
from scheduling.services.explaining import explain_task
from scheduling.services.waiting import Cause, waiting_by_cause
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=5)


def causes(**given):
    return {each.cause: each.number for each in waiting_by_cause(now=NOW, **given)}


def test_a_task_without_an_agent_that_fits_is_counted_with_what_it_asks_for():
    factories.agent(labels={"zone": "a"})
    factories.task(job=factories.job(config={"labels": {"zone": "b"}}))
    (found,) = waiting_by_cause(now=NOW)
    assert (found.cause, found.number, found.first_due_at) == (Cause.NO_AGENT, 1, NOW)
    assert [(queue.cmd, queue.labels, queue.number) for queue in found.queues] == [("bash", {"zone": "b"}, 1)]


def test_an_agent_without_the_command_does_not_fit():
    factories.agent(commands=["python"])
    factories.task()
    assert causes() == {Cause.NO_AGENT: 1}


@pytest.mark.parametrize("state", [{"status": "offline"}, {"status": "draining"}, {"enabled": False}])
def test_an_agent_that_takes_nothing_is_told_apart_from_none(state):
    agent = factories.agent()
    Agent.objects.filter(pk=agent.pk).update(**state)
    factories.task()
    assert causes() == {Cause.NOT_TAKING: 1}


def test_an_archived_agent_counts_for_nothing():
    agent = factories.agent()
    Agent.objects.filter(pk=agent.pk).update(archived_at=NOW, status="offline")
    factories.task()
    assert causes() == {Cause.NO_AGENT: 1}


def test_taken_slots_are_a_reason_as_long_as_none_is_free():
    agent = factories.agent(slots=1)
    factories.task()
    claim(slots={agent.pk: 1}, now=NOW, lead_secs=2, lease_secs=30)
    factories.task()
    assert causes() == {Cause.NO_SLOT: 1}
    factories.agent(slots=1)
    assert causes() == {Cause.SOON: 1}


def test_the_limit_of_a_job_comes_before_the_agents_and_names_the_job():
    job = factories.job(config={"max_concurrency": 1})
    agent = factories.agent()
    factories.task(job=job)
    claim(slots={agent.pk: 1}, now=NOW, lead_secs=2, lease_secs=30)
    factories.task(job=job)
    (found,) = waiting_by_cause(now=NOW)
    assert found.cause == Cause.LIMIT
    assert [queue.job_id for queue in found.queues] == [job.pk]


def test_what_is_not_due_and_what_pauses_before_a_retry_are_told_apart():
    factories.agent()
    early, pausing = factories.task(), factories.task()
    Task.objects.filter(pk=early.pk).update(due_at=LATER)
    Task.objects.filter(pk=pausing.pk).update(due_at=LATER, status="waiting_retry")
    assert causes() == {Cause.RETRY: 1, Cause.EARLY: 1}


@pytest.mark.parametrize("has_agent", [False, True])
def test_it_agrees_with_the_explanation_of_a_single_task(has_agent):
    if has_agent:
        factories.agent()
    task = factories.task()
    explained = explain_task(task=Task.objects.select_related("job", "route").get(pk=task.pk), now=NOW)
    assert explained.runs == (causes() == {Cause.SOON: 1}) == has_agent


def test_of_some_namespaces_only_their_tasks_are_counted():
    factories.task(job=factories.job(namespace="ours"))
    theirs = factories.job(namespace="theirs")
    for _ in range(3):
        factories.task(job=theirs)
    assert causes(namespaces={"ours"}) == {Cause.NO_AGENT: 1}
    assert causes(namespaces={"ours", "theirs"}) == {Cause.NO_AGENT: 4}
    assert causes(namespaces=frozenset()) == {}


@pytest.mark.parametrize("namespaces", [None, {"default"}])
def test_it_counts_no_further_than_its_limit_and_says_so(namespaces, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_IN_QUEUE", 3)
    for _ in range(4):
        factories.task()
    (found,) = waiting_by_cause(now=NOW, namespaces=namespaces)
    assert (found.number, found.is_more) == (3, True)
    Task.objects.all()[0].delete()
    Task.objects.all()[0].delete()
    (found,) = waiting_by_cause(now=NOW, namespaces=namespaces)
    assert (found.number, found.is_more) == (2, False)


def test_it_takes_two_statements_however_many_queues_there_are():
    for number in range(5):
        job = factories.job(config={"labels": {"zone": str(number)}, "max_concurrency": 1})
        factories.task(job=job, now=NOW)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        (found,) = waiting_by_cause(now=NOW)
    assert (found.number, len(found.queues), len(queries)) == (5, waiting.NAMED_QUEUES, 2)
