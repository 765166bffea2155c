"""Agents in the OpenAPI document: examples, and what refuses."""

from typing import Any, Final

from rest.openapi.documentation import Conflict, Documentation, Documented

AGENT_ID: Final = "0199f3a2-6c1e-7b4d-9a55-3f0c8e21d704"
AGENT: Final[dict[str, Any]] = {
    "id": AGENT_ID,
    "name": "worker-3",
    "description": "rack 3",
    "address": "10.0.0.3",
    "status": "idle",
    "enabled": True,
    "labels": {"env": "prod", "os": "linux"},
    "capabilities": {"max_concurrent_tasks": 4, "commands": ["bash", "python"], "metadata": {}},
    "statistics": {
        "success_tasks": 1280,
        "failure_tasks": 3,
        "total_tasks": 1283,
        "avg_response_ms": 842.5,
        "last_failure_at": "2026-03-01T22:15:09.120000Z",
        "consecutive_failures": 0,
    },
    "version": "0.1.0",
    "last_heartbeat_at": "2026-03-02T12:00:03.250000Z",
    "connected_at": "2026-03-01T06:30:00.000000Z",
    "created_at": "2026-02-01T09:00:00.000000Z",
    "updated_at": "2026-03-02T12:00:03.250000Z",
}
_REGISTRATION: Final[dict[str, Any]] = {
    "name": "worker-4",
    "description": "rack 4",
    "labels": {"env": "prod"},
    "capabilities": {"max_concurrent_tasks": 4, "commands": ["bash", "python"]},
}
_NAME_TAKEN: Final = Conflict("the id or name is taken", "An agent with this id or name exists already.")
AGENTS: Final = Documentation(
    entity=AGENT,
    actions={
        "query": Documented(
            requests={
                "Agents that are idle": {
                    "filter": {"status": "idle", "labels": {"env": "prod"}, "enabled": True},
                    "page": {"limit": 50, "order_bys": ["name"]},
                },
                "Agents not heard of lately": {
                    "filter": {
                        "status": {"in": ["offline", "error"]},
                        "last_heartbeat_at": {"lt": "2026-03-01T00:00:00Z"},
                    }
                },
            }
        ),
        "create": Documented(
            requests={
                "By name": {"name": "worker-4"},
                "With labels and slots": _REGISTRATION,
                "With an id of its own": {"id": "0199f3a2-7d10-7c6f-8e21-5b9a4c3d2e1f", "name": "worker-5"},
            },
            answer={**AGENT, "token": "hfa_0199f3a26c1e7b4d9a553f0c8e21d704_…"},
            conflicts={"already_exists": _NAME_TAKEN},
            notes="The token is in this answer alone; nobody can read it again.",
        ),
        "partial_update": Documented(
            requests={
                "Other labels": {"labels": {"env": "staging", "gpu": "a100"}},
                "No new tasks": {"enabled": False},
                "More slots": {"capabilities": {"max_concurrent_tasks": 8}},
            },
            conflicts={"already_exists": Conflict("the name is taken", _NAME_TAKEN.detail)},
        ),
        "destroy": Documented(
            notes="Disconnects it, revokes its tokens, lets what it was running wait again, and archives it."
        ),
        "heartbeat": Documented(
            requests={
                "Idle": {"status": "idle", "running_tasks": 0},
                "With figures": {
                    "status": "busy",
                    "running_tasks": 2,
                    "metrics": {
                        "cpu_usage": 41.5,
                        "memory_usage": 63.2,
                        "disk_usage": 20.1,
                        "load_1m": 1.7,
                        "uptime": 864000,
                    },
                },
            },
            notes=(
                "For agents behind a proxy that forbids WebSockets, and for tests. "
                "An agent does it for itself, with its own token."
            ),
        ),
    },
)
