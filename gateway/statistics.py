"""Counts over the whole cluster: sessions of agents, and tasks, however many there are."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from django.db import connection
from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Q, QuerySet, Sum
from django.db.models.functions import Now

from agents.models import CONNECTED_STATUSES, AgentStatus
from gateway.commands import live_connections, live_servers
from gateway.models import Connection
from scheduling.models import Task
from scheduling.states import TASK_CLAIMABLE, TaskStatus

EXACT_COUNT_UP_TO: Final = 100_000
# The average is over those of the newest so many attempts that ran and ended.
AVERAGED_ATTEMPTS: Final = 10_000

# The index by status answers this alone. Without an order any scan stops at the limit; with one, a planner
# that has no statistics yet would sort the whole table.
_COUNT_ALL: Final = """
SELECT wanted.status, counted.count
FROM unnest(%(statuses)s::text[]) AS wanted(status)
CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT FROM scheduling_task AS task
        WHERE task.status = wanted.status
          AND (%(namespaces)s::text[] IS NULL OR task.namespace = ANY(%(namespaces)s::text[]))
        LIMIT %(limit)s
    ) AS seen
) AS counted
"""
_COUNT_SINCE: Final = """
SELECT status, count(*) FROM (
    SELECT status FROM scheduling_task
    WHERE scheduled_at >= %(since)s
      AND (%(namespaces)s::text[] IS NULL OR namespace = ANY(%(namespaces)s::text[]))
    LIMIT %(limit)s
) AS seen
GROUP BY status
"""
_AVERAGE: Final = """
SELECT avg(extract(epoch FROM completed_at - started_at))::float8
FROM (
    SELECT task_id, started_at, completed_at FROM scheduling_taskinstance ORDER BY id DESC LIMIT %(limit)s
) AS newest
WHERE started_at IS NOT NULL AND completed_at IS NOT NULL
  AND (%(since)s::timestamptz IS NULL OR completed_at >= %(since)s::timestamptz)
  AND (%(namespaces)s::text[] IS NULL OR EXISTS (
    SELECT FROM scheduling_task AS task
    WHERE task.id = newest.task_id AND task.namespace = ANY(%(namespaces)s::text[])
  ))
"""


@dataclass(frozen=True, slots=True)
class TaskStats:
    """Tasks by status, exact up to EXACT_COUNT_UP_TO of each and estimated beyond; seconds that one runs."""

    by_status: Mapping[TaskStatus, int]
    average_execution_time: float

    @property
    def total_tasks(self) -> int:
        return sum(self.by_status.values())

    @property
    def running_tasks(self) -> int:
        return self.by_status[TaskStatus.RUNNING]

    @property
    def pending_tasks(self) -> int:
        """Tasks that wait, for their first attempt or for the next one."""
        return sum(self.by_status[status] for status in TASK_CLAIMABLE)

    @property
    def completed_tasks(self) -> int:
        return self.by_status[TaskStatus.COMPLETED]

    @property
    def failed_tasks(self) -> int:
        return self.by_status[TaskStatus.FAILED]


def task_stats(*, since: datetime | None = None, namespaces: Collection[str] | None = None) -> TaskStats:
    """Count tasks, those planned for `since` and later, those in `namespaces`; None is no limit.

    At most one statement more for each status.
    """
    within = None if namespaces is None else sorted(namespaces)
    with connection.cursor() as cursor:
        bounds = {"since": since, "namespaces": within, "limit": EXACT_COUNT_UP_TO + 1}
        if since is None:
            cursor.execute(_COUNT_ALL, {**bounds, "statuses": TaskStatus.values})
        else:
            cursor.execute(_COUNT_SINCE, bounds)
        counts = dict.fromkeys(TaskStatus, 0) | {TaskStatus(status): count for status, count in cursor}
        cursor.execute(_AVERAGE, {**bounds, "limit": AVERAGED_ATTEMPTS})
        average = cursor.fetchone()[0]
    if since is None:
        too_many = [status for status, count in counts.items() if count > EXACT_COUNT_UP_TO]
    else:
        too_many = list(counts) if sum(counts.values()) > EXACT_COUNT_UP_TO else []
    for status in too_many:
        counts[status] = max(counts[status], _estimate(status, since, within))
    return TaskStats(by_status=counts, average_execution_time=average or 0.0)


def _estimate(status: TaskStatus, since: datetime | None, namespaces: list[str] | None = None) -> int:
    tasks = Task.objects.filter(status=status)
    if namespaces is not None:
        tasks = tasks.filter(namespace__in=namespaces)
    if since is not None:
        tasks = tasks.filter(scheduled_at__gte=since)
    return int(json.loads(tasks.explain(format="json"))[0]["Plan"]["Plan Rows"])


def connections_with_age() -> QuerySet[Connection]:
    """Live sessions; `age` is how long ago they began."""
    age = ExpressionWrapper(Now() - F("connected_at"), output_field=DurationField())
    return live_connections().annotate(age=age)


def connection_stats() -> dict[str, Any]:
    """Count the live sessions of the cluster."""
    return _counted(connections_with_age().aggregate(**_COUNTS))


def connection_stats_by_server() -> list[dict[str, Any]]:
    """Count the live sessions of each server that is there, also of one that has none."""
    by_server = connections_with_age().order_by().values("server_id").annotate(**_COUNTS)
    counted = {row["server_id"]: _counted(cast("Mapping[str, Any]", row)) for row in by_server}
    return [
        {"server_id": server_id, **counted.get(server_id, _counted(_NONE))}
        for server_id in sorted({*live_servers().values_list("pk", flat=True), *counted})
    ]


_COUNTS: dict[str, Any] = {
    "total": Count("pk"),
    "online": Count("pk", filter=Q(agent__status__in=CONNECTED_STATUSES)),
    "idle": Count("pk", filter=Q(agent__status=AgentStatus.IDLE)),
    "busy": Count("pk", filter=Q(agent__status=AgentStatus.BUSY)),
    "average": Avg("age"),
    "sent": Sum("messages_sent", default=0),
    "received": Sum("messages_received", default=0),
}
_NONE: Final = {**dict.fromkeys(_COUNTS, 0), "average": None}


def _counted(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "total_connections": row["total"],
        "online_connections": row["online"],
        "idle_connections": row["idle"],
        "busy_connections": row["busy"],
        "average_duration": row["average"].total_seconds() if row["average"] is not None else 0.0,
        "total_messages_sent": row["sent"],
        "total_messages_received": row["received"],
    }
