"""Verbs on agents: create, change and archive them; their tokens are the business of `agents.tokens`."""

import uuid
from datetime import datetime
from typing import Any, Final

import uuid_utils.compat
from django.db import IntegrityError, transaction

from access import audit
from access.actors import SYSTEM, Actor, ActorKind
from agents import hints
from agents.errors import AgentAlreadyExists
from agents.models import Agent, AgentStatus, AgentToken

AUDITED: Final = ("name", "description", "address", "enabled", "assigned_labels", "capabilities")


def create_agent(*, name: str, agent_id: uuid.UUID | None = None, by: Actor = SYSTEM, **fields: Any) -> Agent:
    """Create an agent that has not connected yet and return it.

    `fields` are columns of Agent. Runs in the caller's transaction. Raises AgentAlreadyExists.
    """
    try:
        with transaction.atomic():
            agent = Agent.objects.create(id=agent_id or uuid_utils.compat.uuid7(), name=name, **fields)
            audit.record(by=by, action="agent.create", subject=agent, after=audit.snapshot(agent, AUDITED))
            return agent
    except IntegrityError as error:
        raise AgentAlreadyExists from error


def update_agent(*, agent_id: uuid.UUID, now: datetime, **fields: Any) -> Agent:
    """Change columns of an agent and return it; raise AgentAlreadyExists for a name that is taken."""
    try:
        with transaction.atomic():
            Agent.objects.filter(pk=agent_id, archived_at__isnull=True).update(**fields, updated_at=now)
    except IntegrityError as error:
        raise AgentAlreadyExists from error
    return Agent.objects.get(pk=agent_id, archived_at__isnull=True)


def archive_agent(*, agent_id: uuid.UUID, now: datetime, by: Actor = SYSTEM) -> None:
    """Take an agent out of every list and revoke its tokens; its history stays. Raises Agent.DoesNotExist.

    Runs in the caller's transaction, which sees to its session and to what it was running.
    """
    agent = Agent.objects.select_for_update().get(pk=agent_id, archived_at__isnull=True)
    Agent.objects.filter(pk=agent.pk).update(
        archived_at=now, enabled=False, status=AgentStatus.OFFLINE, connected_at=None, updated_at=now
    )
    AgentToken.objects.filter(agent=agent, revoked_at__isnull=True).update(revoked_at=now)
    audit.record(by=by, action="agent.delete", subject=agent, before=audit.snapshot(agent, AUDITED))
    hints.session_changed(agent_id)


def record_heartbeat(
    *,
    agent_id: uuid.UUID,
    now: datetime,
    status: str | None = None,
    metrics: dict[str, Any] | None = None,
    running_tasks: int | None = None,
    by: Actor = SYSTEM,
) -> Agent:
    """Note that an agent which has no socket is there, and return it; raise Agent.DoesNotExist.

    What agents say of themselves, every few seconds, leaves no audit entry; that others say it for them does.
    """
    fields: dict[str, Any] = {"status": status or AgentStatus.ONLINE, "last_heartbeat_at": now}
    if metrics is not None:
        fields["metrics"] = metrics
        running_tasks = metrics.get("active_tasks") if running_tasks is None else running_tasks
    if running_tasks is not None:
        fields["running_tasks"] = running_tasks
    if by.kind in (ActorKind.AGENT, ActorKind.SYSTEM):
        return update_agent(agent_id=agent_id, now=now, **fields)
    with transaction.atomic():
        agent = Agent.objects.select_for_update(no_key=True).get(pk=agent_id, archived_at__isnull=True)
        before = audit.snapshot(agent, fields)
        agent = update_agent(agent_id=agent_id, now=now, **fields)
        after = audit.snapshot(agent, fields)
        audit.record(by=by, action="agent.heartbeat", subject=agent, before=before, after=after)
        return agent
