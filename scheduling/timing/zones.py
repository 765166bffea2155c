"""From times on a wall to instants: what becomes of local times that daylight saving skips or repeats (pure).

A zone is a row of segments with one offset from UTC each. A pattern yields local times in order; within a
segment they are instants at once, and only at its borders is there something to decide.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo

# Two changes of the clocks are never closer than this; see the test over all zones.
_PROBE: Final = timedelta(hours=12)
_STRETCH: Final = timedelta(days=366)
TICK: Final = timedelta(microseconds=1)
_ZERO: Final = timedelta()
EARLIEST: Final = datetime(1900, 1, 1)  # noqa: DTZ001 (naive UTC, as everything in here)
LATEST: Final = datetime(9990, 1, 1)  # noqa: DTZ001


class Gap(StrEnum):
    """What becomes of a local time that the clocks skip."""

    SKIP = "skip"
    NEXT_VALID = "next_valid"


class Overlap(StrEnum):
    """Which pass counts of a local time that comes twice."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


class Pattern(Protocol):
    """Local times that repeat."""

    @property
    def is_wall_clock(self) -> bool:
        """Return whether they are fixed times of a day; others follow the time that passes."""
        ...

    def after(self, local: datetime) -> Iterator[datetime]:
        """Yield naive local times strictly after `local`, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """The instants from `start` up to `end` (naive UTC), during which the offset from UTC stays the same.

    It lasts a year at most, so the next one may well have the same offset.
    """

    start: datetime
    end: datetime
    offset: timedelta

    @property
    def local_start(self) -> datetime:
        return self.start + self.offset

    @property
    def local_end(self) -> datetime:
        return self.end + self.offset


class _Zone:
    """The segments of a zone, found by looking at its offsets, as far as anybody asked."""

    def __init__(self, name: str) -> None:
        self._info = ZoneInfo(name)
        self._segments: list[Segment] = []
        self._ends: list[datetime] = []

    def index_at(self, instant: datetime) -> int:
        """Return the index of the segment that holds an instant (naive UTC)."""
        if not self._segments:
            # Borders are looked for in whole seconds from here.
            self._segments = [self._next_segment((instant - _STRETCH).replace(microsecond=0))]
            self._ends = [self._segments[0].end]
        if instant < self._segments[0].start:
            self._segments, self._ends = [], []
            return self.index_at(instant)
        while instant >= self._ends[-1]:
            self._extend()
        return bisect_right(self._ends, instant)

    def segment(self, index: int) -> Segment:
        """Return a segment by its index."""
        while index >= len(self._segments):
            self._extend()
        return self._segments[index]

    def _extend(self) -> None:
        segment = self._next_segment(self._ends[-1])
        self._segments.append(segment)
        self._ends.append(segment.end)

    def _next_segment(self, start: datetime) -> Segment:
        start = max(start, EARLIEST)
        offset = self._offset(start)
        low = start
        while low < start + _STRETCH and low < LATEST:
            high = low + _PROBE
            if self._offset(high) != offset:
                return Segment(start, self._border(low, high, offset), offset)
            low = high
        return Segment(start, low, offset)

    def _border(self, low: datetime, high: datetime, offset: timedelta) -> datetime:
        """Return the first second after `low` whose offset is another one."""
        before, after = 0, int((high - low).total_seconds())
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(low + timedelta(seconds=middle)) == offset:
                before = middle
            else:
                after = middle
        return low + timedelta(seconds=after)

    def _offset(self, instant: datetime) -> timedelta:
        return instant.replace(tzinfo=UTC).astimezone(self._info).utcoffset() or _ZERO


@lru_cache(maxsize=1024)
def _zone(name: str) -> _Zone:
    return _Zone(name)


def changes(zone_name: str, after: datetime, until: datetime) -> Iterator[tuple[Segment, Segment]]:
    """Yield the segments before and after each change of the clocks in (after, until]."""
    zone = _zone(zone_name)
    last = until.astimezone(UTC).replace(tzinfo=None)
    index = zone.index_at(after.astimezone(UTC).replace(tzinfo=None))
    before, following = zone.segment(index), zone.segment(index + 1)
    while following.start <= last:
        if following.offset != before.offset:
            yield before, following
        index += 1
        before, following = following, zone.segment(index + 1)


def instants(
    pattern: Pattern, zone_name: str, after: datetime, *, gap: Gap, overlap: Overlap
) -> Iterator[datetime]:
    """Yield the instants (aware UTC) of a pattern in a zone, strictly after `after`, in order."""
    start = after.astimezone(UTC).replace(tzinfo=None)
    if zone_name == "UTC":
        yield from (local.replace(tzinfo=UTC) for local in pattern.after(start))
        return
    yield from _in_zone(pattern, _zone(zone_name), start, gap, overlap)


def _in_zone(
    pattern: Pattern, zone: _Zone, start: datetime, gap: Gap, overlap: Overlap
) -> Iterator[datetime]:
    index = zone.index_at(start)
    segment = zone.segment(index)
    begin = start + segment.offset
    if index and overlap is Overlap.FIRST:
        # Within the second pass of a repeated time: its turn was in the first.
        begin = max(begin, zone.segment(index - 1).local_end - TICK)
    locals_ = pattern.after(begin)
    pending = next(locals_, None)
    while pending is not None:
        following = zone.segment(index + 1) if segment.end < LATEST else None
        is_repeated_from = following.local_start if following else segment.local_end
        while pending is not None and pending < segment.local_end:
            if pending < is_repeated_from or overlap is not Overlap.SECOND:
                yield (pending - segment.offset).replace(tzinfo=UTC)
            pending = next(locals_, None)
        if following is None:
            return
        if following.offset > segment.offset:
            if pending is not None and pending < following.local_start:
                resume = following.local_start - TICK
                if gap is Gap.NEXT_VALID:
                    yield following.start.replace(tzinfo=UTC)
                    resume = following.local_start
                locals_ = pattern.after(resume)
                pending = next(locals_, None)
        elif overlap is not Overlap.FIRST and following.offset < segment.offset:
            locals_ = pattern.after(following.local_start - TICK)
            pending = next(locals_, None)
        index += 1
        segment = following
