"""Which attempts ran when, over agents or jobs: one by one, or where there are too many, counted.

Each statement walks an index and takes a bounded number of rows, however many there are. An attempt stands
from its start, or as long as it has not started from its creation, to its end.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from django.db import connection

from scheduling.models.tasks import LONG

By = Literal["agent", "job"]

MAX_BARS: Final = 5000
# Where there are more they are counted, so many in each of so many slots, in the rows with the most.
SLOTS: Final = 180
COUNTED_IN_SLOT: Final = 500
MAX_ROWS: Final = 200
# Ids carry the time of the server that made them, whose clock may be wrong by as much.
_CLOCKS_DIFFER: Final = timedelta(hours=1)

# Those that began shortly before or in the span; of older ones those that took long, and those that live.
_KINDS: Final = (
    (
        """i.created_at >= %(since)s AND i.created_at < %(end)s
           AND (i.completed_at IS NULL OR i.completed_at >= %(begin)s)""",
        "i.created_at DESC",
    ),
    (
        """i.created_at < %(since)s AND i.completed_at >= %(begin)s
           AND i.completed_at - i.created_at > interval '5 minutes'""",
        "i.completed_at DESC",
    ),
    ("i.created_at < %(since)s AND i.status IN ('pending', 'dispatched', 'running')", "i.created_at DESC"),
)
_CHOICES: Final = (
    ("job_id", "bigint", "job_ids"),
    ("agent_id", "uuid", "agent_ids"),
    ("namespace", "text", "namespaces"),
    ("status", "text", "statuses"),
)
_BAR: Final = """i.id, i.task_id, i.attempt, i.job_id, i.agent_id, i.namespace, i.status,
    COALESCE(i.started_at, i.created_at) AS begin, i.completed_at"""
_SLOTS: Final = """
unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[], %(first_ids)s::uuid[], %(last_ids)s::uuid[])
    WITH ORDINALITY AS s(begin, before, first_id, last_id, slot)
"""
_COUNT: Final = """
WITH found AS (
    SELECT s.slot, i.key, i.status FROM {sets} CROSS JOIN LATERAL (
        SELECT i.{by}_id AS key, i.status FROM scheduling_taskinstance i
        WHERE {where} ORDER BY {order} LIMIT %(limit)s
    ) i
), counted AS (
    SELECT key, slot, count(*) AS number,
           count(*) FILTER (WHERE status IN ('failed', 'timeout', 'lost')) AS failed
    FROM found GROUP BY key, slot
), kept AS (
    SELECT key FROM counted GROUP BY key ORDER BY sum(number) DESC LIMIT %(rows)s
), full_slots AS (
    SELECT slot FROM counted GROUP BY slot HAVING sum(number) >= %(limit)s
)
SELECT counted.key, counted.slot - 1, counted.number, counted.failed,
       counted.slot IN (SELECT slot FROM full_slots)
FROM counted JOIN kept ON kept.key IS NOT DISTINCT FROM counted.key
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which attempts are looked at; None is all of them."""

    job_ids: Collection[int] | None = None
    agent_ids: Collection[UUID] | None = None
    namespaces: Collection[str] | None = None
    statuses: Collection[str] | None = None


class Bar(NamedTuple):
    """An attempt from its begin to its end, which a live one has not reached."""

    id: UUID
    task_id: int
    attempt: int
    job_id: int
    agent_id: UUID | None
    namespace: str
    status: str
    begin: datetime
    end: datetime | None


class Count(NamedTuple):
    """How many attempts of an agent or a job began in a slot; if it `is_more`, at least so many."""

    key: Any
    slot: int
    number: int
    failed: int
    is_more: bool


def bars_between(chosen: Chosen, *, begin: datetime, end: datetime) -> tuple[list[Bar], bool]:
    """Return the newest attempts that overlap [begin, end), and whether there are more than MAX_BARS."""
    conditions, sets = _found_by(chosen)
    arms = " UNION ALL ".join(_arm(where, order, conditions) for where, order in _KINDS)
    found = f"SELECT i.* FROM {sets} CROSS JOIN LATERAL ({arms}) i" if sets else arms  # noqa: S608
    since = begin - LONG
    values = _values(chosen) | {
        "begin": begin,
        "end": end,
        "since": since,
        "first_id": _first_id(since - _CLOCKS_DIFFER),
        "last_id": _first_id(end + _CLOCKS_DIFFER),
        "limit": MAX_BARS + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({found}) i ORDER BY begin DESC LIMIT %(limit)s", values)  # noqa: S608
        bars = [Bar._make(row) for row in cursor.fetchall()]
    return bars[:MAX_BARS], len(bars) > MAX_BARS


def counts_between(chosen: Chosen, *, by: By, begin: datetime, end: datetime) -> list[Count]:
    """Return how many attempts began in each of SLOTS slots of [begin, end), by agent or by job.

    Of what is chosen by the clock of the server that began them.
    """
    conditions, sets = _found_by(chosen)
    edges = [begin + (end - begin) * number / SLOTS for number in range(SLOTS + 1)]
    ids = [_first_id(edge) for edge in edges]
    if conditions:
        where, order = "i.id >= s.first_id AND i.id < s.last_id", "i.id DESC"
    else:
        where, order = "i.created_at >= s.begin AND i.created_at < s.before", "i.created_at DESC"
    sql = _COUNT.format(
        by=by,
        sets=f"{_SLOTS} CROSS JOIN {sets}" if sets else _SLOTS,
        where=" AND ".join([where, *conditions]),
        order=order,
    )
    values = _values(chosen) | {
        "begins": edges[:-1],
        "ends": edges[1:],
        "first_ids": ids[:-1],
        "last_ids": ids[1:],
        "limit": COUNTED_IN_SLOT,
        "rows": MAX_ROWS,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [Count._make(row) for row in cursor.fetchall()]


def _found_by(chosen: Chosen) -> tuple[list[str], str]:
    """Return the conditions of what is chosen, and the set of which each has to be looked up by itself.

    What is chosen has an index in the order of ids, so it is found along that, one job, agent, namespace or
    status after the other; all attempts are found along that of when they were created.
    """
    conditions: list[str] = []
    sets = ""
    for column, type_, several in _CHOICES:
        values = getattr(chosen, several)
        if values is None:
            continue
        if conditions:
            conditions.append(f"i.{column} = ANY(%({several})s::{type_}[])")
        elif len(values) == 1:
            conditions.append(f"i.{column} = (%({several})s::{type_}[])[1]")
        else:
            conditions.append(f"i.{column} = each.value")
            sets = f"unnest(%({several})s::{type_}[]) AS each(value)"
    return conditions, sets


def _values(chosen: Chosen) -> dict[str, Any]:
    return {several: sorted(getattr(chosen, several) or ()) for _column, _type, several in _CHOICES}


def _arm(where: str, order: str, conditions: list[str]) -> str:
    found = [where, *conditions]
    if conditions and (where, order) == _KINDS[0]:
        found += ["i.id >= %(first_id)s", "i.id < %(last_id)s"]
        order = "i.id DESC"
    # Of our own texts alone.
    return f"""(SELECT {_BAR} FROM scheduling_taskinstance i WHERE {" AND ".join(found)}
                ORDER BY {order} LIMIT %(limit)s)"""  # noqa: S608


def _first_id(instant: datetime) -> UUID:
    """Return the least id that is made at an instant: ids begin with its milliseconds (RFC 9562)."""
    return UUID(int=max(round(instant.timestamp() * 1000), 0) << 80)
