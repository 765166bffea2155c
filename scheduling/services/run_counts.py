"""What became of all that was planned in the last two days, however much: counted piece by piece, and kept.

Sums that are kept in the database would cost every attempt a write, and counting a million tasks each time
that somebody looks takes a second. So quarters of an hour are counted one after the other, the newest first
and over again, a bounded number of tasks each time; what changes fastest, the last quarters, every time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import inf
from typing import Any, Final, NamedTuple

from django.db import connection

from scheduling.states import TaskStatus

DAY: Final = timedelta(hours=24)
QUARTER: Final = timedelta(minutes=15)
# So many tasks one statement counts; so many statements are made while some of the last day is missing.
TASKS_AT_ONCE: Final = 20_000
STATEMENTS: Final = 3
# Of a quarter with more the newest are counted.
MAX_IN_QUARTER: Final = 200_000
# What was counted longer ago is forgotten: nobody looked meanwhile. Shorter than a quarter, so that one which
# was counted while it went on is never taken for a whole one. The day before hardly changes any more.
KEPT: Final = timedelta(minutes=10)
KEPT_OF_DAY_BEFORE: Final = timedelta(hours=1)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT: Final = timedelta(microseconds=1)
_OF_DAY: Final = DAY // QUARTER
_PER_HOUR: Final = timedelta(hours=1) // QUARTER

_COUNT: Final = """
SELECT floor(date_part('epoch', scheduled_at) / %(quarter_secs)s)::bigint, namespace, status, outcome,
       sum(instants)::bigint, count(*), min(scheduled_at)
