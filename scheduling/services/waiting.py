"""Why tasks wait: how many for which reason, by looking at queues instead of tasks.

Reads only, three statements however many wait. The reasons are those of `explaining`, in its order.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from django.db import connection

from agents.models import CONNECTED_STATUSES
from scheduling.services.claiming import WAITING_QUEUES

# So many queues are looked at, and tasks of each and of all; beyond these there are "more than".
MAX_QUEUES: Final = 2_000
MAX_IN_QUEUE: Final = 10_000
MAX_TASKS: Final = 200_000
# Queues that are named for each reason.
NAMED_QUEUES: Final = 3

_ALL: Final = f"""
{WAITING_QUEUES}, looked_at AS MATERIALIZED (
    SELECT * FROM queue LIMIT %(queues)s
), room AS MATERIALIZED (
    SELECT least(%(in_queue)s, %(tasks)s / greatest(count(*), 1) + 1) AS rows FROM looked_at
)
SELECT queue.route_id, counted.state, sum(counted.number)::bigint, min(counted.first),
       bool_or(counted.number >= (SELECT rows FROM room))
FROM looked_at queue, LATERAL (
    SELECT 'due' AS state, count(*) AS number, min(due_at) AS first FROM (
        SELECT t.due_at FROM scheduling_task t
        WHERE t.status IN ('pending', 'waiting_retry') AND t.route_id = queue.route_id
          AND t.priority = queue.priority AND t.due_at <= %(now)s
        ORDER BY t.due_at LIMIT (SELECT rows FROM room)) due
    UNION ALL
    SELECT state, count(*), min(due_at) FROM (
        SELECT CASE t.status WHEN 'pending' THEN 'early' ELSE 'retry' END AS state, t.due_at
        FROM scheduling_task t
        WHERE t.status IN ('pending', 'waiting_retry') AND t.route_id = queue.route_id
          AND t.priority = queue.priority AND t.due_at > %(now)s
        ORDER BY t.due_at LIMIT (SELECT rows FROM room)) later
    GROUP BY state
) counted
WHERE counted.number > 0 GROUP BY 1, 2
"""  # noqa: S608 (constants)
# Queues are shared by namespaces: of a part of these, its own tasks are counted.
_WITHIN: Final = """
SELECT route_id, state, count(*), min(due_at), sum(count(*)) OVER () >= %(in_queue)s
FROM (
    SELECT route_id, due_at, CASE WHEN due_at <= %(now)s THEN 'due' WHEN status = 'pending' THEN 'early'
                             ELSE 'retry' END AS state
    FROM scheduling_task
    WHERE status IN ('pending', 'waiting_retry') AND namespace = ANY(%(namespaces)s::text[])
    LIMIT %(in_queue)s
) waiting
GROUP BY 1, 2
"""

# What agents there are for routes; of routes that ask for the same, agents are gone through once.
_ROUTES: Final = """
WITH wanted AS (
    SELECT r.id, r.cmd, r.labels, r.job_id, j.max_concurrency, (
        SELECT count(*) FROM scheduling_taskinstance i
        WHERE i.job_id = r.job_id AND i.status IN ('pending', 'dispatched', 'running')) AS held
    FROM scheduling_route r LEFT JOIN scheduling_job j ON j.id = r.job_id
    WHERE r.id = ANY(%(route_ids)s::bigint[])
), live AS (
    SELECT agent_id, count(*) AS number FROM scheduling_taskinstance
    WHERE status IN ('pending', 'dispatched', 'running') GROUP BY agent_id
), agent AS (
    SELECT a.labels, a.capabilities->'commands' AS commands,
           a.enabled AND a.status = ANY(%(connected)s::text[]) AND a.status <> 'draining' AS is_taking,
           coalesce(live.number, 0) < (a.capabilities->>'max_concurrent_tasks')::numeric AS is_free
    FROM agents_agent a LEFT JOIN live ON live.agent_id = a.id WHERE a.archived_at IS NULL
), shape AS (
    SELECT kind.cmd, kind.labels, count(*) AS fitting, count(*) FILTER (WHERE is_taking) AS taking,
           count(*) FILTER (WHERE is_taking AND is_free) AS free
    FROM (SELECT DISTINCT cmd, labels FROM wanted) kind
    JOIN agent ON agent.labels @> kind.labels AND agent.commands ? kind.cmd
    GROUP BY 1, 2
)
SELECT wanted.id, wanted.cmd, wanted.labels, wanted.job_id, wanted.max_concurrency, wanted.held,
       coalesce(shape.fitting, 0), coalesce(shape.taking, 0), coalesce(shape.free, 0)
