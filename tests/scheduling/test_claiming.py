from datetime import timedelta

import pytest
from django.db import transaction

from scheduling.models import Task, TaskInstance
from scheduling.services import lifecycle
from scheduling.services.claiming import claim, next_due_at
from scheduling.states import TASK_CLAIMABLE, TASK_TERMINAL, TaskStatus
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def claim_for(*agents, slots=10, now=NOW):
    return claim(slots={agent.id: slots for agent in agents}, now=now, lead_secs=2, lease_secs=30)


def test_a_due_task_is_locked_and_gets_an_attempt_with_token_and_lease():
    agent, task = factories.agent(), factories.task()
    (started,) = claim_for(agent)
    assert (started.task_id, started.agent_id, started.attempt) == (task.pk, agent.id, 1)
    instance = TaskInstance.objects.get(pk=started.instance_id)
    assert instance.status == "pending"
    assert instance.token == started.token > 0
    assert instance.lease_expires_at == NOW + timedelta(seconds=30)
    task.refresh_from_db()
    assert task.status == "locked"


def test_a_task_is_claimed_once():
    agent = factories.agent()
    factories.task()
    assert len(claim_for(agent)) == 1
    assert claim_for(agent) == []


def test_tasks_are_claimed_up_to_the_lead_time_early_and_no_earlier():
    agent = factories.agent()
    factories.task(scheduled_at=NOW + timedelta(seconds=2.5))
    assert claim_for(agent) == []
    assert next_due_at(after=NOW, agent_ids=[agent.id]) == NOW + timedelta(seconds=2.5)
    assert len(claim_for(agent, now=NOW + timedelta(seconds=1))) == 1


def test_higher_priority_goes_first_then_the_longest_due():
    agent, job = factories.agent(), factories.job()
    later = factories.task(job=job)
    earlier = factories.task(job=job, scheduled_at=NOW - timedelta(seconds=5))
    urgent = factories.task(job=job, priority=5)
    taken = [claim_for(agent, slots=1)[0].task_id for _ in range(3)]
    assert taken == [urgent.pk, earlier.pk, later.pk]


def test_labels_and_commands_decide_which_agent_may_have_a_task():
    plain, gpu = factories.agent(), factories.agent(labels={"gpu": "true", "zone": "a"})
    node = factories.agent(commands=["node"])
    picky = factories.task(job=factories.job(config={"labels": {"gpu": "true"}}))
    assert claim_for(plain, node) == []
    (started,) = claim_for(plain, node, gpu)
    assert (started.task_id, started.agent_id) == (picky.pk, gpu.id)


def test_disabled_and_draining_agents_get_nothing():
    agent = factories.agent()
    factories.task()
    type(agent).objects.filter(pk=agent.pk).update(enabled=False)
    assert claim_for(agent) == []
    type(agent).objects.filter(pk=agent.pk).update(enabled=True, status="draining")
    assert claim_for(agent) == []


def test_free_slots_are_never_exceeded_and_work_is_shared_out():
    first, second, job = factories.agent(), factories.agent(), factories.job()
    for _ in range(10):
        factories.task(job=job)
    started = claim(slots={first.id: 3, second.id: 2}, now=NOW, lead_secs=2, lease_secs=30)
    assert sorted(attempt.agent_id for attempt in started) == sorted([first.id] * 3 + [second.id] * 2)


def test_a_limited_job_never_has_more_attempts_than_places():
    agent, job = factories.agent(), factories.job(config={"max_concurrency": 2})
    for _ in range(5):
        factories.task(job=job)
    started = claim_for(agent)
    assert len(started) == 2
    assert claim_for(agent) == []
    assert set(TaskInstance.objects.values_list("place", flat=True)) == {1, 2}


def test_a_task_that_waits_for_its_retry_is_claimed_when_that_is_due():
    agent, task = factories.agent(), factories.task()
    type(task).objects.filter(pk=task.pk).update(status="locked")
    type(task).objects.filter(pk=task.pk).update(status="waiting_retry", due_at=NOW + timedelta(seconds=60))
    assert claim_for(agent) == []
    assert len(claim_for(agent, now=NOW + timedelta(seconds=58))) == 1


@pytest.mark.parametrize("status", sorted(set(TaskStatus) - set(TASK_CLAIMABLE)))
def test_a_task_that_does_not_wait_is_given_to_nobody(status):
    agent, task = factories.agent(), factories.task()
    ended = NOW if status in TASK_TERMINAL else None
    Task.objects.filter(pk=task.pk).update(status=status, completed_at=ended)
    assignment = lifecycle.Assignment(task_id=task.pk, agent_id=agent.pk, place=None)
    with transaction.atomic():
        assert lifecycle.begin_attempts([assignment], now=NOW, lease_secs=30) == []
    assert not TaskInstance.objects.exists()
