"""What the gateway reads and writes of sessions: set-based, synchronous, `now` by the database's clock."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db import connection, transaction

from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from agents.protocol import messages
from gateway.models import AgentCommand, AgentLog, Connection, Server
from scheduling.models import TaskInstance
from scheduling.services import lifecycle, rescue, statements
from scheduling.services.lifecycle import AttemptKey, StartedAttempt, started_attempt
from scheduling.states import INSTANCE_LIVE, InstanceStatus

REMEMBERED_EPOCHS: Final = 16
HTTP_SILENCE_SECS: Final = 60.0

_HEARTBEATS: Final = """
UPDATE agents_agent a
SET status = h.status, metrics = h.metrics::jsonb, running_tasks = h.running, last_heartbeat_at = %(now)s
FROM unnest(%(agent_ids)s::uuid[], %(session_ids)s::uuid[], %(statuses)s::text[], %(metrics)s::text[],
            %(running)s::int[]) AS h(agent_id, session_id, status, metrics, running)
JOIN gateway_connection c ON c.agent_id = h.agent_id AND c.session_id = h.session_id
WHERE a.id = h.agent_id
"""
_ACTIVITY: Final = """
UPDATE gateway_connection c
SET last_activity = %(now)s, messages_sent = h.sent, messages_received = h.received
FROM unnest(%(agent_ids)s::uuid[], %(session_ids)s::uuid[], %(sent)s::bigint[], %(received)s::bigint[])
     AS h(agent_id, session_id, sent, received)
WHERE c.agent_id = h.agent_id AND c.session_id = h.session_id
"""


class SessionReplaced(Exception):
    """A newer start of this agent's daemon has taken over."""


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


def open_session(
    *,
    agent_id: uuid.UUID,
    session_id: uuid.UUID,
    server_id: uuid.UUID,
    remote_address: str,
    register: messages.Register,
    now: datetime,
    lease_secs: float,
) -> OpenedSession:
    """Make this the agent's one live session and say what becomes of the attempts that it holds.

    Raises SessionReplaced for a daemon that a newer one has replaced. One transaction; locks the agent.
    """
    with transaction.atomic():
        agent = Agent.objects.select_for_update().get(pk=agent_id)
        if agent.archived_at is not None:
            raise SessionReplaced
        epoch = str(register.epoch)
        current = Connection.objects.filter(agent=agent).first()
        replaced = list(current.replaced_epochs) if current else []
        if epoch in replaced:
            raise SessionReplaced
        if current is not None and str(current.epoch) != epoch:
            replaced = [str(current.epoch), *replaced][:REMEMBERED_EPOCHS]
        Connection.objects.update_or_create(
            agent=agent,
            defaults={
                "server_id": server_id,
                "session_id": session_id,
                "epoch": register.epoch,
                "replaced_epochs": replaced,
                "remote_address": remote_address,
                "connected_at": now,
                "last_activity": now,
                "messages_sent": 0,
                "messages_received": 0,
                "close_requested_at": None,
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


def close_session(*, agent_id: uuid.UUID, session_id: uuid.UUID, now: datetime) -> None:
    """Note that a session ended; does nothing where another one has taken its place."""
    with transaction.atomic():
        closed = Connection.objects.filter(agent_id=agent_id, session_id=session_id, server__isnull=False)
        if closed.update(server=None, last_activity=now):
            Agent.objects.filter(pk=agent_id).update(
                status=AgentStatus.OFFLINE, connected_at=None, updated_at=now
            )


def apply_heartbeats(
    rows: Sequence[HeartbeatRow], *, now: datetime, lease_secs: float
) -> list[list[messages.AttemptRef]]:
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
        }
        cursor.execute(_HEARTBEATS, arrays)
        cursor.execute(_ACTIVITY, arrays)
    settled = _settled([key.instance_id for key in keys if key.instance_id not in renewed], now=now)
    return [
        [
            attempt
            for attempt in row.heartbeat.attempts
            if attempt.instance_id in unwanted
            or (attempt.instance_id not in renewed and attempt.instance_id not in settled)
        ]
        for row in rows
    ]


def register_server(*, server_id: uuid.UUID, name: str, address: str, version: str, now: datetime) -> None:
    """Make this process known to the cluster."""
    Server.objects.update_or_create(
        pk=server_id,
        defaults={
            "name": name,
            "address": address,
            "version": version,
            "started_at": now,
            "last_heartbeat_at": now,
        },
    )


def keep_server_alive(*, server_id: uuid.UUID, now: datetime) -> None:
    """Renew this server's heartbeat, and take the agents of servers that died off their hands.

    Their attempts get time to be named on another server, so that a server's death fails no work.
    """
    Server.objects.filter(pk=server_id).update(last_heartbeat_at=now)
    rescue.note_servers_alive(holder=str(server_id), now=now)
    _note_silent_agents(now=now)
    dead_since = now - timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS)
    with transaction.atomic():
        orphans = list(
            Connection.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(server__last_heartbeat_at__lt=dead_since)
            .values_list("agent_id", flat=True)
        )
        if not orphans:
            return
        lifecycle.extend_leases(agent_ids=orphans, until=now + timedelta(seconds=rescue.RECONNECT_GRACE_SECS))
        Connection.objects.filter(agent_id__in=orphans).update(server=None)
        Agent.objects.filter(pk__in=orphans).update(
            status=AgentStatus.OFFLINE, connected_at=None, updated_at=now
        )


