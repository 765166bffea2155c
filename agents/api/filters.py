"""What queries may say about agents."""

from typing import Final

from agents.models import AgentStatus
from rest.kinds import BOOLEAN, INSTANT, LABELS, TEXT, UUID, choice
from rest.querying import QueryTable

AGENTS: Final = QueryTable(
    {
        "id": UUID,
        "name": TEXT,
        "status": choice(AgentStatus.values),
        "labels": LABELS,
        "enabled": BOOLEAN,
        "last_heartbeat_at": INSTANT,
        "created_at": INSTANT,
    },
    default_order=("-created_at", "-id"),
)
