"""What this process asks of the database: how often, how long it takes, and with how many connections.

Every connection of the ORM gets one wrapper when it is opened. A statement costs it two readings of the
clock and a few additions, whatever the number of statements; nothing of them is kept.
"""

import threading
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

SLOW_QUERY_SECS: Final = 1.0
# Upper bounds of the histogram, in seconds.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(frozen=True, slots=True)
class QueryStats:
    """Statements since the process began; `buckets` counts them by BUCKETS, the last those beyond."""

    total: int
    seconds: float
    slow: int
    buckets: tuple[int, ...]

    @property
    def average_ms(self) -> float:
        """Milliseconds a statement took on average."""
        return 1000 * self.seconds / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """Connections of this process to the database, and requests that wait for one."""

    active_connections: int
    idle_connections: int
    max_connections: int
    waiting_connections: int

    @property
    def usage_percent(self) -> float:
        """How much of what may be open is in use."""
        return 100 * self.active_connections / self.max_connections if self.max_connections else 0.0


class DatabaseMeter:
    """Counts statements and remembers which connections are open; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = 0
        self._seconds = 0.0
        self._slow = 0
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._connections: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Run one statement and count it, also where it fails."""
        begin = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.note(time.perf_counter() - begin)

    def note(self, seconds: float) -> None:
        """Count one statement that took so long."""
        with self._lock:
            self._total += 1
            self._seconds += seconds
            self._slow += seconds >= SLOW_QUERY_SECS
            self._buckets[bisect_left(BUCKETS, seconds)] += 1

    def watch(self, opened: BaseDatabaseWrapper) -> None:
        """Count the statements of a connection from now on."""
        if self not in opened.execute_wrappers:
            # In front: who adds a wrapper for a while takes the last one away again.
            opened.execute_wrappers.insert(0, self)
        with self._lock:
            self._connections.add(opened)

    def read(self) -> QueryStats:
        """Return what was counted."""
        with self._lock:
            return QueryStats(self._total, self._seconds, self._slow, tuple(self._buckets))

    def open_connections(self) -> tuple[int, int]:
        """Return how many connections do something, or are in a transaction, and how many are idle."""
        with self._lock:
            sessions = [watched.connection for watched in self._connections]
        states = [session.info.transaction_status for session in sessions if session is not None]
        idle = states.count(TransactionStatus.IDLE)
        return len(states) - states.count(TransactionStatus.UNKNOWN) - idle, idle


METER: Final = DatabaseMeter()


def watch_connection(*, connection: BaseDatabaseWrapper, **_signal: Any) -> None:
    """Count the statements of a connection that was just opened."""
    METER.watch(connection)


def pool_status() -> PoolStatus:
    """Return how this process's connections are used.

    Without a pool every thread has a connection of its own and nobody waits; the most that may be open is
    then what the database allows, for which it is asked.
    """
    pool: Any = getattr(connection, "pool", None)
    if pool is not None:
        stats = pool.get_stats()
        idle = stats["pool_available"]
        return PoolStatus(
            active_connections=max(stats["pool_size"] - idle, 0),
            idle_connections=idle,
            max_connections=stats["pool_max"],
            waiting_connections=stats["requests_waiting"],
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('max_connections')::int")
        (limit,) = cursor.fetchone()
    active, idle = METER.open_connections()
    return PoolStatus(active, idle, limit, 0)
