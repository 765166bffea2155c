"""Give waiting tasks to agents that have free slots.

Tasks wait in one queue for each route (what an agent must offer) and priority. A claim looks up which
queues hold anything due, keeps those that one of the offering agents can serve, and takes the first tasks of
each under row locks that other claims skip. The cost depends on the number of queues and of tasks taken,
never on how many tasks wait (`make bench` shows it).
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from scheduling.services import lifecycle
from scheduling.services.lifecycle import Assignment, StartedAttempt

MAX_CLAIM: Final = 500

# The distinct (route, priority) pairs among waiting tasks, each with what is due first, found by skipping
# along the index (https://wiki.postgresql.org/wiki/Loose_indexscan).
WAITING_QUEUES: Final = """
WITH RECURSIVE queue AS (
    (SELECT route_id, priority, due_at FROM scheduling_task WHERE status IN ('pending', 'waiting_retry')
     ORDER BY route_id, priority, due_at LIMIT 1)
    UNION ALL
    SELECT next.route_id, next.priority, next.due_at FROM queue, LATERAL (
        SELECT t.route_id, t.priority, t.due_at FROM scheduling_task t
        WHERE t.status IN ('pending', 'waiting_retry')
          AND (t.route_id, t.priority) > (queue.route_id, queue.priority)
        ORDER BY t.route_id, t.priority, t.due_at LIMIT 1) next
)
"""
_QUEUES: Final = f"{WAITING_QUEUES} SELECT queue.route_id, queue.priority FROM queue"  # noqa: S608 (constants)
_DUE_QUEUES: Final = f"{_QUEUES} WHERE queue.due_at <= %(until)s"

# Which of the offering agents serve which of these routes. A limited job's route is locked, so that two
# servers never count the same free places; one that is locked already is left for the next claim.
_SERVED_ROUTES: Final = """
SELECT r.id, r.job_id, agent.ids
FROM scheduling_route r, LATERAL (
    SELECT array_agg(a.id) AS ids FROM agents_agent a
    WHERE a.id = ANY(%(agent_ids)s::uuid[]) AND a.enabled AND a.archived_at IS NULL
      AND a.status <> 'draining' AND a.labels @> r.labels AND a.capabilities->'commands' ? r.cmd
) agent
WHERE r.id = ANY(%(route_ids)s::bigint[]) AND agent.ids IS NOT NULL
"""

_LOCK_LIMITED_JOBS: Final = """
SELECT j.id, j.max_concurrency FROM scheduling_job j WHERE j.id = ANY(%(job_ids)s::bigint[])
FOR NO KEY UPDATE OF j SKIP LOCKED
"""
# A statement of its own: its snapshot is taken when the lock is ours, that of the locking one before.
_TAKEN_PLACES: Final = """
SELECT i.job_id, array_agg(i.place) FROM scheduling_taskinstance i
WHERE i.job_id = ANY(%(job_ids)s::bigint[]) AND i.status IN ('pending', 'dispatched', 'running')
GROUP BY i.job_id
"""

_TAKE: Final = """
SELECT taken.id, queue.route_id FROM unnest(%(route_ids)s::bigint[], %(priorities)s::int[], %(limits)s::int[])
    AS queue(route_id, priority, places),
LATERAL (
    SELECT t.id, t.due_at FROM scheduling_task t
    WHERE t.status IN ('pending', 'waiting_retry') AND t.route_id = queue.route_id
      AND t.priority = queue.priority AND t.due_at <= %(until)s
    ORDER BY t.due_at LIMIT queue.places FOR UPDATE SKIP LOCKED
) taken
ORDER BY queue.priority DESC, taken.due_at, taken.id
"""

_NEXT_DUE: Final = """
SELECT min(due_at) FROM unnest(%(route_ids)s::bigint[], %(priorities)s::int[]) AS queue(route_id, priority),
LATERAL (SELECT t.due_at FROM scheduling_task t
         WHERE t.status IN ('pending', 'waiting_retry') AND t.route_id = queue.route_id
           AND t.priority = queue.priority AND t.due_at > %(until)s
         ORDER BY t.due_at LIMIT 1) first
