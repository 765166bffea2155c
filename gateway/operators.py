"""What operators do to agents: change what they are, and send them commands."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction

from access import audit
from access.actors import SYSTEM, Actor
from access.sentences import said as _
from agents.errors import AgentAlreadyExists, AgentOffline
from agents.models import CONNECTED_STATUSES, MAX_LABEL_CHARS, MAX_LABELS, Agent
from agents.services import AUDITED
from gateway.models import AgentCommand
from scheduling import hints
from scheduling.errors import InvalidField

COMMAND_TIMEOUT_SECS: Final = 10.0


def update_agent(
    *,
    agent_id: uuid.UUID,
    now: datetime,
    name: str | None = None,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
    enabled: bool | None = None,
    capabilities: Mapping[str, Any] | None = None,
    by: Actor = SYSTEM,
    **more: Any,
) -> Agent:
    """Change what is given and return the agent; `labels` are those that operators set, `more` other columns.

    Of `capabilities` those that are not given stay.
    A disabled agent gets no new work and finishes what it has. Locks the agent; leaves a hint. Raises
    InvalidField, AgentAlreadyExists for a name that is taken, Agent.DoesNotExist.
    """
    errors = agent_problems(name=name, description=description, labels=labels)
    if errors:
        raise InvalidField(errors)
    given = {"name": name, "description": description, "assigned_labels": labels, "enabled": enabled}
    given |= more
    with transaction.atomic():
        agent = Agent.objects.select_for_update().get(pk=agent_id, archived_at__isnull=True)
        if capabilities is not None:
            given["capabilities"] = {**agent.capabilities, **capabilities}
        changes = {field: value for field, value in given.items() if value is not None}
        try:
            with transaction.atomic():
                Agent.objects.filter(pk=agent_id).update(**changes, updated_at=now)
        except IntegrityError as error:
            raise AgentAlreadyExists from error
        hints.session_changed(agent_id)
        before = audit.snapshot(agent, AUDITED)
        agent.refresh_from_db()
        audit.record(
            by=by, action="agent.update", subject=agent, before=before, after=audit.snapshot(agent, AUDITED)
        )
        return agent


def queue_command(
    *,
    agent_id: uuid.UUID,
    command: str,
    now: datetime,
    by: Actor = SYSTEM,
    parameters: Mapping[str, Any] | None = None,
    timeout_secs: float = COMMAND_TIMEOUT_SECS,
) -> AgentCommand:
    """Leave a command for the server that holds the agent's session and return it; raise AgentOffline."""
    with transaction.atomic():
        agent = Agent.objects.select_for_update().get(pk=agent_id, archived_at__isnull=True)
        if agent.status not in CONNECTED_STATUSES:
            raise AgentOffline
        queued = AgentCommand.objects.create(
            agent=agent,
            command=command,
            parameters=dict(parameters or {}),
            timeout_secs=timeout_secs,
            created_at=now,
        )
        after = {"command": command, "parameters": dict(parameters or {})}
        audit.record(by=by, action="agent.command", subject=agent, after=after)
        hints.command_queued(agent_id)
        return queued


def agent_problems(
    *, name: str | None, description: str | None, labels: Mapping[str, str] | None
) -> dict[str, str]:
    """Return what is wrong with these fields of an agent, by field; None is not looked at."""
    errors = {}
    if name is not None and (not name.strip() or len(name) > 255 or "\x00" in name):
        errors["name"] = _("expected 1 to 255 characters")
    if description is not None and (len(description) > 65_536 or "\x00" in description):
        errors["description"] = _("expected text of at most 65536 characters")
    if labels is not None and (
        len(labels) > MAX_LABELS or not all(_is_label(*pair) for pair in labels.items())
    ):
        errors["labels"] = _('expected an object of short strings such as {"zone": "eu"}')
    return errors


def _is_label(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and 1 <= len(name) <= MAX_LABEL_CHARS
        and len(value) <= MAX_LABEL_CHARS
        and "\x00" not in name + value
    )
