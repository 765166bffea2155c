"""Which attempts ran when, over agents or jobs: one by one, or where there are too many, counted.

Each statement walks an index and looks at a bounded number of rows, however many there are and whatever is
chosen. An attempt stands from its start, or as long as it has not started from its creation, to its end.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from django.db import connection

from scheduling.models.tasks import LONG
from scheduling.states import InstanceStatus

By = Literal["agent", "job"]

MAX_BARS: Final = 5000
# So many attempts are looked at along an index for those that match in the other respects, too.
LOOKED_AT: Final = 50_000
# Where there are more they are counted in so many slots, of each the newest, in the rows with the most.
SLOTS: Final = 180
COUNTED_IN_SLOT: Final = 500
MAX_ROWS: Final = 200
NEWEST_LOOKED_AT: Final = 100
# So many jobs, agents or namespaces are walked along one by one; more are looked for among all.
_MAX_WALKED: Final = 100
# Ids carry the time of the server that made them, whose clock may be wrong by as much.
_CLOCKS_DIFFER: Final = timedelta(hours=1)

# Those that began shortly before or in the span, along the index of all, or of what is chosen.
_OF_ALL: Final = "i.created_at >= {begin} AND i.created_at < {end}"
_OF_CHOSEN: Final = "i.id >= {first_id} AND i.id < {last_id}"
# Of older ones those that took long, and those that live; they are few.
_EARLIER: Final = (
    """i.created_at < %(since)s AND i.completed_at >= %(begin)s
       AND i.completed_at - i.created_at > interval '5 minutes' {conditions}
       ORDER BY i.completed_at DESC LIMIT (SELECT %(looked_at)s + 1)""",
    "i.created_at < %(since)s AND i.status IN ('pending', 'dispatched', 'running') {conditions}",
)
_ALL: Final = "true"
_COLUMNS: Final = {"job_id": "bigint", "agent_id": "uuid", "namespace": "text", "status": "text"}
_BAR: Final = """i.id, i.task_id, i.attempt, i.job_id, i.agent_id, i.namespace, i.status,
    COALESCE(i.started_at, i.created_at) AS begin, i.completed_at"""
# Nothing is sorted before it is known to be little: whoever reads stops at the first row too many.
_BARS: Final = """
SELECT * FROM (
    SELECT * FROM (
        SELECT *, row_number() OVER () > %(looked_at)s AS is_beyond
        FROM ({arms}) looked_at LIMIT %(looked_at)s + 1
    ) i
    WHERE is_beyond OR ((i.completed_at IS NULL OR i.completed_at >= %(begin)s) AND {matches})
    LIMIT %(bars)s + 1
) i ORDER BY begin DESC
"""
# Of a limit that it cannot see, PostgreSQL does not think that it takes all that there is, and a sort of it.
_RECENT_ARM: Final = f"""
SELECT i.* FROM {{values}} CROSS JOIN LATERAL (
    SELECT {_BAR} FROM scheduling_taskinstance i
    WHERE {{walks}} AND {{range}} AND i.created_at >= %(since)s AND i.created_at < %(end)s
    ORDER BY {{order}} LIMIT (SELECT %(looked_at)s + 1)
) i
"""  # noqa: S608 (constants)
_NEWEST: Final = """
SELECT i.created_at FROM {values} CROSS JOIN LATERAL (
    SELECT * FROM scheduling_taskinstance i WHERE {walks} ORDER BY {order} LIMIT %(looked_at)s
) i
WHERE {matches} ORDER BY i.created_at DESC LIMIT %(number)s
"""
_COUNT: Final = """
WITH walked AS MATERIALIZED (
    SELECT each.value FROM {values}
    WHERE EXISTS (SELECT FROM scheduling_taskinstance i WHERE {walks} AND {whole})
), room AS MATERIALIZED (
    SELECT (%(limit)s + count(*) - 1) / greatest(count(*), 1) AS rows FROM walked
), looked_at AS MATERIALIZED (
    SELECT s.slot, i.* FROM walked each CROSS JOIN
        unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[], %(first_ids)s::uuid[],
               %(last_ids)s::uuid[]) WITH ORDINALITY AS s(begin, before, first_id, last_id, slot)
    CROSS JOIN LATERAL (
        SELECT i.job_id, i.agent_id, i.namespace, i.status,
               row_number() OVER () >= (SELECT rows FROM room) AS is_last
        FROM (SELECT * FROM scheduling_taskinstance i WHERE {walks} AND {range}
              ORDER BY {order} LIMIT (SELECT rows FROM room)) i
    ) i
), counted AS (
    SELECT i.{by}_id AS key, slot, count(*) AS number,
           count(*) FILTER (WHERE i.status IN ('failed', 'timeout', 'lost')) AS failed
    FROM looked_at i WHERE {matches} GROUP BY 1, 2
), kept AS (
    SELECT key FROM counted GROUP BY key ORDER BY sum(number) DESC LIMIT %(rows)s
)
SELECT counted.key, counted.slot - 1, counted.number, counted.failed,
       counted.slot IN (SELECT slot FROM looked_at WHERE is_last)
FROM counted JOIN kept ON coalesce(kept.key::text, '') = coalesce(counted.key::text, '')
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


class _Walk(NamedTuple):
    """Along which index attempts are looked at, and what each of them has to match.

    `values` has a row `each` for every job, agent, namespace or status that `walks` by itself.
    """

    values: str
    walks: str
    matches: str
    order: str
    range: str

    @property
    def has_to_match(self) -> bool:
        """Whether not all along the index is what is chosen."""
        return self.matches != _ALL


