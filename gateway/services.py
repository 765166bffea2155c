"""What the gateway reads and writes of sessions: set-based, synchronous, `now` by the database's clock."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db import connection, transaction

from agents.models import Agent, AgentStatus
from agents.protocol import messages
from gateway.models import AgentCommand, AgentLog, Connection
from scheduling import hints
from scheduling.models import TaskInstance
from scheduling.services import lifecycle, statements
from scheduling.services.lifecycle import AttemptKey, StartedAttempt, started_attempt
from scheduling.states import INSTANCE_LIVE, InstanceStatus

REMEMBERED_EPOCHS: Final = 16

# Rows are locked in the order of their ids, here and wherever several agents are written: batches of several
# servers, and the counters that reports write, wait for each other instead of deadlocking.
_HEARTBEATS: Final = """
WITH locked AS (
    SELECT id FROM agents_agent WHERE id = ANY(%(agent_ids)s::uuid[]) ORDER BY id FOR NO KEY UPDATE
)
UPDATE agents_agent a
SET status = h.status, metrics = h.metrics::jsonb, running_tasks = h.running, last_heartbeat_at = %(now)s
FROM unnest(%(agent_ids)s::uuid[], %(session_ids)s::uuid[], %(statuses)s::text[], %(metrics)s::text[],
            %(running)s::int[]) AS h(agent_id, session_id, status, metrics, running)
JOIN gateway_connection c ON c.agent_id = h.agent_id AND c.session_id = h.session_id
WHERE a.id = h.agent_id AND a.id IN (SELECT id FROM locked)
"""
_ACTIVITY: Final = """
WITH locked AS (
    SELECT agent_id FROM gateway_connection WHERE agent_id = ANY(%(agent_ids)s::uuid[])
    ORDER BY agent_id FOR NO KEY UPDATE
)
UPDATE gateway_connection c
SET last_activity = %(now)s, messages_sent = h.sent, messages_received = h.received,
    clock_ahead_ms = h.clock_ahead_ms
FROM unnest(%(agent_ids)s::uuid[], %(session_ids)s::uuid[], %(sent)s::bigint[], %(received)s::bigint[],
            %(clocks)s::float8[]) AS h(agent_id, session_id, sent, received, clock_ahead_ms)
WHERE c.agent_id = h.agent_id AND c.session_id = h.session_id AND c.agent_id IN (SELECT agent_id FROM locked)
"""
_HOLD_SESSIONS: Final = """
SELECT c.session_id FROM unnest(%(agent_ids)s::uuid[], %(session_ids)s::uuid[]) AS k(agent_id, session_id)
JOIN gateway_connection c ON c.agent_id = k.agent_id AND c.session_id = k.session_id
JOIN agents_agenttoken t ON t.id = c.token_id
WHERE c.close_requested_at IS NULL AND t.revoked_at IS NULL AND COALESCE(t.expires_at > %(now)s, true)
ORDER BY c.agent_id FOR SHARE OF c
"""
_CLOSE_SESSIONS: Final = """
WITH ended AS (
    SELECT c.agent_id FROM unnest(%(agent_ids)s::uuid[], %(session_ids)s::uuid[]) AS k(agent_id, session_id)
    JOIN gateway_connection c ON c.agent_id = k.agent_id AND c.session_id = k.session_id
    JOIN agents_agent a ON a.id = c.agent_id
    WHERE c.server_id IS NOT NULL
    ORDER BY a.id FOR NO KEY UPDATE OF a, c
), closed AS (
    UPDATE gateway_connection c SET server_id = NULL, last_activity = %(now)s
    FROM ended WHERE c.agent_id = ended.agent_id
    RETURNING c.agent_id
)
UPDATE agents_agent a SET status = 'offline', connected_at = NULL, updated_at = %(now)s
FROM closed WHERE a.id = closed.agent_id
"""


class SessionReplaced(Exception):
    """A newer start of this agent's daemon has taken over."""


class SessionRefused(Exception):
    """The agent was removed, or its token revoked, after it had shown that."""


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """What a session begins with."""

    attempts: list[messages.RegisteredAttempt]
    resend: list[StartedAttempt]
    live: set[uuid.UUID]


@dataclass(frozen=True, slots=True)
class HeartbeatRow:
    """One heartbeat with the counters of its session."""

    agent_id: uuid.UUID
    session_id: uuid.UUID
    heartbeat: messages.Heartbeat
    messages_sent: int
    messages_received: int
    clock_ahead_ms: float | None = None


