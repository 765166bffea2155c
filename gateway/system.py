"""What the system says about itself: its parts, its figures, its build. Everything is read when asked for."""

import logging
import platform
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection

from gateway import servers
from gateway.build import build_info, started_at, uptime_secs
from gateway.database_meter import METER, pool_status
from gateway.resources import resource_usage
from gateway.runtime import runtime_of_process
from gateway.statistics import connection_stats, task_stats
from scheduling.clock import database_now
from scheduling.services import rescue

NAME: Final = "Hetuflow"
HEALTH_STATUSES: Final = ("healthy", "unhealthy")
ANSWER_LIMIT_SECS: Final = 1.0
FEATURES: Final = (
    "cron_schedules",
    "interval_schedules",
    "one_time_schedules",
    "retries",
    "concurrency_policies",
    "misfire_policies",
    "agent_commands",
    "output_streaming",
    "idempotency_keys",
    "multiple_servers",
    "prometheus_metrics",
)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One part of the system, as found just now; `response_time` is how many ms it took to find out."""

    name: str
    status: str
    last_check: datetime
    response_time: int


def health_details() -> dict[str, Any]:
    """Return HealthDetails: this process's connections, the parts of the system, and the machine."""
    return {
        "database_pool": pool_status(),
        "services": [_check(name, works) for name, works in _SERVICES.items()],
        "resources": resource_usage(),
    }


def system_metrics(
    *,
    include_details: bool = False,
    range_minutes: int | None = None,
    namespaces: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return SystemMetrics; with a range, tasks are those planned for that long ago or later.

    Of tasks, those of `namespaces` alone are counted, where that is given.
    """
    now = database_now()
    since = None if range_minutes is None else now - timedelta(minutes=range_minutes)
    metrics: dict[str, Any] = {
        "connections": connection_stats(),
        "tasks": task_stats(since=since, namespaces=namespaces),
        "timestamp": now,
    }
    if include_details:
        metrics |= {
            "resources": resource_usage(),
            "database": _database_metrics(),
            "application": {
                "startup_time": started_at(),
                "uptime": uptime_secs(),
                "version": settings.HETUFLOW_VERSION,
                "build_info": build_info(),
            },
        }
    return metrics


def system_info(
    *,
    port: int,
    include_config: bool = False,
    include_environment: bool = False,
    namespaces: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return SystemInfo; `port` is where one reached it. Settings are named one by one: no secrets.

    Of tasks, those of `namespaces` alone are counted, where that is given.
    """
    build = build_info()
    metrics = system_metrics(include_details=True, namespaces=namespaces)
    info: dict[str, Any] = {
        "name": NAME,
        "version": settings.HETUFLOW_VERSION,
        "build_time": build.build_time,
        "git_commit": build.git_commit,
        "build": build,
        "is_leader": is_leader(),
        "uptime": metrics["application"]["uptime"],
        "features": FEATURES,
        **metrics,
    }
    if include_environment:
        info["environment"] = {
            "os": f"{platform.system()} {platform.release()}",
            "architecture": platform.machine(),
            "python_version": platform.python_version(),
            "rust_version": None,
            "hostname": socket.gethostname(),
        }
    if include_config:
        info["config"] = {
            "database_type": connection.vendor,
            "websocket_port": port,
            "http_port": port,
            "log_level": logging.getLevelName(logging.getLogger().getEffectiveLevel()),
            "timezone": settings.TIME_ZONE,
        }
    return info


def is_leader() -> bool:
    """Tell whether this process is the server that has the single-holder duties."""
    runtime = runtime_of_process()
    return runtime is not None and servers.is_leader(runtime.server_id)


def _database_metrics() -> dict[str, Any]:
    queries = METER.read()
    return {
        "total_queries": queries.total,
        "average_query_time": queries.average_ms,
        "slow_queries": queries.slow,
        "pool_usage": pool_status().usage_percent,
    }


def _check(name: str, works: Callable[[], bool]) -> ServiceStatus:
    begin = time.perf_counter()
    status = "healthy" if works() else "unhealthy"
    elapsed_ms = round(1000 * (time.perf_counter() - begin))
    return ServiceStatus(name, status, datetime.now(UTC), elapsed_ms)


def _is_database_there() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() is not None


def _does_gateway_answer() -> bool:
    runtime = runtime_of_process()
    return runtime is not None and runtime.answers_within(ANSWER_LIMIT_SECS)


def _does_a_scheduler_run() -> bool:
    return rescue.is_scheduler_alive(now=database_now())


_SERVICES: Final[dict[str, Callable[[], bool]]] = {
    "database": _is_database_there,
    "gateway": _does_gateway_answer,
    "scheduler": _does_a_scheduler_run,
}
