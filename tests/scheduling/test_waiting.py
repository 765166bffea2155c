from datetime import timedelta

import pytest

from agents.models import Agent
from scheduling.models import Task
from scheduling.services.claiming import claim
from scheduling.services.waiting import WaitReason, why_waiting
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def reason(task):
    waiting = why_waiting(task=Task.objects.get(pk=task.pk), now=NOW)
    return waiting.reason if waiting else None


def run(agent):
    claim(slots={agent.pk: 1}, now=NOW, lead_secs=2, lease_secs=30)


def test_a_task_of_the_future_is_not_due():
    assert reason(factories.task(scheduled_at=NOW + timedelta(hours=1))) == WaitReason.NOT_DUE


@pytest.mark.parametrize(
    ("labels", "commands"), [({"gpu": "none"}, ["bash"]), ({}, ["bash"]), ({"gpu": "a100"}, ["python"])]
)
def test_without_an_agent_that_has_its_labels_and_command_none_fits(labels, commands):
    factories.agent(labels=labels, commands=commands)
    task = factories.task(job=factories.job(config={"labels": {"gpu": "a100"}}))
    assert reason(task) == WaitReason.NO_AGENT_FITS


def test_a_disabled_agent_does_not_fit():
    Agent.objects.filter(pk=factories.agent().pk).update(enabled=False)
    assert reason(factories.task()) == WaitReason.NO_AGENT_FITS


@pytest.mark.parametrize("status", ["offline", "draining"])
def test_agents_that_fit_but_take_no_work_are_said_to_be_away(status):
    Agent.objects.filter(pk=factories.agent().pk).update(status=status)
    assert reason(factories.task()) == WaitReason.AGENTS_OFFLINE


def test_agents_that_fit_may_be_full():
    agent = factories.agent(slots=1)
    factories.task()
    run(agent)
    assert reason(factories.task()) == WaitReason.AGENTS_FULL


def test_a_job_may_be_at_its_limit():
    agent = factories.agent()
    job = factories.job(config={"concurrency_policy": "queue"})
    factories.task(job=job)
    run(agent)
    assert reason(factories.task(job=job)) == WaitReason.JOB_AT_LIMIT


def test_with_a_free_agent_it_starts_soon_and_then_waits_no_more():
    agent = factories.agent()
    task = factories.task()
    assert reason(task) == WaitReason.SOON
    run(agent)
    assert reason(task) is None
