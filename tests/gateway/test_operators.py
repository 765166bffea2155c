from functools import partial

import pytest

from agents.errors import AgentAlreadyExists, AgentOffline
from agents.models import Agent
from gateway.models import AgentCommand
from gateway.operators import queue_command, update_agent
from scheduling.errors import InvalidField
from tests import factories
from tests.factories import NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db


def test_an_update_changes_what_is_given_and_leaves_the_rest():
    agent = factories.agent(labels={"zone": "eu"})
    changed = update_agent(agent_id=agent.pk, now=NOW, labels={"gpu": "a100"}, enabled=False)
    assert (changed.name, changed.enabled, changed.updated_at) == (agent.name, False, NOW)
    assert changed.labels == {"zone": "eu", "gpu": "a100"}


@pytest.mark.django_db(transaction=True)
def test_updates_at_once_keep_what_each_says_of_capabilities():
    agent = factories.agent()
    changes = {"max_concurrent_tasks": 7, "commands": ["bash"], "metadata": {"rack": 3}}
    works = [
        partial(update_agent, agent_id=agent.pk, now=NOW, capabilities={name: value})
        for name, value in changes.items()
    ]
    at_once(*works)
    assert Agent.objects.get(pk=agent.pk).capabilities == changes


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"description": "\x00"}, "description"),
        ({"labels": {"zone": 1}}, "labels"),
        ({"labels": {"": "x"}}, "labels"),
    ],
)
def test_bad_values_are_refused_by_name_and_change_nothing(fields, name):
    agent = factories.agent()
    with pytest.raises(InvalidField) as refusal:
        update_agent(agent_id=agent.pk, now=NOW, enabled=False, **fields)
    assert list(refusal.value.errors) == [name]
    assert Agent.objects.get(pk=agent.pk).enabled


def test_a_name_that_another_agent_has_is_refused():
    agent = factories.agent()
    with pytest.raises(AgentAlreadyExists):
        update_agent(agent_id=agent.pk, now=NOW, name=factories.agent().name)


def test_a_command_waits_for_the_server_of_a_connected_agent():
    agent = factories.agent()
    queued = queue_command(agent_id=agent.pk, command="drain", now=NOW)
    assert AgentCommand.objects.get(sent_at__isnull=True) == queued


def test_a_command_for_an_offline_agent_is_refused():
    agent = factories.agent()
    Agent.objects.filter(pk=agent.pk).update(status="offline")
    with pytest.raises(AgentOffline):
        queue_command(agent_id=agent.pk, command="drain", now=NOW)
    assert not AgentCommand.objects.exists()