FROM (
    SELECT scheduled_at, namespace, status, outcome, instants FROM scheduling_task
    WHERE scheduled_at >= %(begin)s AND scheduled_at < %(end)s ORDER BY scheduled_at DESC LIMIT %(limit)s
) newest
GROUP BY 1, 2, 3, 4
"""
# Along the index of time alone, to which OFFSET 0 keeps it: others have all that ever failed.
_NEWEST: Final = """
SELECT task.id
FROM unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS span(begin, before), LATERAL (
    SELECT t.id, t.scheduled_at FROM (
        SELECT id, scheduled_at, namespace, status, outcome FROM scheduling_task
        WHERE scheduled_at >= span.begin AND scheduled_at < span.before ORDER BY scheduled_at DESC OFFSET 0
    ) t
    WHERE (t.status = ANY(%(statuses)s::text[]) OR t.outcome = ANY(%(outcomes)s::text[]))
      AND (%(namespaces)s::text[] IS NULL OR t.namespace = ANY(%(namespaces)s::text[]))
    ORDER BY t.scheduled_at DESC LIMIT %(number)s
) task
ORDER BY task.scheduled_at DESC LIMIT %(number)s
"""

# Of one status and outcome ("": by hand) so many instants.
Fates = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Runs:
    """What became of the instants of a day, by quarter of an hour since the epoch, status and outcome.

    `since` is later than the beginning of the day where not all of it is counted: not yet, or if it `is_cut`,
    never, being too much. `counted_at` is when the least recently counted part of it was.
    """

    quarters: Mapping[int, Fates]
    since: datetime
    is_part: bool
    is_cut: bool
    counted_at: datetime

    @cached_property
    def counts(self) -> Mapping[tuple[int, str, str], int]:
        """How many there are by hour of the epoch, status and outcome."""
        found: Counter[tuple[int, str, str]] = Counter()
        for quarter, fates in self.quarters.items():
            for (status, outcome), number in fates.items():
                found[quarter // _PER_HOUR, status, outcome] += number
        return found

    def by_status(self) -> Counter[str]:
        """Return how many there are of each status."""
        found: Counter[str] = Counter()
        for (_hour, status, _outcome), number in self.counts.items():
            found[status] += number
        return found

    def by_outcome(self) -> Counter[str]:
        """Return how many there are of each outcome."""
        found: Counter[str] = Counter()
        for (_hour, _status, outcome), number in self.counts.items():
            found[outcome] += number
        return found

    @property
    def success_rate(self) -> float | None:
        """The part of those that ended well among those that ended well or failed; None without any."""
        found = self.by_status()
        ended = found[TaskStatus.COMPLETED] + found[TaskStatus.FAILED]
        return found[TaskStatus.COMPLETED] / ended if ended else None

    def newest_quarters(
        self, is_wanted: Callable[[str, str], bool], number: int, *, enough: float = inf
    ) -> list[int]:
        """Return the newest quarters that have any of a wanted status or outcome.

        At most so many, and no more than it takes to have `enough`.
        """
        found: list[int] = []
        total = 0
        for quarter in sorted(self.quarters, reverse=True):
            wanted = sum(count for fate, count in self.quarters[quarter].items() if is_wanted(*fate))
            if wanted and total < enough and len(found) < number:
                found.append(quarter)
                total += wanted
        return found


@dataclass(frozen=True, slots=True)
class _Quarter:
    """A quarter of an hour as it was counted; `since` where only the newest of it were."""

    counted_at: datetime
    by_namespace: Mapping[str, Fates]
    since: datetime | None = None

    def fates(self, namespaces: Collection[str] | None) -> Fates:
        found: Fates = Counter()
        wanted = (
            self.by_namespace.keys() if namespaces is None else self.by_namespace.keys() & set(namespaces)
        )
        for namespace in wanted:
            found.update(self.by_namespace[namespace])
        return found


class Days(NamedTuple):
    """The last 24 hours to the microsecond, and the 24 hours before the quarter in which they began."""

    now: datetime
    quarters: Mapping[int, _Quarter]

    def last(self, namespaces: Collection[str] | None) -> Runs:
        """Return what became of the runs of the last 24 hours in namespaces (None: in all)."""
        newest = quarter_of(self.now)
        return self._runs(range(newest, newest - _OF_DAY - 1, -1), self.now - DAY, namespaces)

    def before(self, namespaces: Collection[str] | None) -> Runs:
        """Return what became of the runs of the day before."""
        newest = quarter_of(self.now) - _OF_DAY - 1
        return self._runs(range(newest, newest - _OF_DAY, -1), _begin_of(newest + 1 - _OF_DAY), namespaces)

    def _runs(self, numbers: range, begin: datetime, namespaces: Collection[str] | None) -> Runs:
        found: dict[int, Fates] = {}
        since, is_cut, counted_at = begin, False, self.now
        for number in numbers:
            quarter = self.quarters.get(number)
            if quarter is None:
                since = _begin_of(number + 1)
                break
            found[number] = quarter.fates(namespaces)
            counted_at = min(counted_at, quarter.counted_at)
            if quarter.since is not None:
                since, is_cut = quarter.since, True
                break
        return Runs(found, since, is_part=since > begin, is_cut=is_cut, counted_at=counted_at)


class RunCounts:
    """Counts for one thread at a time, for all who look."""

    def __init__(self) -> None:
        self._quarters: dict[int, _Quarter] = {}
        # Counted next; above it all is counted.
        self._next: int | None = None

    def forget(self) -> None:
        """Count everything anew."""
        self._quarters, self._next = {}, None

    def count(self, *, now: datetime) -> Days:
        """Count what is next, and return all that is known; at most 2 + 2 × STATEMENTS statements."""
        newest = quarter_of(now)
        edge, first, last = newest - _OF_DAY, newest - 2 * _OF_DAY, newest - 2
        self._quarters = {
            number: quarter
            for number, quarter in self._quarters.items()
            if number >= first and now - quarter.counted_at < (KEPT if number > edge else KEPT_OF_DAY_BEFORE)
        }
        for number in range(STATEMENTS):
            missing = [each for each in range(edge + 1, last + 1) if each not in self._quarters]
            if missing:
                self._next = missing[-1]
            elif number:
                break
            self._sweep(first, last, now=now)
        ends = _count(_begin_of(newest - 1), now + _INSTANT, limit=MAX_IN_QUARTER, now=now)
        self._quarters |= _filled(ends, range(newest - 1, newest + 1), now=now)
        # Of the quarter in which the last 24 hours begin, a part that is never kept.
        begins = _count(now - DAY + _INSTANT, _begin_of(edge + 1), limit=MAX_IN_QUARTER, now=now)
        return Days(now, self._quarters | _filled(begins, range(edge, edge + 1), now=now))

    def _sweep(self, first: int, last: int, *, now: datetime) -> None:
        """Count from where the last sweep ended, and begin again at the newest once the oldest is counted."""
        top = last if self._next is None else min(self._next, last)
        found = _count(_begin_of(first), _begin_of(top + 1), limit=TASKS_AT_ONCE, now=now)
        lowest = min(found, default=first)
        if found and found[lowest].since is not None:
            if lowest == top:
                # Larger than what is counted at once: by itself.
                found = _count(_begin_of(top), _begin_of(top + 1), limit=MAX_IN_QUARTER, now=now)
                lowest -= 1
        else:
            lowest = first - 1
        self._quarters |= _filled(found, range(lowest + 1, top + 1), now=now)
        self._next = lowest if lowest >= first else None


def newest_of(
    quarters: Collection[int],
    *,
    namespaces: Collection[str] | None,
    number: int,
    statuses: Collection[str] = (),
    outcomes: Collection[str] = (),
) -> list[int]:
    """Return the ids of the newest tasks in quarters that have one of these statuses or outcomes."""
    if not quarters:
        return []
    values: dict[str, Any] = {
        "begins": [_begin_of(quarter) for quarter in quarters],
        "ends": [_begin_of(quarter + 1) for quarter in quarters],
        "statuses": list(statuses),
        "outcomes": list(outcomes),
        "namespaces": None if namespaces is None else sorted(namespaces),
        "number": number,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, values)
        return [task_id for (task_id,) in cursor.fetchall()]


def quarter_of(instant: datetime) -> int:
    """Return the quarter of an hour since the epoch in which an instant lies."""
    return (instant - _EPOCH) // QUARTER


def _begin_of(quarter: int) -> datetime:
    return _EPOCH + quarter * QUARTER


def _count(begin: datetime, end: datetime, *, limit: int, now: datetime) -> dict[int, _Quarter]:
    """Count the newest in [begin, end), at most so many; the oldest quarter says whether that cut it."""
    values: dict[str, Any] = {"begin": begin, "end": end, "limit": limit}
    values["quarter_secs"] = QUARTER.total_seconds()
    by_quarter: dict[int, dict[str, Fates]] = defaultdict(lambda: defaultdict(Counter))
    rows, oldest = 0, end
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, values)
        for quarter, namespace, status, outcome, number, counted, first in cursor.fetchall():
            by_quarter[quarter][namespace][status, outcome or ""] += number
            rows, oldest = rows + counted, min(oldest, first)
    found = {quarter: _Quarter(now, dict(counts)) for quarter, counts in by_quarter.items()}
    if rows >= limit:
        lowest = min(found)
        found[lowest] = replace(found[lowest], since=oldest)
    return found


def _filled(found: Mapping[int, _Quarter], numbers: range, *, now: datetime) -> dict[int, _Quarter]:
    """Return these quarters, those without any task included."""
    return {number: found.get(number, _Quarter(now, {})) for number in numbers}
