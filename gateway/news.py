"""What the database says of the sessions of one server: whom to close, what to cancel, what to command."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection, transaction

from agents import tokens
from gateway.models import AgentCommand, Connection
from gateway.services import live_attempts
from scheduling.clock import database_now
from scheduling.models import TaskInstance

# Of many sessions only those come back with which something is to be done.
_NEWS: Final = """
SELECT k.session_id, seen.is_replaced, seen.is_unwanted, seen.is_refused, seen.is_taken
FROM unnest(%(agent_ids)s::uuid[], %(session_ids)s::uuid[]) AS k(agent_id, session_id)
LEFT JOIN gateway_connection c ON c.agent_id = k.agent_id AND c.session_id = k.session_id
LEFT JOIN agents_agenttoken t ON t.id = c.token_id
CROSS JOIN LATERAL (
    SELECT c.agent_id IS NULL AS is_replaced,
           c.close_requested_at IS NOT NULL AS is_unwanted,
           c.agent_id IS NOT NULL AND c.server_id IS DISTINCT FROM %(server_id)s AS is_taken,
           c.agent_id IS NOT NULL
               AND (t.id IS NULL OR t.revoked_at IS NOT NULL OR t.expires_at <= %(now)s) AS is_refused
) AS seen
WHERE seen.is_replaced OR seen.is_unwanted OR seen.is_refused OR seen.is_taken
"""
Session = tuple[uuid.UUID, uuid.UUID]


@dataclass(frozen=True, slots=True)
class SessionsToClose:
    """Sessions that another one has replaced, that somebody wants closed, and whose token is not valid."""

    replaced: set[uuid.UUID]
    unwanted: set[uuid.UUID]
    refused: set[uuid.UUID]


@dataclass(frozen=True, slots=True)
class SessionNews:
    """All that is new about the sessions of a server."""

    to_close: SessionsToClose
    cancels: list[tuple[uuid.UUID, uuid.UUID, int, int, str]]
    commands: list[AgentCommand]
    live: set[uuid.UUID]


def read_news(
    *,
    server_id: uuid.UUID,
    sessions: Sequence[Session],
    with_work: Sequence[uuid.UUID],
    tokens_in_use: Sequence[int],
) -> SessionNews:
    """Return what is new of these (agent, session); `with_work` are agents that have attempts in hand.

    Takes the commands that it returns, and notes the use of `tokens_in_use`. Several transactions.
    """
    now = database_now()
    if tokens_in_use:
        tokens.note_use(token_ids=tokens_in_use, now=now)
    return SessionNews(
        to_close=sessions_to_close(server_id=server_id, sessions=sessions, now=now),
        cancels=attempts_to_cancel(agent_ids=with_work) if with_work else [],
        commands=take_commands(session_ids=[session_id for _, session_id in sessions], now=now),
        live=live_attempts(agent_ids=with_work) if with_work else set(),
    )


def sessions_to_close(*, server_id: uuid.UUID, sessions: Sequence[Session], now: datetime) -> SessionsToClose:
    """Return which of these (agent, session) are over, and why.

    A session that others took from this server, because they had not heard of it, is made its own again. A
    session lives only as long as its token is valid, whether or not anybody said that it no longer is.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _NEWS,
            {
                "agent_ids": [agent_id for agent_id, _ in sessions],
                "session_ids": [session_id for _, session_id in sessions],
                "server_id": server_id,
                "now": now,
            },
        )
        rows = cursor.fetchall()
    taken = [session_id for session_id, *_, is_taken in rows if is_taken]
    if taken:
        Connection.objects.filter(session_id__in=taken).update(server_id=server_id)
    return SessionsToClose(
        replaced={row[0] for row in rows if row[1]},
        unwanted={row[0] for row in rows if row[2]},
        refused={row[0] for row in rows if row[3]},
    )


def attempts_to_cancel(*, agent_ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, uuid.UUID, int, int, str]]:
    """Return (agent, instance, token, grace in seconds, reason) of attempts somebody wants stopped."""
    rows = TaskInstance.objects.live().filter(agent_id__in=list(agent_ids), cancel_requested_at__isnull=False)
    return [
        (agent_id, instance_id, token, int(config.get("kill_grace_secs", 10)), reason)
        for agent_id, instance_id, token, config, reason in rows.values_list(
            "agent_id", "id", "token", "task__config", "task__reason"
        )
    ]


def take_commands(*, session_ids: Sequence[uuid.UUID], now: datetime) -> list[AgentCommand]:
    """Take the commands that wait for the agents of these sessions; each is sent at most once."""
    with transaction.atomic():
        commands = list(
            AgentCommand.objects.select_for_update(skip_locked=True, of=("self",)).filter(
                agent__connection__session_id__in=list(session_ids), sent_at__isnull=True
            )
        )
        AgentCommand.objects.filter(pk__in=[command.pk for command in commands]).update(sent_at=now)
    return commands
