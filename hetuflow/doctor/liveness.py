"""Who is there: servers, schedulers, agents; and whether planning and queues keep up."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection

from gateway.models import Server
from hetuflow.doctor.report import Line, error, ok, warning
from scheduling.models import Lease, Schedule
from scheduling.services.rescue import SCHEDULER_LEASE, SERVER_DEAD_AFTER_SECS

PLANNING_BEHIND_SECS: Final = 10.0
QUEUE_LATE_SECS: Final = 60.0
NAMED: Final = 5

_AGENTS: Final = """
SELECT a.name, a.id::text, a.enabled, a.status,
       COALESCE(s.last_heartbeat_at > %(alive)s, false)
           OR (a.status IN ('online', 'idle', 'busy', 'draining') AND c.server_id IS NULL),
       (SELECT count(*) FROM scheduling_taskinstance i
        WHERE i.agent_id = a.id AND i.status IN ('pending', 'dispatched', 'running') AND NOT i.by_hand)
FROM agents_agent a
LEFT JOIN gateway_connection c ON c.agent_id = a.id LEFT JOIN gateway_server s ON s.id = c.server_id
WHERE a.archived_at IS NULL ORDER BY a.name
"""
# The first waiting task of each queue, found by skipping along the index, and who could take it.
_LATE_QUEUES: Final = """
WITH RECURSIVE queue AS (
    (SELECT route_id, priority FROM scheduling_task WHERE status IN ('pending', 'waiting_retry')
     ORDER BY route_id, priority LIMIT 1)
    UNION ALL
    SELECT next.route_id, next.priority FROM queue, LATERAL (
        SELECT t.route_id, t.priority FROM scheduling_task t
        WHERE t.status IN ('pending', 'waiting_retry')
          AND (t.route_id, t.priority) > (queue.route_id, queue.priority)
        ORDER BY t.route_id, t.priority LIMIT 1) next
), first AS (
    SELECT queue.route_id, late.id, late.due_at FROM queue, LATERAL (
        SELECT t.id, t.due_at FROM scheduling_task t
        WHERE t.status IN ('pending', 'waiting_retry') AND t.route_id = queue.route_id
          AND t.priority = queue.priority AND t.due_at < %(late)s
        ORDER BY t.due_at LIMIT 1) late
), routes AS (
    SELECT DISTINCT ON (route_id) * FROM first ORDER BY route_id, due_at
)
SELECT routes.id::text, extract(epoch FROM %(now)s - routes.due_at)::bigint, r.cmd, r.labels::text,
       (SELECT count(*) FROM agents_agent a WHERE a.archived_at IS NULL AND a.enabled AND a.labels @> r.labels
        AND a.capabilities->'commands' ? r.cmd AND a.status IN ('online', 'idle', 'busy')),
       (SELECT count(*) FROM agents_agent a WHERE a.archived_at IS NULL AND a.labels @> r.labels
        AND a.capabilities->'commands' ? r.cmd),
       COALESCE((SELECT count(*) FROM scheduling_taskinstance i WHERE i.job_id = r.job_id
                 AND i.status IN ('pending', 'dispatched', 'running')) >= j.max_concurrency, false)
