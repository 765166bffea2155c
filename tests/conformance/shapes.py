"""The exact fields of everything that the contract names, and what kind of value each holds."""

from typing import Any, Final

from tests.conformance.kinds import (
    AGENT_STATUSES,
    COMMANDS,
    INSTANCE_STATUSES,
    SCHEDULE_KINDS,
    SCHEDULE_STATUSES,
    TASK_STATUSES,
    any_uuid,
    anything,
    count,
    flag,
    instant,
    list_of,
    mapping,
    number,
    one_of,
    or_null,
    percent,
    string_map,
    strings,
    text,
    uuid7,
    whole,
)

Shape = dict[str, Any]

AGENT: Final[Shape] = {
    "id": any_uuid,
    "name": text,
    "description": text,
    "address": text,
    "status": one_of(*AGENT_STATUSES),
    "enabled": flag,
    "labels": string_map,
    "capabilities": {"max_concurrent_tasks": count, "commands": strings, "metadata": mapping},
    "statistics": {
        "success_tasks": count,
        "failure_tasks": count,
        "total_tasks": count,
        "avg_response_ms": number,
        "last_failure_at": or_null(instant),
        "consecutive_failures": count,
    },
    "version": text,
    "last_heartbeat_at": or_null(instant),
    "connected_at": or_null(instant),
    "created_at": instant,
    "updated_at": instant,
}
AGENT_STATUS: Final[Shape] = {
    "agent_id": any_uuid,
    "status": one_of(*AGENT_STATUSES),
    "connected": flag,
    "connected_at": or_null(instant),
    "last_heartbeat_at": or_null(instant),
    "running_tasks": count,
    "capacity": count,
    "metrics": {
        "cpu_usage": or_null(percent),
        "memory_usage": or_null(percent),
        "disk_usage": or_null(percent),
        "active_tasks": count,
        "total_executed": count,
        "success_rate": or_null(number),
        "avg_execution_time": number,
        "uptime": or_null(number),
    },
}
CONFIG: Final[Shape] = {
    "cmd": one_of(*COMMANDS),
    "args": strings,
    "working_dir": or_null(text),
    "timeout_secs": count,
    "max_retries": count,
    "retry_interval_secs": count,
    "retry_backoff": one_of("fixed", "linear", "exponential", "exponential_jitter"),
    "capture_output": flag,
    "max_output_size": count,
    "labels": string_map,
    "resource_limits": {
        "max_memory_mb": or_null(count),
        "max_cpu_percent": or_null(count),
        "max_execution_time_secs": or_null(count),
        "max_output_size_bytes": or_null(count),
    },
    "concurrency_policy": one_of("allow", "forbid", "replace", "queue"),
    "max_concurrency": or_null(count),
    "misfire_policy": one_of("skip", "run_once", "run_all"),
    "misfire_grace_secs": count,
    # Beyond the page: how long a command has to end after it was asked to, and what an agent does that
    # cannot reach a server.
    "kill_grace_secs": count,
    "on_lease_lost": one_of("keep", "kill"),
}
JOB: Final[Shape] = {
    "id": count,
    "namespace": text,
    "name": text,
    "description": text,
    "command": text,
    "environment": string_map,
    "config": CONFIG,
    "parameters_schema": or_null(mapping),
    "enabled": flag,
    "tags": strings,
    "created_by": text,
    "created_at": instant,
    "updated_by": text,
    "updated_at": instant,
}
SCHEDULE: Final[Shape] = {
    "id": count,
    "job_id": count,
    "name": text,
    "description": text,
    "kind": one_of(*SCHEDULE_KINDS),
    "cron_expression": or_null(text),
    "interval_secs": or_null(count),
    "timezone": text,
    "start_time": or_null(instant),
    "end_time": or_null(instant),
    "max_count": or_null(count),
    "run_count": count,
    # Beyond the page: how many runs no scheduler was there for.
    "missed_count": count,
    "jitter_secs": count,
    # Beyond the page: clock changes, calendars, what a run gets, what is made good, when to give up.
    "dst_gap": or_null(text),
    "dst_overlap": or_null(text),
    "interval_mode": text,
    "calendar_id": or_null(count),
    "calendar_policy": text,
    "parameters": mapping,
    "catch_up_secs": or_null(count),
    "pause_after_failures": or_null(count),
    "status": one_of(*SCHEDULE_STATUSES),
    "next_run_at": or_null(instant),
    "last_run_at": or_null(instant),
    "created_at": instant,
    "updated_at": instant,
}
TASK: Final[Shape] = {
    "id": count,
    "job_id": count,
    "namespace": text,
    "schedule_id": or_null(count),
    # Beyond the page: which backfill it belongs to.
    "backfill_id": or_null(count),
    "schedule_kind": text,
    "priority": whole,
    "status": one_of(*TASK_STATUSES),
    "scheduled_at": instant,
    "completed_at": or_null(instant),
    "parameters": mapping,
    "environment": string_map,
    "config": CONFIG,
    "retry_count": count,
    "max_retries": count,
    "dependencies": anything,
    "locked_at": or_null(instant),
    "lock_version": count,
    "created_by": text,
    "created_at": instant,
    "updated_at": instant,
}
INSTANCE: Final[Shape] = {
    "id": uuid7,
    "task_id": count,
    "job_id": count,
    "agent_id": or_null(any_uuid),
    "attempt": count,
    "status": one_of(*INSTANCE_STATUSES),
    "started_at": or_null(instant),
    "completed_at": or_null(instant),
    "exit_code": or_null(whole),
    "result": anything,
    "output": text,
    "error_message": text,
    "metrics": {
        "cpu_time": or_null(number),
        "memory_peak": or_null(count),
        "disk_read": or_null(count),
        "disk_write": or_null(count),
    },
    "created_at": instant,
    "updated_at": instant,
}
LOG_LINE: Final[Shape] = {
    "seq": count,
    "stream": one_of("stdout", "stderr"),
    "offset": count,
    "at": instant,
    "text": text,
}
CONNECTION: Final[Shape] = {
    "agent_id": any_uuid,
    "status": one_of(*AGENT_STATUSES),
    "connected_at": instant,
    "last_activity": instant,
    "duration": count,
    "messages_sent": count,
    "messages_received": count,
    "server_id": uuid7,
    "remote_address": text,
}
STATS: Final[Shape] = {
    "total_connections": count,
    "online_connections": count,
    "idle_connections": count,
    "busy_connections": count,
    "average_duration": number,
    "total_messages_sent": count,
    "total_messages_received": count,
}
BROADCAST: Final[Shape] = {
    "target_count": count,
    "success_count": count,
    "failed_count": count,
    "failed_agents": strings,
}
RESOURCES: Final[Shape] = {
    "cpu_usage": percent,
    "memory_usage": percent,
    "disk_usage": percent,
    "network_io": {
        "bytes_received": count,
        "bytes_sent": count,
        "packets_received": count,
        "packets_sent": count,
    },
}
POOL: Final[Shape] = {
    "active_connections": count,
    "idle_connections": count,
    "max_connections": count,
    "waiting_connections": count,
}
SERVICE: Final[Shape] = {
    "name": text,
    "status": one_of("healthy", "unhealthy"),
    "last_check": instant,
    "response_time": count,
}
HEALTH: Final[Shape] = {"status": text, "database": flag, "connections": count, "timestamp": instant}
TASK_STATS: Final[Shape] = {
    "total_tasks": count,
    "running_tasks": count,
    "pending_tasks": count,
    "completed_tasks": count,
    "failed_tasks": count,
    "average_execution_time": number,
}
BUILD: Final[Shape] = {
    "version": text,
    "build_time": or_null(instant),
    "build_environment": text,
    "git_commit": or_null(text),
    "git_branch": or_null(text),
}
DATABASE: Final[Shape] = {
    "total_queries": count,
    "average_query_time": number,
    "slow_queries": count,
    "pool_usage": percent,
}
APPLICATION: Final[Shape] = {"startup_time": instant, "uptime": count, "version": text, "build_info": BUILD}
METRICS: Final[Shape] = {"connections": STATS, "tasks": TASK_STATS, "timestamp": instant}
METRICS_WITH_DETAILS: Final[Shape] = {
    **METRICS,
    "resources": RESOURCES,
    "database": DATABASE,
    "application": APPLICATION,
}
# The document defines it twice; one object carries the fields of both.
INFO: Final[Shape] = {
    "name": text,
    "version": text,
    "build_time": or_null(instant),
    "git_commit": or_null(text),
    "is_leader": flag,
    "uptime": count,
    "build": BUILD,
    "features": strings,
    **METRICS_WITH_DETAILS,
}
ENVIRONMENT: Final[Shape] = {
    "os": text,
    "architecture": text,
    "python_version": text,
    "rust_version": or_null(text),
    "hostname": text,
}
SERVER_CONFIG: Final[Shape] = {
    "database_type": text,
    "websocket_port": count,
    "http_port": count,
    "log_level": text,
    "timezone": text,
}
SERVER: Final[Shape] = {
    "id": uuid7,
    "name": text,
    "address": text,
    "status": one_of("active", "inactive"),
    "is_leader": flag,
    "started_at": instant,
    "last_heartbeat_at": instant,
    "version": text,
}

ENTITIES: Final[dict[str, Shape]] = {
    "jobs": JOB,
    "agents": AGENT,
    "schedules": SCHEDULE,
    "tasks": TASK,
    "task-instances": INSTANCE,
    "connections": CONNECTION,
    "servers": SERVER,
}


def check(shape: Shape, value: Any, *, where: str = "") -> None:
    """Fail unless `value` has exactly these fields, each of its kind."""
    assert isinstance(value, dict), f"{where or 'the answer'} is {value!r}"
    assert set(value) == set(shape), (where, set(value) ^ set(shape))
    for name, kind in shape.items():
        path = f"{where}.{name}".lstrip(".")
        if isinstance(kind, dict):
            check(kind, value[name], where=path)
        else:
            assert kind(value[name]), f"{path} is {value[name]!r}, not {kind.__name__}"


def check_page(shape: Shape, answer: Any) -> list[Any]:
    """Return the rows of a PageResult, after a check of it and of each."""
    check(
        {"page": {"total": count, "page": count, "limit": count, "has_more": flag}, "data": list_of}, answer
    )
    for row in answer["data"]:
        check(shape, row)
    return list(answer["data"])