def bars_between(chosen: Chosen, *, begin: datetime, end: datetime) -> list[Bar] | None:
    """Return the attempts that overlap [begin, end), the newest first, or None for too many.

    Those are more than MAX_BARS, or more than LOOKED_AT along the index of each thing that is chosen.
    """
    since = begin - LONG
    values = _values(chosen) | {
        "begin": begin,
        "end": end,
        "since": since,
        "first_id": _first_id(since - _CLOCKS_DIFFER),
        "last_id": _first_id(end + _CLOCKS_DIFFER),
        "looked_at": LOOKED_AT,
        "bars": MAX_BARS,
    }
    bounds = {name: f"%({name})s" for name in ("end", "first_id", "last_id")} | {"begin": "%(since)s"}
    for walk in _walks(chosen):
        recent = _RECENT_ARM.format(**walk._asdict() | {"range": walk.range.format(**bounds)})
        earlier = [_earlier_arm(where, chosen) for where in _EARLIER]
        sql = _BARS.format(arms=" UNION ALL ".join([recent, *earlier]), matches=walk.matches)
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            rows = cursor.fetchall()
        if not any(is_beyond for *_bar, is_beyond in rows):
            return None if len(rows) > MAX_BARS else [Bar._make(bar) for *bar, _is_beyond in rows]
    return None


def newest_begins(chosen: Chosen, *, number: int) -> list[datetime] | None:
    """Return when the newest attempts were created, at most so many, the newest first.

    Looked for among the newest NEWEST_LOOKED_AT of each job, agent, namespace or status that is chosen; None
    where there is none among them, though there may be older ones.
    """
    walk = _walks(chosen)[0]
    values = _values(chosen) | {"looked_at": NEWEST_LOOKED_AT, "number": number}
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST.format(**walk._asdict()), values)
        found = [created_at for (created_at,) in cursor.fetchall()]
    return found if found or not walk.has_to_match else None


def counts_between(chosen: Chosen, *, by: By, begin: datetime, end: datetime) -> list[Count]:
    """Return how many attempts began in each of SLOTS slots of [begin, end), by agent or by job.

    Of what is chosen by the clock of the server that began them. Of each slot the newest COUNTED_IN_SLOT are
    looked at, in equal parts of all that is walked along.
    """
    walk = _walks(chosen)[0]
    edges = [begin + (end - begin) * number / SLOTS for number in range(SLOTS + 1)]
    ids = [_first_id(edge) for edge in edges]
    whole = {"begin": "%(begin)s", "end": "%(end)s", "first_id": "%(first_id)s", "last_id": "%(last_id)s"}
    of_slot = {"begin": "s.begin", "end": "s.before", "first_id": "s.first_id", "last_id": "s.last_id"}
    sql = _COUNT.format(
        **walk._asdict() | {"range": walk.range.format(**of_slot)}, by=by, whole=walk.range.format(**whole)
    )
    values = _values(chosen) | {
        "begin": begin,
        "end": end,
        "first_id": ids[0],
        "last_id": ids[-1],
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


def _walks(chosen: Chosen) -> list[_Walk]:
    """Return along which indexes to look for what is chosen, what finds the fewest most likely first.

    All that can be chosen has an index in the order of ids, all attempts one of when they were created.
    """
    given = {column: values for column in _COLUMNS if (values := _chosen(chosen, column)) is not None}
    walked = [column for column in _by_likelihood(given) if len(given[column]) <= _MAX_WALKED]
    return [_walk(column, given) for column in walked] or [_walk(None, given)]


def _by_likelihood(given: Mapping[str, Collection[Any]]) -> list[str]:
    """Return the columns, those first that leave the fewest: most attempts completed."""
    is_rare = InstanceStatus.COMPLETED not in given.get("status", ())
    order = ("job_id", "agent_id", *(("status", "namespace") if is_rare else ("namespace", "status")))
    return [column for column in order if column in given]


def _walk(column: str | None, given: Mapping[str, Collection[Any]]) -> _Walk:
    matches = " AND ".join([_ALL, *(_is_any(other) for other in given if other != column)])
    if column is None:
        return _Walk("(VALUES (1)) AS each(value)", "true", matches, "i.created_at DESC", _OF_ALL)
    if len(given[column]) == 1:
        # PostgreSQL knows how frequent this one is.
        one = f"i.{column} = ({_array(column)})[1]"
        return _Walk("(VALUES (1)) AS each(value)", one, matches, "i.id DESC", _OF_CHOSEN)
    values = f"unnest({_array(column)}) AS each(value)"
    return _Walk(values, f"i.{column} = each.value", matches, "i.id DESC", _OF_CHOSEN)


def _earlier_arm(where: str, chosen: Chosen) -> str:
    conditions = [f"AND {_is_any(column)}" for column in _COLUMNS if _chosen(chosen, column) is not None]
    where = where.format(conditions=" ".join(conditions))
    return f"(SELECT {_BAR} FROM scheduling_taskinstance i WHERE {where})"  # noqa: S608 (our own texts)


def _chosen(chosen: Chosen, column: str) -> Collection[Any] | None:
    values: Collection[Any] | None = getattr(chosen, _several(column))
    return values


def _several(column: str) -> str:
    return f"{column}es" if column == "status" else f"{column}s"


def _array(column: str) -> str:
    return f"%({_several(column)})s::{_COLUMNS[column]}[]"


def _is_any(column: str) -> str:
    return f"i.{column} = ANY({_array(column)})"


def _values(chosen: Chosen) -> dict[str, Any]:
    return {_several(column): sorted(_chosen(chosen, column) or ()) for column in _COLUMNS}


def _first_id(instant: datetime) -> UUID:
    """Return the least id that is made at an instant: ids begin with its milliseconds (RFC 9562)."""
    return UUID(int=max(round(instant.timestamp() * 1000), 0) << 80)
