"""What agents' machines were doing, minute by minute for a day, as their heartbeats said."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection

KEPT: Final = timedelta(hours=24)
PRUNED_AT_ONCE: Final = 5000

# Of every agent that was heard of in the last minute what it said last, once a minute whoever notes it.
_RECORD: Final = """
INSERT INTO agents_agentsample (agent_id, at, running, cpu_usage, memory_usage)
SELECT id, date_trunc('minute', %(now)s::timestamptz), running_tasks,
       CASE WHEN jsonb_typeof(metrics->'cpu_usage') = 'number'
            THEN LEAST(GREATEST((metrics->>'cpu_usage')::numeric, 0), 100) END,
       CASE WHEN jsonb_typeof(metrics->'memory_usage') = 'number'
            THEN LEAST(GREATEST((metrics->>'memory_usage')::numeric, 0), 100) END
FROM agents_agent
WHERE archived_at IS NULL AND status IN ('online', 'idle', 'busy', 'draining')
  AND last_heartbeat_at > %(now)s::timestamptz - interval '1 minute'
ORDER BY id
ON CONFLICT (agent_id, at) DO NOTHING
"""
_PRUNE: Final = """
DELETE FROM agents_agentsample s USING (
    SELECT old.agent_id, old.at FROM agents_agent a CROSS JOIN LATERAL (
        SELECT agent_id, at FROM agents_agentsample WHERE agent_id = a.id AND at < %(before)s
        ORDER BY at LIMIT 60 FOR UPDATE SKIP LOCKED
    ) old LIMIT %(limit)s
) old
WHERE s.agent_id = old.agent_id AND s.at = old.at
"""
_READ: Final = """
SELECT agent_id, floor(extract(epoch FROM at - %(begin)s) / %(secs)s)::int AS slot,
       avg(cpu_usage)::float8, avg(memory_usage)::float8, max(running)
FROM agents_agentsample
WHERE agent_id = ANY(%(agent_ids)s::uuid[]) AND at >= %(begin)s AND at < %(end)s
GROUP BY 1, 2
"""


class Usage(NamedTuple):
    """Of a stretch of time the mean usages in percent, None if not told, and the most that ran at once."""

    cpu: float | None
    memory: float | None
    running: int


def run_once(*, now: datetime) -> int:
    """Note what agents do in this minute, and forget what is older than KEPT; return how many were noted.

    A few statements for all agents; any number of processes may do so at once.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, {"now": now})
        noted: int = cursor.rowcount
        cursor.execute(_PRUNE, {"before": now - KEPT, "limit": PRUNED_AT_ONCE})
    return noted


def usage_of(
    agent_ids: Collection[UUID], *, begin: datetime, end: datetime, slots: int
) -> Mapping[UUID, Sequence[Usage | None]]:
    """Return each agent's usage in each of `slots` stretches of [begin, end), None where it is not known."""
    usage: dict[UUID, list[Usage | None]] = {agent_id: [None] * slots for agent_id in agent_ids}
    values: dict[str, Any] = {
        "agent_ids": list(agent_ids),
        "begin": begin,
        "end": end,
        "secs": (end - begin).total_seconds() / slots,
    }
    with connection.cursor() as cursor:
        cursor.execute(_READ, values)
        for agent_id, slot, *numbers in cursor.fetchall():
            usage[agent_id][slot] = Usage(*numbers)
    return usage