def open_session(
    *,
    agent_id: uuid.UUID,
    token_id: int,
    session_id: uuid.UUID,
    server_id: uuid.UUID,
    remote_address: str,
    register: messages.Register,
    now: datetime,
    lease_secs: float,
) -> OpenedSession:
    """Make this the agent's one live session and say what becomes of the attempts that it holds.

    Raises SessionReplaced for a daemon that a newer one has replaced, SessionRefused for an agent that is
    gone or whose token is not valid any more. Two transactions, because what becomes of attempts takes locks
    on these, and reports take theirs in the other order. A claim that was committed before the first is seen
    by the second; no later claim of another server counts on the old session (see `hold_sessions`).
    """
    with transaction.atomic():
        agent = Agent.objects.select_for_update(no_key=True).filter(pk=agent_id, archived_at=None).first()
        if agent is None or not agent.tokens.valid(now=now).filter(pk=token_id).exists():
            raise SessionRefused
        current = Connection.objects.filter(agent=agent).first()
        replaced = _replaced_epochs(current, str(register.epoch))
        if current is not None and current.server_id is not None:
            hints.session_changed(agent_id)
        Connection.objects.update_or_create(
            agent=agent,
            defaults={
                "server_id": server_id,
                "token_id": token_id,
                "session_id": session_id,
                "epoch": register.epoch,
                "replaced_epochs": replaced,
                "remote_address": remote_address,
                "connected_at": now,
                "last_activity": now,
                "messages_sent": 0,
                "messages_received": 0,
                "close_requested_at": None,
                "clock_ahead_ms": None,
            },
        )
        Agent.objects.filter(pk=agent_id).update(
            status=AgentStatus.ONLINE,
            hostname=register.hostname,
            version=register.version,
            address=remote_address,
            reported_labels=register.labels,
            capabilities=msgspec.to_builtins(register.capabilities),
            connected_at=now,
            last_heartbeat_at=now,
            updated_at=now,
        )
    return _reconcile(agent_id=agent_id, held=register.attempts, now=now, lease_secs=lease_secs)


def hold_sessions(sessions: Mapping[uuid.UUID, uuid.UUID], *, now: datetime) -> set[uuid.UUID]:
    """Return which agents still have the given session, and keep it so until the transaction ends.

    A claim holds the sessions it claims for: an agent that moves to another server meanwhile is told there of
    whatever was committed here, and nothing is ever committed for a session that is over.
    """
    held = _hold(list(sessions.items()), now=now)
    return {agent_id for agent_id, session_id in sessions.items() if session_id in held}


def decline_attempts(declined: Sequence[tuple[uuid.UUID, AttemptKey, str]], *, now: datetime) -> None:
    """Take back what agents refuse to start, each with its session and reason, in one transaction.

    The word of a session that is over counts no more: the agent was sent the same attempt again when it came
    back, and may run it.
    """
    if not declined:
        return
    with transaction.atomic():
        held = _hold(sorted({(key.agent_id, session_id) for session_id, key, _ in declined}), now=now)
        lifecycle.decline_attempts(
            [(key, reason) for session_id, key, reason in declined if session_id in held], now=now
        )


def close_sessions(sessions: Sequence[tuple[uuid.UUID, uuid.UUID]], *, now: datetime) -> None:
    """Note that these (agent, session) ended; does nothing where another session has taken the place."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _CLOSE_SESSIONS,
            {
                "agent_ids": [agent_id for agent_id, _ in sessions],
                "session_ids": [session_id for _, session_id in sessions],
                "now": now,
            },
        )


def apply_heartbeats(
    rows: Sequence[HeartbeatRow], *, now: datetime, lease_secs: float
) -> list[list[messages.AttemptToKill]]:
    """Renew the leases that the heartbeats name; return for each heartbeat the attempts to kill."""
    keys = [
        AttemptKey(agent_id=row.agent_id, instance_id=attempt.instance_id, token=attempt.token)
        for row in rows
        for attempt in row.heartbeat.attempts
    ]
    renewed, unwanted = lifecycle.renew_leases(keys, now=now, lease_secs=lease_secs)
    # A batch may hold two heartbeats of one agent, and an UPDATE takes each row once: the last one counts.
    latest = list({row.agent_id: row for row in rows}.values())
    with transaction.atomic(), connection.cursor() as cursor:
        arrays: dict[str, Any] = {
            "now": now,
            "agent_ids": [row.agent_id for row in latest],
            "session_ids": [row.session_id for row in latest],
            "statuses": [row.heartbeat.status for row in latest],
            "metrics": [msgspec.json.encode(row.heartbeat.metrics).decode() for row in latest],
            "running": [row.heartbeat.running for row in latest],
            "sent": [row.messages_sent for row in latest],
            "received": [row.messages_received for row in latest],
            "clocks": [row.clock_ahead_ms for row in latest],
        }
        cursor.execute(_HEARTBEATS, arrays)
        cursor.execute(_ACTIVITY, arrays)
    settled = _settled([key.instance_id for key in keys if key.instance_id not in renewed], now=now)
    return [
        [
            messages.AttemptToKill(instance_id=attempt.instance_id, token=attempt.token)
            for attempt in row.heartbeat.attempts
            if attempt.instance_id in unwanted
            or (attempt.instance_id not in renewed and attempt.instance_id not in settled)
        ]
        for row in rows
    ]


def live_attempts(*, agent_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Return the attempts of these agents that have not ended."""
    return set(TaskInstance.objects.live().filter(agent_id__in=list(agent_ids)).values_list("pk", flat=True))