"""

# Says which of the agents with assignments may have them, and keeps that so until the transaction ends.
Hold = Callable[[Collection[uuid.UUID]], Collection[uuid.UUID]]


@dataclass(slots=True)
class _Queue:
    """A route with something due, and the agents that offered slots for it."""

    agent_ids: list[uuid.UUID]
    priorities: list[int] = field(default_factory=list)
    job_id: int | None = None
    free_places: list[int] | None = None


def claim(
    *,
    slots: Mapping[uuid.UUID, int],
    now: datetime,
    lead_secs: float,
    lease_secs: float,
    hold: Hold | None = None,
) -> list[StartedAttempt]:
    """Claim tasks due by `now + lead_secs` for the free `slots` of agents; return the attempts begun.

    At most MAX_CLAIM at once, highest priority and longest due first; one transaction, committed on return.
    Claims of other servers are skipped over, not waited for. `hold` is asked about the agents that are to get
    something; those that it leaves out get nothing.
    """
    until = now + timedelta(seconds=lead_secs)
    free = {agent_id: count for agent_id, count in slots.items() if count > 0}
    if not free:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_DUE_QUEUES, {"until": until})
        due = cursor.fetchall()
        if not due:
            return []
        queues = _served_queues(due, free)
        assignments = _assign(_take(queues, free, until=until), queues, free)
        if hold is not None and assignments:
            held = hold({assignment.agent_id for assignment in assignments if assignment.agent_id})
            assignments = [assignment for assignment in assignments if assignment.agent_id in held]
        return lifecycle.begin_attempts(assignments, now=now, lease_secs=lease_secs)


def next_due_at(*, after: datetime, agent_ids: Sequence[uuid.UUID]) -> datetime | None:
    """Return when the first task after `after` becomes due that one of these agents serves; None for none."""
    with connection.cursor() as cursor:
        cursor.execute(_QUEUES)
        queues = cursor.fetchall()
        if not queues:
            return None
        route_ids = list({route_id for route_id, _ in queues})
        cursor.execute(_SERVED_ROUTES, {"agent_ids": list(agent_ids), "route_ids": route_ids})
        served = {row[0] for row in cursor.fetchall()}
        queues = [queue for queue in queues if queue[0] in served]
        cursor.execute(
            _NEXT_DUE,
            {
                "route_ids": [row[0] for row in queues],
                "priorities": [row[1] for row in queues],
                "until": after,
            },
        )
        (due_at,) = cursor.fetchone()
    return due_at  # type: ignore[no-any-return]


def _served_queues(due: list[tuple[int, int]], free: Mapping[uuid.UUID, int]) -> dict[int, _Queue]:
    """Return the routes among `due` that agents with free slots serve, without those at their job's limit."""
    queues: dict[int, _Queue] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            _SERVED_ROUTES, {"agent_ids": list(free), "route_ids": list({route_id for route_id, _ in due})}
        )
        for route_id, job_id, agent_ids in cursor.fetchall():
            queues[route_id] = _Queue(agent_ids=agent_ids, job_id=job_id)
        job_ids = [queue.job_id for queue in queues.values() if queue.job_id is not None]
        if job_ids:
            cursor.execute(_LOCK_LIMITED_JOBS, {"job_ids": job_ids})
            limits = dict(cursor.fetchall())
            cursor.execute(_TAKEN_PLACES, {"job_ids": list(limits)})
            taken = dict(cursor.fetchall())
            places = {
                job_id: sorted(set(range(1, (limit or MAX_CLAIM) + 1)) - set(taken.get(job_id, ())))
                for job_id, limit in limits.items()
            }
            for route_id, queue in list(queues.items()):
                if queue.job_id is not None:
                    queue.free_places = places.get(queue.job_id, [])
                    if not queue.free_places:
                        del queues[route_id]
    for route_id, priority in due:
        if route_id in queues:
            queues[route_id].priorities.append(priority)
    return queues


def _take(
    queues: dict[int, _Queue], free: Mapping[uuid.UUID, int], *, until: datetime
) -> list[tuple[int, int]]:
    """Lock the first tasks of each queue; return (task id, route id), highest priority first."""
    route_ids, priorities, limits = [], [], []
    for route_id, queue in queues.items():
        limit = min(MAX_CLAIM, sum(free[agent_id] for agent_id in queue.agent_ids))
        if queue.free_places is not None:
            limit = min(limit, len(queue.free_places))
        for priority in queue.priorities:
            route_ids.append(route_id)
            priorities.append(priority)
            limits.append(limit)
    if not route_ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKE, {"route_ids": route_ids, "priorities": priorities, "limits": limits, "until": until}
        )
        taken: list[tuple[int, int]] = cursor.fetchall()
    return taken


def _assign(
    tasks: list[tuple[int, int]], queues: dict[int, _Queue], free: Mapping[uuid.UUID, int]
) -> list[Assignment]:
    """Share the tasks out, each to the agent of its route with the most free slots left."""
    left = dict(free)
    places: dict[int, list[int]] = defaultdict(list)
    for queue in queues.values():
        if queue.job_id is not None and queue.free_places is not None:
            places[queue.job_id] = list(reversed(queue.free_places))
    assignments: list[Assignment] = []
    for task_id, route_id in tasks:
        queue = queues[route_id]
        agent_id = max(queue.agent_ids, key=lambda candidate: left[candidate])
        if left[agent_id] <= 0 or len(assignments) >= MAX_CLAIM:
            continue
        place = None
        if queue.job_id is not None:
            if not places[queue.job_id]:
                continue
            place = places[queue.job_id].pop()
        left[agent_id] -= 1
        assignments.append(Assignment(task_id=task_id, agent_id=agent_id, place=place))
    return assignments
