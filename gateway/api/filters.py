"""What queries may say about agents' logs, their sessions and servers."""

from typing import Final, get_args

from agents.models import AgentStatus
from agents.protocol.messages import LogLevel
from rest.kinds import BOOLEAN, INSTANT, INTEGER, SECONDS, TEXT, UUID, choice
from rest.querying import Field, QueryTable

LOGS: Final = QueryTable(
    {
        "level": choice(get_args(LogLevel)),
        "since": Field(INSTANT, "at", lookup="gte"),
        "until": Field(INSTANT, "at", lookup="lte"),
        "contains": Field(TEXT, "message", lookup="contains"),
        "task_instance_id": Field(UUID, "instance_id"),
        "at": INSTANT,
        "id": INTEGER,
    },
    default_order=("id",),
)
CONNECTIONS: Final = QueryTable(
    {
        "agent_id": UUID,
        "status": Field(choice(AgentStatus.values), "agent__status"),
        "min_duration": Field(SECONDS, "age", lookup="gte"),
        "server_id": UUID,
        "connected_at": INSTANT,
        "last_activity": INSTANT,
    },
    default_order=("-connected_at",),
    key="agent_id",
)
SERVERS: Final = QueryTable(
    {
        "id": UUID,
        "name": TEXT,
        "address": TEXT,
        "status": choice(("active", "inactive")),
        "is_leader": BOOLEAN,
        "started_at": INSTANT,
        "last_heartbeat_at": INSTANT,
        "version": TEXT,
    }
)
