"""Verbs on agents: create, issue and check tokens."""

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Any, Final

import uuid_utils.compat
from django.db import IntegrityError, transaction
from django.db.models import Q

from agents.errors import AgentAlreadyExists, TokenRefused
from agents.models import Agent, AgentToken

TOKEN_PREFIX: Final = "hfa"  # noqa: S105 (a prefix, not a secret)
SECRET_BYTES: Final = 32


def create_agent(*, name: str, agent_id: uuid.UUID | None = None, **fields: Any) -> Agent:
    """Create an agent that has not connected yet and return it.

    `fields` are columns of Agent. Runs in the caller's transaction. Raises AgentAlreadyExists.
    """
    try:
        with transaction.atomic():
            return Agent.objects.create(id=agent_id or uuid_utils.compat.uuid7(), name=name, **fields)
    except IntegrityError as error:
        raise AgentAlreadyExists from error


def issue_token(*, agent: Agent) -> str:
    """Store the digest of a fresh token for `agent` and return the token, which nobody can read again.

    The agent's id is part of the token, so that a daemon needs nothing else to know who it is.
    """
    token = f"{TOKEN_PREFIX}_{agent.id.hex}_{secrets.token_urlsafe(SECRET_BYTES)}"
    AgentToken.objects.create(agent=agent, digest=_digest(token))
    return token


def issue_agent_token(*, name: str) -> tuple[Agent, str]:
    """Return the agent called `name`, created where it is missing, with a fresh token for it."""
    with transaction.atomic():
        agent = Agent.objects.filter(name=name, archived_at__isnull=True).first() or create_agent(name=name)
        return agent, issue_token(agent=agent)


def authenticate_agent(*, token: str, now: datetime) -> Agent:
    """Return the agent that `token` belongs to; raise TokenRefused for every reason alike.

    The look-up is by digest, so its time tells nothing about the secret.
    """
    found = (
        AgentToken.objects.select_related("agent")
        .filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            digest=_digest(token),
            revoked_at__isnull=True,
            agent__archived_at__isnull=True,
        )
        .first()
    )
    if found is None:
        raise TokenRefused
    return found.agent


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