def note_command_results(
    results: Sequence[tuple[uuid.UUID, messages.CommandResult]], *, now: datetime
) -> None:
    """Write the agents' answers; an answer of another agent than the command's changes nothing."""
    for agent_id, result in results:
        AgentCommand.objects.filter(pk=result.command_id, agent_id=agent_id, answered_at__isnull=True).update(
            answered_at=now, ok=result.ok, result=result.result, error=result.error or ""
        )


def store_log_lines(lines: Sequence[tuple[uuid.UUID, messages.LogLine, datetime]]) -> None:
    """Append lines of agents' logs; the time is the server's reading of the agent's clock."""
    AgentLog.objects.bulk_create(
        AgentLog(
            agent_id=agent_id, at=at, level=line.level, message=line.message, instance_id=line.instance_id
        )
        for agent_id, line, at in lines
    )


def _hold(sessions: Sequence[tuple[uuid.UUID, uuid.UUID]], *, now: datetime) -> set[uuid.UUID]:
    """Lock the connections of those (agent, session) that are still the agents' own; return the sessions."""
    with connection.cursor() as cursor:
        cursor.execute(
            _HOLD_SESSIONS,
            {
                "agent_ids": [agent_id for agent_id, _ in sessions],
                "session_ids": [session_id for _, session_id in sessions],
                "now": now,
            },
        )
        return {session_id for (session_id,) in cursor.fetchall()}


def _replaced_epochs(current: Connection | None, epoch: str) -> list[str]:
    """Return which starts of a daemon may not come back; raise SessionReplaced if `epoch` is among them."""
    if current is None:
        return []
    replaced = list(current.replaced_epochs)
    if epoch in replaced:
        raise SessionReplaced
    if str(current.epoch) == epoch:
        return replaced
    return [str(current.epoch), *replaced][:REMEMBERED_EPOCHS]


def _reconcile(
    *, agent_id: uuid.UUID, held: Sequence[messages.HeldAttempt], now: datetime, lease_secs: float
) -> OpenedSession:
    keys = [
        AttemptKey(agent_id=agent_id, instance_id=attempt.instance_id, token=attempt.token)
        for attempt in held
    ]
    renewed, unwanted = lifecycle.renew_leases(keys, now=now, lease_secs=lease_secs)
    known = {
        instance.pk: instance
        for instance in TaskInstance.objects.filter(
            pk__in=[key.instance_id for key in keys], agent_id=agent_id
        )
    }
    settled = _settled([key.instance_id for key in keys], now=now)
    attempts = []
    for attempt in held:
        instance = known.get(attempt.instance_id)
        has_ended = attempt.status not in ("dispatched", "running")
        if instance is None or instance.token != attempt.token:
            action: messages.RegisteredAction = "forget" if has_ended else "kill"
        elif attempt.instance_id in unwanted or not (
            attempt.instance_id in renewed or attempt.instance_id in settled or has_ended
        ):
            action = "kill"
        else:
            action = "continue"
        attempts.append(
            messages.RegisteredAttempt(
                instance_id=attempt.instance_id,
                action=action,
                output_offset=messages.OutputOffsets(
                    stdout=instance.stdout_bytes if instance else 0,
                    stderr=instance.stderr_bytes if instance else 0,
                ),
            )
        )
    with connection.cursor() as cursor:
        cursor.execute(
            statements.RESENDABLE, {"agent_id": agent_id, "held": [key.instance_id for key in keys]}
        )
        resend = [started_attempt(row) for row in cursor.fetchall()]
    # One that is called lost just now is not sent again: its task may be with another agent already.
    sent_again, _ = lifecycle.renew_leases(
        [AttemptKey(agent_id=agent_id, instance_id=a.instance_id, token=a.token) for a in resend],
        now=now,
        lease_secs=lease_secs,
    )
    resend = [attempt for attempt in resend if attempt.instance_id in sent_again]
    live = live_attempts(agent_ids=[agent_id])
    return OpenedSession(attempts=attempts, resend=resend, live=live)


def _settled(instance_ids: Sequence[uuid.UUID], *, now: datetime) -> set[uuid.UUID]:
    """Return which of these attempts ended for us but may run on: lost ones with nothing in their place."""
    if not instance_ids:
        return set()
    lost = TaskInstance.objects.filter(
        pk__in=list(instance_ids), status=InstanceStatus.LOST, task__config__on_lease_lost="keep"
    ).exclude(task__instances__status__in=INSTANCE_LIVE)
    ended = TaskInstance.objects.filter(
        pk__in=list(instance_ids), status__in=(InstanceStatus.COMPLETED, InstanceStatus.FAILED)
    )
    return set(lost.values_list("pk", flat=True)) | set(ended.values_list("pk", flat=True))