FROM wanted LEFT JOIN shape ON shape.cmd = wanted.cmd AND shape.labels = wanted.labels
"""


class Cause(StrEnum):
    """What keeps tasks from running, the most pressing first."""

    NO_AGENT = "no_agent"
    NOT_TAKING = "not_taking"
    NO_SLOT = "no_slot"
    LIMIT = "limit"
    SOON = "soon"
    RETRY = "retry"
    EARLY = "early"


class Queue(NamedTuple):
    """Tasks that wait for the same: a command and labels, where a job has a limit for that job's places."""

    route_id: int
    cmd: str
    labels: Mapping[str, str]
    job_id: int | None
    number: int


@dataclass(slots=True)
class Waiting:
    """How many tasks wait for one reason, since when the first of them is due, and its longest queues.

    `is_more` where not all were counted.
    """

    cause: Cause
    number: int = 0
    is_more: bool = False
    first_due_at: datetime | None = None
    queues: list[Queue] = field(default_factory=list)


def waiting_by_cause(*, now: datetime, namespaces: Collection[str] | None = None) -> list[Waiting]:
    """Return why the tasks of namespaces (None: of all) wait, the most pressing reason first."""
    found = _counts(now, namespaces)
    routes = _routes({route_id for route_id, *_rest in found})
    causes: dict[Cause, Waiting] = {}
    for route_id, state, number, first, is_more in found:
        route = routes.get(route_id)
        if route is None:
            continue
        cause = Cause(state) if state != "due" else _cause_of(route)
        waiting = causes.setdefault(cause, Waiting(cause))
        waiting.number += number
        waiting.is_more |= is_more
        waiting.first_due_at = min(first, waiting.first_due_at or first)
        waiting.queues.append(Queue(route_id, route.cmd, route.labels, route.job_id, number))
    for waiting in causes.values():
        waiting.queues = sorted(waiting.queues, key=lambda queue: -queue.number)[:NAMED_QUEUES]
    return [causes[cause] for cause in Cause if cause in causes]


class _Route(NamedTuple):
    cmd: str
    labels: Mapping[str, str]
    job_id: int | None
    limit: int | None
    held: int
    fitting: int
    taking: int
    free: int


def _counts(now: datetime, namespaces: Collection[str] | None) -> list[tuple[int, str, int, datetime, bool]]:
    values: dict[str, Any] = {
        "now": now,
        "queues": MAX_QUEUES,
        "in_queue": MAX_IN_QUEUE,
        "tasks": MAX_TASKS,
    }
    if namespaces is not None:
        values["namespaces"] = sorted(namespaces)
    with connection.cursor() as cursor:
        cursor.execute(_ALL if namespaces is None else _WITHIN, values)
        counts: list[tuple[int, str, int, datetime, bool]] = cursor.fetchall()
    return counts


def _routes(route_ids: Iterable[int]) -> dict[int, _Route]:
    wanted = sorted(route_ids)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            _ROUTES, {"route_ids": wanted, "connected": [str(each) for each in CONNECTED_STATUSES]}
        )
        return {
            route_id: _Route(cmd, json.loads(labels), *rest)
            for route_id, cmd, labels, *rest in cursor.fetchall()
        }


def _cause_of(route: _Route) -> Cause:
    if route.limit is not None and route.held >= route.limit:
        return Cause.LIMIT
    if not route.fitting:
        return Cause.NO_AGENT
    if not route.taking:
        return Cause.NOT_TAKING
    return Cause.SOON if route.free else Cause.NO_SLOT
