"""From times on a wall to instants: what becomes of local times that daylight saving skips or repeats (pure).

A zone is a row of segments with one offset from UTC each. A pattern yields local times in order; within a
segment they are instants at once, and only at its borders is there something to decide.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import chain, pairwise
from typing import Final, Protocol
from zoneinfo import ZoneInfo

# Two changes of the clocks are never closer than this.
_PROBE: Final = timedelta(hours=12)
TICK: Final = timedelta(microseconds=1)
_ZERO: Final = timedelta()
_FAR_AHEAD: Final = timedelta(days=800)
# Zones are looked at from year to year, with a border on a day on which no clock changes.
_BORDER: Final = datetime(2000, 7, 15)  # noqa: DTZ001 (naive UTC, as everything in here)
FIRST_YEAR: Final = 1903
LAST_YEAR: Final = 9990


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

    It ends with the year at the latest, so the next one may well have the same offset.
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


@lru_cache(maxsize=16_384)
def _segments_of(zone_name: str, year: int) -> tuple[Segment, ...]:
    """Return the segments of a zone from the border in `year` up to the one in the next year."""
    info = ZoneInfo(zone_name)

    def offset(instant: datetime) -> timedelta:
        return instant.replace(tzinfo=UTC).astimezone(info).utcoffset() or _ZERO

    begin, end = (_BORDER.replace(year=each) for each in (year, year + 1))
    found: list[Segment] = []
    low = begin
    while low < end:
        high = min(low + _PROBE, end)
        if offset(high) != offset(low):
            change = _change_between(low, high, offset)
            found.append(Segment(begin, change, offset(low)))
            begin = change
        low = high
    # A change at the very end belongs to the year after.
    return (*found, Segment(begin, end, offset(begin))) if begin < end else tuple(found)


def _change_between(low: datetime, high: datetime, offset: Callable[[datetime], timedelta]) -> datetime:
    """Return the first second after `low` whose offset is another one."""
    before, after = 0, int((high - low).total_seconds())
    while after - before > 1:
        middle = (before + after) // 2
        if offset(low + timedelta(seconds=middle)) == offset(low):
            before = middle
        else:
            after = middle
    return low + timedelta(seconds=after)


def _segments_near(zone_name: str, instant: datetime) -> tuple[list[Segment], Iterator[Segment]]:
    """Return the segments of the year before an instant (naive UTC), and those from the one that holds it."""
    year = min(max(instant.year, FIRST_YEAR), LAST_YEAR)
    near = [*_segments_of(zone_name, year - 2), *_segments_of(zone_name, year - 1)]
    near += _segments_of(zone_name, year)
    earlier = [segment for segment in near if segment.end <= instant]
    later = (_segments_of(zone_name, each) for each in range(year + 1, LAST_YEAR + 1))
    return earlier, chain(near[len(earlier) :], chain.from_iterable(later))


def _leap(
    zone_name: str, segment: Segment, segments: Iterator[Segment], local: datetime
) -> tuple[Segment, Iterator[Segment]]:
    """Return a segment and its followers, or those shortly before a local time that lies years ahead."""
    if local - segment.local_end <= _FAR_AHEAD:
        return segment, segments
    _earlier, nearer = _segments_near(zone_name, local - _FAR_AHEAD / 2)
    return next(nearer), nearer


def changes(zone_name: str, after: datetime, until: datetime) -> Iterator[tuple[Segment, Segment]]:
    """Yield the segments before and after each change of the clocks in (after, until]."""
    last = until.astimezone(UTC).replace(tzinfo=None)
    _earlier, segments = _segments_near(zone_name, after.astimezone(UTC).replace(tzinfo=None))
    for before, following in pairwise(segments):
        if following.start > last:
            return
        if following.offset != before.offset:
            yield before, following


def instants(
    pattern: Pattern, zone_name: str, after: datetime, *, gap: Gap, overlap: Overlap
) -> Iterator[datetime]:
    """Yield the instants (aware UTC) of a pattern in a zone, strictly after `after`, in order."""
    start = after.astimezone(UTC).replace(tzinfo=None)
    if zone_name == "UTC":
        yield from (local.replace(tzinfo=UTC) for local in pattern.after(start))
        return
    yield from _in_zone(pattern, zone_name, start, gap, overlap)


def _in_zone(
    pattern: Pattern, zone_name: str, start: datetime, gap: Gap, overlap: Overlap
) -> Iterator[datetime]:
    earlier, segments = _segments_near(zone_name, start)
    segment = next(segments)
    begin = start + segment.offset
    if overlap is Overlap.FIRST:
        # Within the second pass of a repeated time: its turn was in the first.
        begin = max(begin, max(each.local_end for each in earlier) - TICK)
    locals_ = pattern.after(begin)
    pending = next(locals_, None)
    while pending is not None:
        segment, segments = _leap(zone_name, segment, segments, pending)
        following = next(segments, None)
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
        segment = following
