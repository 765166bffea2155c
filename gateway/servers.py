"""The server processes of the cluster: who is there, and what becomes of the agents of one that is not."""

import uuid
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models.functions import Now

from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from gateway.models import Connection, Server
from gateway.services import close_sessions
from scheduling.models import Lease
from scheduling.services import lifecycle, rescue

SERVERS_KEPT_FOR: Final = timedelta(days=1)
HTTP_SILENCE_SECS: Final = 60.0
LEADER_LEASE: Final = "server leader"

_LEAD: Final = """
INSERT INTO scheduling_lease (name, holder, since, renewed_at) VALUES (%(name)s, %(holder)s, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE
SET holder = EXCLUDED.holder, renewed_at = EXCLUDED.renewed_at,
    since = CASE WHEN scheduling_lease.holder = EXCLUDED.holder THEN scheduling_lease.since
            ELSE EXCLUDED.since END
WHERE scheduling_lease.holder = EXCLUDED.holder
   OR scheduling_lease.renewed_at < EXCLUDED.renewed_at - make_interval(secs => %(gap_secs)s)
RETURNING holder
"""


def register_server(*, server_id: uuid.UUID, name: str, address: str, version: str, now: datetime) -> None:
    """Make this process known to the cluster, and forget servers that died long ago."""
    Server.objects.filter(last_heartbeat_at__lt=now - SERVERS_KEPT_FOR).delete()
    Server.objects.update_or_create(
        pk=server_id,
        defaults={
            "name": name,
            "address": address,
            "version": version,
            "last_heartbeat_at": now,
        },
        create_defaults={
            "name": name,
            "address": address,
            "version": version,
            "started_at": now,
            "last_heartbeat_at": now,
        },
    )


def keep_server_alive(*, server_id: uuid.UUID, now: datetime, clock_ahead_ms: float | None = None) -> bool:
    """Renew this server's heartbeat, and take the agents of servers that died off their hands.

    Their attempts get time to be named on another server, so that a server's death fails no work. Returns
    False where the server has to be registered again.
    """
    rescue.note_servers_alive(holder=str(server_id), now=now)
    if lead(server_id=server_id, now=now):
        _note_silent_agents(now=now)
    mine = Server.objects.filter(pk=server_id)
    if not mine.update(last_heartbeat_at=now, clock_ahead_ms=clock_ahead_ms):
        return False
    dead_since = now - timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS)
    orphans = list(
        Connection.objects.filter(server__last_heartbeat_at__lt=dead_since).values_list(
            "agent_id", "session_id"
        )
    )
    if orphans:
        lifecycle.extend_leases(
            agent_ids=[agent_id for agent_id, _ in orphans],
            until=now + timedelta(seconds=rescue.RECONNECT_GRACE_SECS),
        )
        close_sessions(orphans, now=now)
    return True


def retire_server(*, server_id: uuid.UUID, now: datetime) -> None:
    """Forget this server: it stops in good order and its sessions are closed."""
    sessions = Connection.objects.filter(server_id=server_id).values_list("agent_id", "session_id")
    close_sessions(list(sessions), now=now)
    Server.objects.filter(pk=server_id).delete()
    Lease.objects.filter(name=LEADER_LEASE, holder=str(server_id)).delete()


def lead(*, server_id: uuid.UUID, now: datetime) -> bool:
    """Take or keep the lease for duties that one server of the cluster has; return whether it is ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            _LEAD,
            {
                "name": LEADER_LEASE,
                "holder": str(server_id),
                "now": now,
                "gap_secs": rescue.SERVER_DEAD_AFTER_SECS,
            },
        )
        return cursor.fetchone() is not None


def is_leader(server_id: uuid.UUID) -> bool:
    """Tell whether this server holds the lease for duties that one server of the cluster has."""
    alive_since = Now() - timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS)
    return Lease.objects.filter(
        name=LEADER_LEASE, holder=str(server_id), renewed_at__gte=alive_since
    ).exists()


def _note_silent_agents(*, now: datetime) -> None:
    """Note that agents which have no session, only heartbeats by HTTP, went silent."""
    Agent.objects.filter(
        status__in=CONNECTED_STATUSES, last_heartbeat_at__lt=now - timedelta(seconds=HTTP_SILENCE_SECS)
    ).exclude(connection__server__isnull=False).update(
        status=AgentStatus.OFFLINE, connected_at=None, updated_at=now
    )