FROM routes JOIN scheduling_route r ON r.id = routes.route_id LEFT JOIN scheduling_job j ON j.id = r.job_id
ORDER BY routes.due_at LIMIT 20
"""


def look_at_servers(now: datetime) -> Iterator[Line]:
    """Look for servers whose heartbeat is fresh."""
    servers = list(Server.objects.order_by("name"))
    alive = [server for server in servers if _age(server.last_heartbeat_at, now) < SERVER_DEAD_AFTER_SECS]
    if not alive:
        yield error(
            "servers",
            f"none of {len(servers)} gave a sign of life within {SERVER_DEAD_AFTER_SECS:.0f} s; "
            "agents go on with what they have and get nothing new",
            "start one: manage.py server (systemctl start hetuflow-server), or make run",
        )
        return
    gone = [server for server in servers if server not in alive]
    names = ", ".join(server.name for server in alive[:NAMED])
    if gone:
        last = max(gone, key=lambda server: server.last_heartbeat_at)
        yield warning(
            "servers",
            f"{len(alive)} there ({names}); {last.name} died {_age(last.last_heartbeat_at, now):.0f} s ago",
            f"see its log on {last.name}, and start it again unless it was meant to go; "
            "it is forgotten after a day",
            [str(server.pk) for server in gone],
        )
    else:
        yield ok("servers", f"{len(alive)} there: {names}")


def look_at_scheduler(now: datetime) -> Iterator[Line]:
    """Look for a scheduler, and whether planning keeps up."""
    lease = Lease.objects.filter(pk=SCHEDULER_LEASE).first()
    if lease is None or _age(lease.renewed_at, now) >= SERVER_DEAD_AFTER_SECS:
        since = "ever" if lease is None else f"for {_age(lease.renewed_at, now):.0f} s"
        yield error(
            "scheduler",
            f"none was there {since}; nothing is planned, retried or rescued",
            "start one: manage.py scheduler (systemctl start hetuflow-scheduler), or make run",
        )
    else:
        yield ok("scheduler", f"one was there {max(0.0, _age(lease.renewed_at, now)):.1f} s ago")
    horizon = timedelta(seconds=settings.HETUFLOW_PLANNING_HORIZON_SECS)
    behind = Schedule.objects.filter(status="enabled", next_run_at__isnull=False).order_by("next_run_at")
    first = behind.values_list("pk", "next_run_at").first()
    late_secs = 0.0 if first is None or first[1] is None else _age(first[1], now) + horizon.total_seconds()
    if first is not None and late_secs > PLANNING_BEHIND_SECS:
        yield error(
            "planning",
            f"schedule {first[0]} should have been planned {late_secs:.0f} s ago",
            "see the schedulers' logs; a further scheduler on another machine shares the work",
            [str(first[0])],
        )
    else:
        yield ok("planning", f"{horizon.total_seconds():.0f} s ahead")


def look_at_agents(now: datetime) -> Iterator[Line]:
    """Look for agents that are away, above all for those that have work."""
    with connection.cursor() as cursor:
        alive = now - timedelta(seconds=SERVER_DEAD_AFTER_SECS)
        cursor.execute(_AGENTS, {"alive": alive})
        agents = cursor.fetchall()
    if not agents:
        yield warning(
            "agents", "there is none, so nothing runs", "enrol a machine: docs/operations.md, Agents"
        )
        return
    away = [agent for agent in agents if not agent[4]]
    with_work = [agent for agent in away if agent[5]]
    seen = f"{len(agents) - len(away)} of {len(agents)} are connected"
    if with_work:
        name, _, _, _, _, count = with_work[0]
        seen += f"; {name} is away with {count} attempts"
        yield error("agents", seen, _start(with_work), [agent[1] for agent in with_work])
    elif away and any(agent[2] for agent in away):
        enabled = [agent for agent in away if agent[2]]
        names = ", ".join(agent[0] for agent in enabled[:NAMED])
        remedy = f"{_start(enabled)}; or disable or delete who will not come back, in the admin under Agents"
        yield warning("agents", f"{seen}; away: {names}", remedy, [agent[1] for agent in enabled])
    else:
        yield ok("agents", seen)


def look_at_queues(now: datetime) -> Iterator[Line]:
    """Look for tasks that wait past their time, and say for whom."""
    late = now - timedelta(seconds=QUEUE_LATE_SECS)
    with connection.cursor() as cursor:
        cursor.execute(_LATE_QUEUES, {"now": now, "late": late})
        rows = cursor.fetchall()
    waiting = [row for row in rows if not row[6]]
    for task, secs, cmd, labels, online, known, _ in waiting:
        wish = f"{cmd} {labels}" if labels != "{}" else cmd
        seen = f"task {task} has waited for {secs} s for an agent with {wish}"
        if not known:
            remedy = "no agent has these: give one the labels or the program, or change the job's"
        elif not online:
            remedy = f"of {known} with these none is connected: start one (systemctl start hetuflow-agent)"
        else:
            remedy = f"{online} connected have these: give them more slots, or enrol another machine"
        yield warning("queues", seen, f"{remedy}; GET /api/v1/tasks/{task}/explain tells more", [task])
    if not waiting:
        yield ok(
            "queues", f"no task waits {QUEUE_LATE_SECS:.0f} s past its time but behind the limit of its job"
        )


def _start(agents: list[tuple[str, ...]]) -> str:
    return f"start the agent on {agents[0][0]}: systemctl start hetuflow-agent; journalctl -u hetuflow-agent"


def _age(moment: datetime, now: datetime) -> float:
    return (now - moment).total_seconds()


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    ("servers", look_at_servers),
    ("scheduler", look_at_scheduler),
    ("agents", look_at_agents),
    ("queues", look_at_queues),
]
