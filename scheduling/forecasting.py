"""What is to come (pure): when rules plan, what overlap leaves of it, and what the agents can take.

The time looked at is a frame of buckets. Where a rule plans few instants each of them is followed; where it
plans very many, those of a bucket count as evenly spread over it. Memory depends on the number of buckets,
not on the number of instants.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from itertools import islice, pairwise
from math import ceil
from operator import add
from typing import Final

from scheduling.judging import Rules, judge
from scheduling.recurrence import Recurrence, instants_after

# A rule with more instants than this in a frame is followed by the bucket only.
MAX_FOLLOWED: Final = 2000
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Frame:
    """The instants after `begin` up to `end`, in buckets of the same length."""

    begin: datetime
    bucket_secs: int
    buckets: int

    @property
    def secs(self) -> int:
        return self.bucket_secs * self.buckets

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(seconds=self.secs)

    def bucket_of(self, offset: float) -> int:
        """Return the bucket of an offset in seconds from the beginning, which excludes its own beginning."""
        return min(max(0, ceil(offset / self.bucket_secs) - 1), self.buckets - 1)

    def zeros(self) -> list[int]:
        return [0] * self.buckets


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How many instants come due in each bucket, and how many a calendar or a freeze rules out.

    `offsets` are those that come due, in seconds from the frame's beginning and in order; None for too many.
    """

    counts: tuple[int, ...]
    skipped: tuple[int, ...]
    offsets: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run of a job takes: seconds, and of the job's limit a place; None is no limit."""

    secs: float
    limit: int | None = None
    policy: str = "allow"


