"""Agents' tokens: issue, replace, revoke and check them.

Every change of a token leaves a hint, and servers look at the tokens of their sessions once a second anyway:
a session whose token is no longer valid is closed, whatever became of the hint.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from access import audit
from access.actors import SYSTEM, Actor
from access.secrets import digest_of, new_secret
from agents import hints
from agents.errors import TokenRefused
from agents.models import Agent, AgentToken
from agents.services import create_agent

TOKEN_PREFIX: Final = "hfa"  # noqa: S105 (a prefix, not a secret)
ROTATION_OVERLAP: Final = timedelta(hours=24)
USE_IS_NOTED_EVERY: Final = timedelta(minutes=1)
# A token that is good for nothing stays in the lists so long.
DEAD_KEPT_FOR: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token: its row, and the secret that nobody can read again."""

    row: AgentToken
    secret: str


def issue_token(
    *,
    agent: Agent,
    name: str = "",
    by: Actor = SYSTEM,
    expires_at: datetime | None = None,
    now: datetime | None = None,
) -> IssuedToken:
    """Make a token for `agent`, store its digest and return it; without `now`, the database tells the time.

    The agent's id is part of the secret, so that a daemon needs nothing else to know who it is.
    """
    with transaction.atomic():
        issued = _add_token(agent=agent, name=name, by=by, expires_at=expires_at, now=now)
        _record("create", issued.row, by=by)
        return issued


def issue_agent_token(*, name: str, by: Actor = SYSTEM) -> tuple[Agent, str]:
    """Return the agent called `name`, created where it is missing, and the secret of a fresh token."""
    with transaction.atomic():
        agent = Agent.objects.filter(name=name, archived_at__isnull=True).first()
        agent = agent or create_agent(name=name, by=by)
        return agent, issue_token(agent=agent, by=by).secret


def rotate_token(
    *, agent_id: uuid.UUID, now: datetime, overlap: timedelta = ROTATION_OVERLAP, by: Actor = SYSTEM
) -> IssuedToken:
    """Make a token that takes the place of the agent's others: those expire after `overlap` at the latest.

    It is called like the newest of them and is given as long a life, so that an agent which renews its own
    token gets no more than it had. One transaction, which locks the agent: rotations follow each other.
    Raises Agent.DoesNotExist.
    """
    with transaction.atomic():
        agent = Agent.objects.select_for_update(no_key=True).get(pk=agent_id, archived_at__isnull=True)
        # Valid or not: the newest is the one whose life no rotation has cut.
        newest = agent.tokens.order_by("-pk").first()
        expires_at = None
        if newest is not None and newest.expires_at is not None:
            expires_at = now + (newest.expires_at - newest.created_at)
        ends_at, dead_since = now + overlap, now - DEAD_KEPT_FOR
        agent.tokens.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=ends_at)).update(expires_at=ends_at)
        agent.tokens.filter(Q(expires_at__lt=dead_since) | Q(revoked_at__lt=dead_since)).delete()
        hints.session_changed(agent.pk)
        name = newest.name if newest else ""
        issued = _add_token(agent=agent, name=name, by=by, expires_at=expires_at, now=now)
        _record("rotate", issued.row, by=by, others_end_at=ends_at)
        return issued


def revoke_token(*, token_id: int, now: datetime, by: Actor = SYSTEM) -> AgentToken:
    """Let a token open nothing any more, now, and return it; one that was revoked before stays as it is.

    Its session is closed by whichever server holds it. Raises AgentToken.DoesNotExist.
    """
    with transaction.atomic():
        is_news = AgentToken.objects.filter(pk=token_id, revoked_at__isnull=True).update(revoked_at=now)
        token = AgentToken.objects.select_related("agent").get(pk=token_id)
        if is_news:
            _record("revoke", token, by=by)
        hints.session_changed(token.agent_id)
        return token


def authenticate_token(*, secret: str, now: datetime) -> AgentToken:
    """Return the token whose secret this is, with its agent; raise TokenRefused for every reason alike.

    The look-up is by digest, so its time tells nothing about the secret.
    """
    found = AgentToken.objects.valid(now=now).select_related("agent").filter(digest=digest_of(secret)).first()
    if found is None:
        raise TokenRefused
    return found


def note_use(*, token_ids: Collection[int], now: datetime) -> None:
    """Note that these tokens are in use, each at most once a minute.

    A row that somebody else writes just now is passed over: it is noted the next time.
    """
    unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_IS_NOTED_EVERY)
    with transaction.atomic():
        rows = AgentToken.objects.select_for_update(skip_locked=True, no_key=True)
        ids = list(rows.filter(unnoted, pk__in=token_ids).order_by("pk").values_list("pk", flat=True))
        AgentToken.objects.filter(pk__in=ids).update(last_used_at=now)


def _add_token(
    *, agent: Agent, name: str, by: Actor, expires_at: datetime | None, now: datetime | None
) -> IssuedToken:
    secret = new_secret(f"{TOKEN_PREFIX}_{agent.id.hex}")
    row = AgentToken(
        agent=agent, name=name, digest=digest_of(secret), created_by=by.name, expires_at=expires_at
    )
    if now is not None:
        row.created_at = now
    row.save(force_insert=True)
    return IssuedToken(row=row, secret=secret)


def _record(what: str, token: AgentToken, *, by: Actor, **more: Any) -> None:
    fields = {"agent": token.agent.name, "name": token.name, "expires_at": token.expires_at, **more}
    audit.record(
        by=by,
        action=f"agent_token.{what}",
        subject=token,
        before=fields if what == "revoke" else None,
        after=fields if what != "revoke" else None,
    )
