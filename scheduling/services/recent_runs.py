"""How punctually commands started lately, from the newest rows; whatever ran, the cost is bounded."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection

# So many starts of each hour are measured, the last of it.
MAX_STARTS: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Ids of attempts begin with the time at which they were made, so a span of time is a span of ids.
_DELAYS: Final = """
SELECT span.hour, count(*), percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY delay.ms)
FROM unnest(%(hours)s::bigint[], %(first)s::uuid[], %(last)s::uuid[]) AS span(hour, first, last), LATERAL (
    SELECT i.start_delay_ms AS ms FROM scheduling_taskinstance i
    WHERE i.id >= span.first AND i.id < span.last AND i.start_delay_ms IS NOT NULL
      AND (%(namespaces)s::text[] IS NULL OR i.namespace = ANY(%(namespaces)s::text[]))
    ORDER BY i.id DESC LIMIT %(limit)s
) delay
GROUP BY GROUPING SETS ((span.hour), ())
"""


@dataclass(frozen=True, slots=True)
class Delays:
    """How late commands start: number of starts, median and 99th percentile in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float


def delays_by_hour(
    *, begin: datetime, end: datetime, namespaces: Collection[str] | None = None
) -> tuple[Delays | None, dict[int, Delays]]:
    """Return how late commands started in (begin, end], and in each hour of the epoch that had any starts.

    Measured by the newest MAX_STARTS of each hour; one statement.
    """
    hours = range(hour_of(begin), hour_of(end) + 1)
    bounds = [begin, *(begin_of(hour) for hour in hours[1:]), end]
    ids = [_first_id(bound) for bound in bounds]
    values: dict[str, Any] = {
        "hours": list(hours),
        "first": ids[:-1],
        "last": ids[1:],
        "limit": MAX_STARTS,
        "namespaces": _array(namespaces),
    }
    with connection.cursor() as cursor:
        cursor.execute(_DELAYS, values)
        found = {hour: Delays(count, *percentiles) for hour, count, percentiles in cursor.fetchall() if count}
    return found.pop(None, None), found


def hour_of(instant: datetime) -> int:
    """Return the hour of the epoch in which an instant lies."""
    return (instant - _EPOCH) // timedelta(hours=1)


def begin_of(hour: int) -> datetime:
    """Return when an hour of the epoch begins."""
    return _EPOCH + timedelta(hours=hour)


def _array(namespaces: Collection[str] | None) -> list[str] | None:
    return None if namespaces is None else sorted(namespaces)


def _first_id(at: datetime) -> uuid.UUID:
    """Return the lowest id of an attempt made at `at` or later: a UUID of version 7 begins with the time."""
    return uuid.UUID(int=((at - _EPOCH) // timedelta(milliseconds=1)) << 80)