@dataclass(slots=True)
class Load:
    """What all jobs together come to, by bucket; `work` is in seconds of one slot."""

    frame: Frame
    runs: list[int] = field(init=False)
    skipped_calendar: list[int] = field(init=False)
    skipped_overlap: list[int] = field(init=False)
    work: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.runs, self.skipped_calendar, self.skipped_overlap = (self.frame.zeros() for _ in range(3))
        self.work = [0.0] * self.frame.buckets


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How busy the agents are in a bucket: runs at once on average, and how long one waits at its end."""

    running: float
    waiting_secs: float


def arrivals_of(
    recurrence: Recurrence,
    frame: Frame,
    *,
    after: datetime | None = None,
    rules: Rules | None = None,
    limit: int | None = None,
) -> Arrivals:
    """Return what a rule plans in a frame, strictly after `after` where that is given.

    Only the first `limit` runs count; `rules` are given where a calendar or a freeze has a say.
    """
    begin = frame.begin if after is None else after
    if recurrence.kind == "interval" and rules is None and limit is None:
        return _regular(recurrence, frame, begin)
    counts, skipped = frame.zeros(), frame.zeros()
    offsets: list[float] | None = []
    left = limit
    for offset, runs in _instants(recurrence, frame, begin, rules):
        if not runs:
            skipped[frame.bucket_of(offset)] += 1
            continue
        if left is not None:
            if left == 0:
                break
            left -= 1
        if offset > frame.secs:
            continue  # moved to a day beyond
        counts[frame.bucket_of(offset)] += 1
        if offsets is not None:
            offsets.append(offset)
            if len(offsets) > MAX_FOLLOWED:
                offsets = None
    in_order = None if offsets is None else tuple(sorted(offsets))
    return Arrivals(tuple(counts), tuple(skipped), in_order)


def every(first: float, period: float, frame: Frame, *, last: float | None = None) -> Arrivals:
    """Return arrivals at a fixed rate from an offset in seconds on, up to `last`."""
    end = frame.secs if last is None else min(last, frame.secs)
    while first <= 0:
        first += max(1, -first // period) * period
    number = 0 if first > end else int((end - first) // period) + 1
    if number <= MAX_FOLLOWED:
        offsets = tuple(first + step * period for step in range(number))
        counts = frame.zeros()
        for offset in offsets:
            counts[frame.bucket_of(offset)] += 1
        return Arrivals(tuple(counts), (0,) * frame.buckets, offsets)
    bounds = [min(end, bucket * frame.bucket_secs) for bucket in range(frame.buckets + 1)]
    up_to = [0 if bound < first else int((bound - first) // period) + 1 for bound in bounds]
    counts = [after - before for before, after in pairwise(up_to)]
    return Arrivals(tuple(counts), (0,) * frame.buckets, None)


def add_job(load: Load, arrivals: Sequence[Arrivals], demand: Demand) -> list[int]:
    """Add what the schedules of one job plan to a load; return how many runs begin in each bucket."""
    for each in arrivals:
        if any(each.skipped):
            load.skipped_calendar = _sum(load.skipped_calendar, each.skipped)
    followed = [each.offsets for each in arrivals]
    if demand.limit is None:
        begun = _begin_at_once(load, arrivals, demand.secs)
    elif all(offsets is not None for offsets in followed):
        offsets = heapq.merge(*(offsets for offsets in followed if offsets is not None))
        begun = _begin_one_by_one(load, offsets, demand, demand.limit)
    else:
        begun = _begin_by_bucket(load, arrivals, demand, demand.limit)
    load.runs = _sum(load.runs, begun)
    return begun


def through_slots(load: Load, slots: int, *, begin: float = 0.0, backlog: float = 0.0) -> list[Occupancy]:
    """Return how a number of slots gets through the work of a load; what is too much waits for later.

    `backlog` is work that waits already at `begin`, an offset in the first bucket, in seconds of one slot.
    """
    secs = load.frame.bucket_secs - begin
    occupancies = []
    for work in load.work:
        backlog += work
        done = min(backlog, slots * secs)
        backlog -= done
        waiting = backlog / slots if slots else 0.0
        occupancies.append(Occupancy(running=done / secs, waiting_secs=waiting))
        secs = load.frame.bucket_secs
    return occupancies


def _regular(recurrence: Recurrence, frame: Frame, after: datetime) -> Arrivals:
    first = next(instants_after(recurrence, after, 1), None)
    if first is None:
        return every(frame.secs + 1, 1, frame)
    last = None if recurrence.end_time is None else (recurrence.end_time - frame.begin).total_seconds()
    period = float(recurrence.interval_secs or 1)
    return every((first - frame.begin).total_seconds(), period, frame, last=last)


def _instants(
    recurrence: Recurrence, frame: Frame, after: datetime, rules: Rules | None
) -> Iterator[tuple[float, bool]]:
    """Yield the offset at which each instant of the frame is due, and whether it runs."""
    end = frame.end
    coming = _until(instants_after(recurrence, after, 2**31), end)
    if rules is None:
        yield from (((instant - frame.begin).total_seconds(), True) for instant in coming)
        return
    chunk = list(islice(coming, _CHUNK))
    while chunk:
        later = list(islice(coming, _CHUNK))
        following = later[0] if later else next(instants_after(recurrence, chunk[-1], 1), None)
        for planned in judge(chunk, following, (), rules):
            yield (planned.due_at - frame.begin).total_seconds(), planned.runs
        chunk = later


def _until(instants: Iterable[datetime], end: datetime) -> Iterator[datetime]:
    for instant in instants:
        if instant > end:
            return
        yield instant


def _begin_at_once(load: Load, arrivals: Sequence[Arrivals], secs: float) -> list[int]:
    begun = reduce(_sum, (each.counts for each in arrivals), load.frame.zeros())
    size = load.frame.bucket_secs
    for bucket, number in enumerate(begun):
        if number:
            # On average they begin in its middle.
            _spread(load.work, (bucket + 0.5) * size, secs, size, weight=number)
    return begun


def _begin_one_by_one(load: Load, offsets: Iterable[float], demand: Demand, limit: int) -> list[int]:
    """Follow each run of a limited job: it waits for a place, is left out, or takes that of the oldest."""
    frame, begun = load.frame, load.frame.zeros()
    ends: list[float] = []
    for at in offsets:
        begin = at
        if len(ends) >= limit:
            freed = heapq.heappop(ends)
            if freed > at and demand.policy == "forbid":
                heapq.heappush(ends, freed)
                load.skipped_overlap[frame.bucket_of(at)] += 1
                continue
            if freed > at and demand.policy == "replace":
                _spread(load.work, at, freed - at, frame.bucket_secs, weight=-1)
            elif freed > at:
                begin = freed
        if begin > frame.secs:
            break  # it waits until after the frame, and so do all that follow
        heapq.heappush(ends, begin + demand.secs)
        begun[frame.bucket_of(begin)] += 1
        _spread(load.work, begin, demand.secs, frame.bucket_secs)
    return begun


def _begin_by_bucket(load: Load, arrivals: Sequence[Arrivals], demand: Demand, limit: int) -> list[int]:
    """Treat the instants of each bucket as evenly spread over it."""
    size, begun, waiting = load.frame.bucket_secs, load.frame.zeros(), 0
    places: float = limit
    numbers = [sum(each.counts[bucket] for each in arrivals) for bucket in range(load.frame.buckets)]
    usual_gap = size * sum(1 for number in numbers if number) / max(1, sum(numbers))
    for bucket, arriving in enumerate(numbers):
        number = arriving + waiting
        if not number:
            places = limit
            continue
        gap, secs = size / number, demand.secs
        if demand.policy == "replace":
            begun[bucket], secs = number, min(secs, limit * gap)
        else:
            # Who waits takes a place when it is left; else it stays free until the next one comes.
            is_left_out = demand.policy == "forbid"
            pause = ceil(secs / usual_gap - 0.01) * usual_gap if is_left_out else secs
            places = min(places, limit) + limit * size / max(pause, gap / limit)
            begun[bucket] = min(number, int(places))
            places -= begun[bucket]
            if is_left_out:
                load.skipped_overlap[bucket] += number - begun[bucket]
            else:
                waiting = number - begun[bucket]
        _spread(load.work, (bucket + 0.5) * size, secs, size, weight=begun[bucket])
    return begun


def _sum(some: Sequence[int], others: Sequence[int]) -> list[int]:
    return [*map(add, some, others)]


def _spread(work: list[float], begin: float, secs: float, size: int, *, weight: int = 1) -> None:
    """Add the seconds of runs to the buckets in which they fall; those after the last bucket are left out."""
    bucket = int(begin // size)
    while secs > 0 and bucket < len(work):
        part = min(secs, (bucket + 1) * size - begin)
        work[bucket] += part * weight
        begin, secs, bucket = begin + part, secs - part, bucket + 1