def _note_silent_agents(*, now: datetime) -> None:
    """Note that agents which have no session, only heartbeats by HTTP, went silent."""
    Agent.objects.filter(
        status__in=CONNECTED_STATUSES, last_heartbeat_at__lt=now - timedelta(seconds=HTTP_SILENCE_SECS)
    ).exclude(connection__server__isnull=False).update(
        status=AgentStatus.OFFLINE, connected_at=None, updated_at=now
    )


def retire_server(*, server_id: uuid.UUID) -> None:
    """Forget this server: it stops in good order and its sessions are closed."""
    Server.objects.filter(pk=server_id).delete()


def sessions_to_close(*, server_id: uuid.UUID, session_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Return which of these sessions are no longer the agents' own, or are to be closed."""
    still_own = Connection.objects.filter(
        server_id=server_id, session_id__in=list(session_ids), close_requested_at__isnull=True
    ).values_list("session_id", flat=True)
    return set(session_ids) - set(still_own)


def attempts_to_cancel(*, agent_ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, uuid.UUID, int, int, str]]:
    """Return (agent, instance, token, grace in seconds, reason) of attempts somebody wants stopped."""
    rows = TaskInstance.objects.live().filter(agent_id__in=list(agent_ids), cancel_requested_at__isnull=False)
    return [
        (agent_id, instance_id, token, int(config.get("kill_grace_secs", 10)), reason)
        for agent_id, instance_id, token, config, reason in rows.values_list(
            "agent_id", "id", "token", "task__config", "task__reason"
        )
    ]


def take_commands(*, agent_ids: Sequence[uuid.UUID], now: datetime) -> list[AgentCommand]:
    """Take the commands that wait for these agents; each is sent at most once."""
    with transaction.atomic():
        commands = list(
            AgentCommand.objects.select_for_update(skip_locked=True).filter(
                agent_id__in=list(agent_ids), sent_at__isnull=True
            )
        )
        AgentCommand.objects.filter(pk__in=[command.pk for command in commands]).update(sent_at=now)
    return commands


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
    lifecycle.renew_leases(
        [AttemptKey(agent_id=agent_id, instance_id=a.instance_id, token=a.token) for a in resend],
        now=now,
        lease_secs=lease_secs,
    )
    live = set(
        TaskInstance.objects.filter(agent_id=agent_id, status__in=INSTANCE_LIVE).values_list("pk", flat=True)
    )
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
