"""How a new machine gets in: a secret that an operator made is exchanged, once, for an agent's token."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import uuid_utils.compat
from django.db import transaction

from access import audit
from access.actors import SYSTEM, Actor, ActorKind
from access.secrets import digest_of, new_secret
from agents.errors import TokenRefused, TokenUsed, WrongAgent
from agents.models import Agent, EnrollmentToken
from agents.services import create_agent
from agents.tokens import IssuedToken, issue_token

PREFIX: Final = "hfe"
DEFAULT_LIFE: Final = timedelta(minutes=15)
# One that is good for nothing stays in the list so long.
DEAD_KEPT_FOR: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class NewEnrollment:
    """A new enrolment token: its row, and the secret that nobody can read again."""

    row: EnrollmentToken
    secret: str


def create_enrollment_token(
    *,
    now: datetime,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    agent: Agent | None = None,
    life: timedelta = DEFAULT_LIFE,
    by: Actor = SYSTEM,
) -> NewEnrollment:
    """Make a token with which one machine can enrol until `now + life`, a week at most.

    The machine becomes `agent`, or a new one called `name` (by its own word without one) with these labels.
    """
    secret = new_secret(PREFIX)
    with transaction.atomic():
        EnrollmentToken.objects.filter(expires_at__lt=now - DEAD_KEPT_FOR).delete()
        row = EnrollmentToken.objects.create(
            digest=digest_of(secret),
            name=name,
            labels=dict(labels or {}),
            agent=agent,
            created_by=by.name,
            created_at=now,
            expires_at=now + life,
        )
        audit.record(by=by, action="enrollment_token.create", subject=row, after=_described(row))
    return NewEnrollment(row=row, secret=secret)


def revoke_enrollment_token(*, token_id: int, by: Actor = SYSTEM) -> None:
    """Delete a token that no machine has used; raise TokenUsed, EnrollmentToken.DoesNotExist.

    What a used one made is an agent, whose tokens can be revoked. Locks the token.
    """
    with transaction.atomic():
        row = EnrollmentToken.objects.select_for_update(of=("self",)).select_related("agent").get(pk=token_id)
        if row.used_at is not None:
            raise TokenUsed
        audit.record(by=by, action="enrollment_token.revoke", subject=row, before=_described(row))
        row.delete()


def enroll(
    *,
    secret: str,
    now: datetime,
    agent_id: uuid.UUID | None = None,
    name: str = "",
    hostname: str = "",
    address: str = "",
) -> tuple[Agent, IssuedToken]:
    """Use up an enrolment token; return the agent that the machine is from now on, and a token for it.

    What the operator said counts more than what the machine says: of names first the token's, then `name`,
    then `hostname`. Raises TokenRefused for every reason alike; AgentAlreadyExists for a name or an id that
    is taken and WrongAgent, and the token stays as it was. One transaction, which locks the token: of two
    machines that come with it at once, the second finds it used.
    """
    with transaction.atomic():
        tokens = EnrollmentToken.objects.valid(now=now).select_related("agent")
        row = tokens.select_for_update(of=("self",)).filter(digest=digest_of(secret)).first()
        if row is None:
            raise TokenRefused
        by = Actor(kind=ActorKind.TOKEN, name=row.created_by, token=f"enrolment {row.pk}", address=address)
        if row.agent is None:
            agent = _new_agent(row, agent_id=agent_id, name=name, hostname=hostname, by=by)
        elif agent_id in (None, row.agent_id):
            agent = row.agent
            if hostname:
                Agent.objects.filter(pk=agent.pk).update(hostname=hostname, updated_at=now)
                agent.refresh_from_db()
        else:
            raise WrongAgent
        issued = issue_token(agent=agent, name="enrolment", by=by, now=now)
        if not EnrollmentToken.objects.filter(pk=row.pk, used_at=None).update(used_at=now, agent=agent):
            raise TokenRefused
        audit.record(by=by, action="enrollment_token.use", subject=row, after={"agent": agent.name})
        return agent, issued


def _new_agent(
    row: EnrollmentToken, *, agent_id: uuid.UUID | None, name: str, hostname: str, by: Actor
) -> Agent:
    agent_id = agent_id or uuid_utils.compat.uuid7()
    return create_agent(
        agent_id=agent_id,
        name=row.name or name or hostname or f"agent-{agent_id.hex[-12:]}",
        hostname=hostname,
        assigned_labels=row.labels,
        by=by,
    )


def _described(row: EnrollmentToken) -> dict[str, Any]:
    fields = audit.snapshot(row, ("name", "labels", "expires_at"))
    return {**fields, "agent": row.agent.name if row.agent else None}
