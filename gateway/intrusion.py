"""Agents that speak for attempts of other agents: nothing of that is applied, and it is written down."""

import uuid
from collections.abc import Iterable, Mapping

from access import audit
from access.actors import Actor, ActorKind
from agents.models import Agent
from scheduling.models import TaskInstance
from scheduling.services.lifecycle import AttemptKey


def note_foreign_attempts(
    keys: Iterable[AttemptKey], *, addresses: Mapping[uuid.UUID, str]
) -> set[uuid.UUID]:
    """Return which of these agents named an attempt that belongs to another agent, with an entry for each.

    `addresses` are those of the agents' sessions. Attempts that do not exist are nobody's.
    """
    named = {(key.agent_id, key.instance_id) for key in keys}
    instances = TaskInstance.objects.select_related("task").in_bulk({instance_id for _, instance_id in named})
    foreign = {
        (agent_id, instances[instance_id])
        for agent_id, instance_id in named
        if instance_id in instances and instances[instance_id].agent_id not in (None, agent_id)
    }
    if not foreign:
        return set()
    intruders = Agent.objects.in_bulk({agent_id for agent_id, _ in foreign})
    audit.record_all(
        audit.entry(
            by=Actor(
                kind=ActorKind.AGENT, name=intruders[agent_id].name, address=addresses.get(agent_id, "")
            ),
            action="task_instance.foreign_report",
            subject=instance,
            namespace=instance.namespace,
            after={"reported_by": agent_id, "agent_id": instance.agent_id},
        )
        for agent_id, instance in foreign
    )
    return set(intruders)
