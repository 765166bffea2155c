"""Agents' sessions, servers and the system in the OpenAPI document: examples, and what refuses."""

from typing import Any, Final

from agents.api.examples import AGENT_ID, AGENTS
from rest.openapi.documentation import Conflict, Documentation, Documented

SERVER_ID: Final = "0199f300-11aa-7c3d-8f24-6d1e9b0a7c55"
_AT: Final = "2026-03-02T12:00:00.000000Z"
CONNECTION: Final[dict[str, Any]] = {
    "agent_id": AGENT_ID,
    "status": "idle",
    "connected_at": "2026-03-01T06:30:00.000000Z",
    "last_activity": "2026-03-02T11:59:58.500000Z",
    "duration": 106200,
    "messages_sent": 21240,
    "messages_received": 21312,
    "server_id": SERVER_ID,
    "remote_address": "10.0.0.3",
}
SERVER: Final[dict[str, Any]] = {
    "id": SERVER_ID,
    "name": "server-1",
    "address": "10.0.0.1:8000",
    "status": "active",
    "is_leader": True,
    "started_at": "2026-03-01T06:00:00.000000Z",
    "last_heartbeat_at": "2026-03-02T11:59:59.000000Z",
    "version": "0.1.0",
}
_STATS: Final[dict[str, Any]] = {
    "total_connections": 12,
    "online_connections": 12,
    "idle_connections": 9,
    "busy_connections": 3,
    "average_duration": 84210.5,
    "total_messages_sent": 254880,
    "total_messages_received": 255744,
}
_RESOURCES: Final[dict[str, Any]] = {
    "cpu_usage": 12.5,
    "memory_usage": 48.1,
    "disk_usage": 23.7,
    "network_io": {
        "bytes_received": 573266348,
        "bytes_sent": 35792513,
        "packets_received": 59958,
        "packets_sent": 53560,
    },
}
_BUILD: Final[dict[str, Any]] = {
    "version": "0.1.0",
    "build_time": "2026-02-20T18:16:26.000000Z",
    "build_environment": "production",
    "git_commit": "73cd1bb2b286ad7376f6515876d33e7fec738185",
    "git_branch": "main",
}
_HEALTHY: Final[dict[str, Any]] = {"status": "healthy", "database": True, "connections": 12, "timestamp": _AT}
HEALTHY: Final = {
    "In short": _HEALTHY,
    "With details": {
        **_HEALTHY,
        "database_pool": {
            "active_connections": 2,
            "idle_connections": 3,
            "max_connections": 16,
            "waiting_connections": 0,
        },
        "services": [
            {"name": name, "status": "healthy", "last_check": _AT, "response_time": 1}
            for name in ("database", "gateway", "scheduler")
        ],
        "resources": _RESOURCES,
    },
}
UNHEALTHY: Final = {
    "The database is away": {"status": "unhealthy", "database": False, "connections": 0, "timestamp": _AT}
}
EXPOSITION: Final = """\
# HELP hetuflow_tasks Tasks by status.
# TYPE hetuflow_tasks gauge
hetuflow_tasks{status="pending"} 4.0
hetuflow_tasks{status="running"} 2.0
"""
CONNECTED_AGENTS: Final = Documentation(
    entity=AGENTS.entity,
    actions={
        **AGENTS.actions,
        "status": Documented(
            answer={
                "agent_id": AGENT_ID,
                "status": "busy",
                "connected": True,
                "connected_at": "2026-03-01T06:30:00.000000Z",
                "last_heartbeat_at": "2026-03-02T12:00:03.250000Z",
                "running_tasks": 2,
                "capacity": 4,
                "metrics": {
                    "cpu_usage": 41.5,
                    "memory_usage": 63.2,
                    "disk_usage": 20.1,
                    "active_tasks": 2,
                    "total_executed": 1283,
                    "success_rate": 0.9977,
                    "avg_execution_time": 0.8425,
                    "uptime": 864000.0,
                },
            }
        ),
        "logs": Documented(
            requests={
                "Warnings since a time": {
                    "filter": {"level": "warning", "since": "2026-03-01T00:00:00Z", "contains": "lease"},
                    "page": {"limit": 100},
                },
                "About one attempt, the newest first": {
                    "filter": {"task_instance_id": "0199f3b4-08d2-7e6a-b1c3-92f47d5a6e80"},
                    "page": {"order_bys": ["-id"]},
                },
            },
            answer={
                "page": {"total": 1, "page": 1, "limit": 20, "has_more": False},
                "data": ["2026-03-02T12:00:03.250000Z WARNING the lease of one attempt is late"],
            },
        ),
        "commands": Documented(
            requests={
                "Ask for figures": {"command": "fetch_metrics"},
                "Take no new tasks": {"command": "drain", "timeout_secs": 5},
                "Take tasks again": {"command": "resume"},
                "End": {"command": "shutdown", "parameters": {}, "timeout_secs": 30},
            },
            answer={
                "command_id": "0199f3c0-5e5f-7d11-a0b2-7c8d9e0f1a2b",
                "status": "acknowledged",
                "result": {"cpu_usage": 41.5},
            },
            conflicts={
                "agent_offline": Conflict("the agent is not connected", "The agent is offline."),
                "command_refused": Conflict("the agent refused it", "The agent refused the command."),
            },
            answers_late=True,
        ),
    },
)
CONNECTIONS: Final = Documentation(
    entity=CONNECTION,
    actions={
        "query": Documented(
            requests={
                "Idle for an hour": {
                    "filter": {"status": "idle", "min_duration": 3600},
                    "page": {"order_bys": ["connected_at"]},
                },
                "Of one agent": {"filter": {"agent_id": AGENT_ID}},
            }
        ),
        "stats": Documented(
            requests={"In all": {}, "Of each server too": {"include_details": True}},
            answer={**_STATS, "details": [{"server_id": SERVER_ID, **_STATS}]},
        ),
        "destroy": Documented(notes="An agent that is not connected is a `404`. The agent may come back."),
        "broadcast": Documented(
            requests={
                "To all": {"message_kind": "command", "payload": {"command": "fetch_metrics"}},
                "To some": {
                    "message_kind": "command",
                    "payload": {"command": "drain", "parameters": {}, "timeout_secs": 5},
                    "target_agents": [AGENT_ID],
                    "priority": 1,
                },
            },
            answer={"target_count": 2, "success_count": 1, "failed_count": 1, "failed_agents": [AGENT_ID]},
            notes="Success means that the agent acknowledged.",
        ),
    },
)
SERVERS: Final = Documentation(
    entity=SERVER,
    actions={
        "query": Documented(
            requests={
                "Those that are alive": {"filter": {"status": "active"}, "page": {"order_bys": ["name"]}},
                "The leader": {"filter": {"is_leader": True}},
            }
        )
    },
)
_TASKS: Final[dict[str, Any]] = {
    "total_tasks": 10240,
    "running_tasks": 3,
    "pending_tasks": 17,
    "completed_tasks": 10190,
    "failed_tasks": 30,
    "average_execution_time": 1.84,
}
_OF_SERVER: Final[dict[str, Any]] = {
    "resources": _RESOURCES,
    "database": {
        "total_queries": 317000,
        "average_query_time": 1.7,
        "slow_queries": 2,
        "pool_usage": 12.5,
    },
    "application": {
        "startup_time": "2026-03-01T06:00:00.000000Z",
        "uptime": 108000,
        "version": "0.1.0",
        "build_info": _BUILD,
    },
}
METRICS: Final = Documentation(
    actions={
        "post": Documented(
            requests={
                "In short": {},
                "In detail, of the last day": {"include_details": True, "time_range": 1440},
            },
            answer={"connections": _STATS, "tasks": _TASKS, "timestamp": _AT, **_OF_SERVER},
        )
    }
)
INFO: Final = Documentation(
    actions={
        "post": Documented(
            requests={
                "In short": {},
                "With configuration and environment": {"include_config": True, "include_environment": True},
            },
            answer={
                "name": "Hetuflow",
                "version": "0.1.0",
                "build_time": _BUILD["build_time"],
                "git_commit": _BUILD["git_commit"],
                "build": _BUILD,
                "is_leader": True,
                "uptime": 108000,
                "timestamp": _AT,
                "features": ["cron_schedules", "retries", "idempotency_keys"],
                "connections": _STATS,
                "tasks": _TASKS,
                **_OF_SERVER,
                "environment": {
                    "os": "Linux 6.12.0",
                    "architecture": "x86_64",
                    "python_version": "3.12.4",
                    "rust_version": None,
                    "hostname": "server-1",
                },
                "config": {
                    "database_type": "postgresql",
                    "websocket_port": 8000,
                    "http_port": 8000,
                    "log_level": "INFO",
                    "timezone": "UTC",
                },
            },
        )
    }
)
