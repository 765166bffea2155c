"""Read output where people look at it: both streams in the order in which they arrived, from any place on.

A place is a pair, how many bytes of each stream lie before it. Pieces of a stream are stored in its order, so
their ids tell which of two pieces of different streams came first, and two walks along the index of offsets,
merged by id, are the output in order. Nothing here costs more the longer the output is.
"""

import base64
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, Final

from django.db import connection

from agents.protocol.messages import Stream
from scheduling.models import TaskInstance
from scheduling.services.output import STREAMS

BOTH: Final[tuple[Stream, Stream]] = ("stdout", "stderr")
# A command that prints a little at a time has many pieces; so many are read at once at most.
MAX_PARTS: Final = 4096
# No piece is longer than a frame of the agents' protocol.
_LONGEST_BYTES: Final = 1024 * 1024

# Of the one stream nothing is read that came after the other alone has filled the page.
_FROM: Final = """
WITH wanted AS (
    SELECT * FROM unnest(%(places)s::int[], %(ids)s::uuid[], %(streams)s::smallint[], %(at)s::bigint[])
                  AS wanted(place, instance_id, stream, at)
), full_by AS (
    SELECT wanted.place, min(following.id) AS id FROM wanted CROSS JOIN LATERAL (
        SELECT id FROM scheduling_outputchunk
        WHERE instance_id = wanted.instance_id AND stream = wanted.stream
          AND "offset" >= wanted.at + %(limit)s
        ORDER BY "offset" LIMIT 1
    ) AS following GROUP BY wanted.place
)
SELECT wanted.place, chunk.id, wanted.stream, GREATEST(chunk."offset", wanted.at),
       substring(chunk.data FROM (GREATEST(wanted.at - chunk."offset", 0) + 1)::int), chunk.at
FROM wanted LEFT JOIN full_by USING (place)
CROSS JOIN LATERAL (
    SELECT id, "offset", data, at FROM scheduling_outputchunk
    WHERE instance_id = wanted.instance_id AND stream = wanted.stream
      AND "offset" >= COALESCE((SELECT max("offset") FROM scheduling_outputchunk
                                WHERE instance_id = wanted.instance_id AND stream = wanted.stream
                                  AND "offset" <= wanted.at), 0)
      AND "offset" < wanted.at + %(limit)s AND (full_by.id IS NULL OR id < full_by.id)
    ORDER BY "offset" LIMIT %(max_parts)s
) AS chunk
ORDER BY wanted.place, chunk.id
"""
_BEFORE: Final = """
WITH wanted AS (
    SELECT * FROM unnest(%(places)s::int[], %(ids)s::uuid[], %(streams)s::smallint[], %(at)s::bigint[])
                  AS wanted(place, instance_id, stream, at)
), full_by AS (
    SELECT wanted.place, max(earlier.id) AS id FROM wanted CROSS JOIN LATERAL (
        SELECT id FROM scheduling_outputchunk
        WHERE instance_id = wanted.instance_id AND stream = wanted.stream
          AND "offset" <= wanted.at - %(limit)s
        ORDER BY "offset" DESC LIMIT 1
    ) AS earlier GROUP BY wanted.place
)
SELECT wanted.place, chunk.id, wanted.stream, chunk."offset",
       substring(chunk.data FROM 1 FOR (wanted.at - chunk."offset")::int), chunk.at
FROM wanted LEFT JOIN full_by USING (place)
CROSS JOIN LATERAL (
    SELECT id, "offset", data, at FROM scheduling_outputchunk
    WHERE instance_id = wanted.instance_id AND stream = wanted.stream
      AND "offset" < wanted.at AND "offset" > wanted.at - %(limit)s - %(longest)s
      AND (full_by.id IS NULL OR id >= full_by.id)
    ORDER BY "offset" DESC LIMIT %(max_parts)s
) AS chunk
ORDER BY wanted.place, chunk.id DESC
"""
# Bisects for the most bytes of one stream that came before a byte of the other; that byte stays the same, or
# moves back by one for each by which the search moves on.
_BYTES_BEFORE: Final = """
WITH RECURSIVE search(low, high) AS (
    SELECT %(low)s::bigint, %(high)s::bigint
    UNION ALL
    SELECT CASE WHEN came_later THEN low ELSE middle END, CASE WHEN came_later THEN middle - 1 ELSE high END
    FROM search
    CROSS JOIN LATERAL (SELECT (low + high + 1) / 2 AS middle) AS halved
    CROSS JOIN LATERAL (
        SELECT (
            SELECT id FROM scheduling_outputchunk
            WHERE instance_id = %(id)s AND stream = %(stream)s AND "offset" <= middle - 1
            ORDER BY "offset" DESC LIMIT 1
        ) > (
            SELECT id FROM scheduling_outputchunk
            WHERE instance_id = %(id)s AND stream = %(other)s AND "offset" <= %(at)s - middle * %(step)s
            ORDER BY "offset" DESC LIMIT 1
        ) AS came_later
    ) AS compared
    WHERE low < high
)
SELECT low FROM search WHERE low >= high
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an attempt's output: the bytes of each stream before it."""

    stdout: int = 0
    stderr: int = 0

    @property
    def total(self) -> int:
        """The bytes of both streams before it."""
        return self.stdout + self.stderr

    def of(self, stream: Stream) -> int:
        """Return the bytes of one stream before it."""
        return self.stdout if stream == "stdout" else self.stderr

    def as_json(self) -> dict[str, int]:
        """Return it as browsers get it and send it back."""
        return {"stdout": self.stdout, "stderr": self.stderr}

    def at(self, stream: Stream, offset: int) -> "Place":
        """Return the place that differs in one stream."""
        return replace(self, **{stream: offset})


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one stream that were stored at one time, or some of them."""

    stream: Stream
    offset: int
    data: bytes
    at: datetime

    @property
    def end(self) -> int:
        """The bytes of the stream up to here."""
        return self.offset + len(self.data)

    def as_json(self) -> dict[str, Any]:
        """Return it as browsers get it; the bytes as base64, the time in epoch milliseconds."""
        return {
            "stream": self.stream,
            "offset": self.offset,
            "at": int(self.at.timestamp() * 1000),
            "data": base64.b64encode(self.data).decode(),
        }


@dataclass(frozen=True, slots=True)
class Page:
    """What lies between two places."""

    begin: Place
    end: Place
    parts: list[Part]


Wanted = tuple[uuid.UUID, Place]


def end_of(instance: TaskInstance) -> Place:
    """Return the place behind all that is stored of an attempt's output."""
    return Place(stdout=instance.stdout_bytes, stderr=instance.stderr_bytes)


def read_pages(wanted: Sequence[Wanted], *, limit: int, streams: Collection[Stream] = BOTH) -> list[Page]:
    """Return what follows on each of these places, at most `limit` bytes of each. One statement."""
    found = _query(_FROM, wanted, streams=streams, limit=limit)
    pages = []
    for number, (_id, begin) in enumerate(wanted):
        parts, end = [], begin
        room = limit
        for part in found[number][:MAX_PARTS]:
            data = part.data[:room]
            parts.append(replace(part, data=data))
            end = end.at(part.stream, part.offset + len(data))
            room -= len(data)
            if room <= 0:
                break
        pages.append(Page(begin=begin, end=end, parts=parts))
    return pages


def read_page(
    instance_id: uuid.UUID, begin: Place, *, limit: int, streams: Collection[Stream] = BOTH
) -> Page:
    """Return what follows on a place, at most `limit` bytes."""
    return read_pages([(instance_id, begin)], limit=limit, streams=streams)[0]


def read_page_before(
    instance_id: uuid.UUID, end: Place, *, limit: int, streams: Collection[Stream] = BOTH
) -> Page:
    """Return what leads up to a place, at most `limit` bytes."""
    parts, begin = [], end
    room = limit
    found = _query(_BEFORE, [(instance_id, end)], streams=streams, limit=limit)
    for part in found[0][:MAX_PARTS]:
        data = part.data[-room:]
        kept = replace(part, data=data, offset=part.end - len(data))
        parts.append(kept)
        begin = begin.at(kept.stream, kept.offset)
        room -= len(data)
        if room <= 0:
            break
    return Page(begin=begin, end=end, parts=parts[::-1])


def place_at(instance: TaskInstance, position: int) -> Place:
    """Return the place that has so many bytes of both streams before it, or the end."""
    end = end_of(instance)
    position = min(position, end.total)
    stdout = _bytes_before(
        instance.pk,
        "stdout",
        low=max(0, position - end.stderr),
        high=min(position, end.stdout),
        at=position,
        step=1,
    )
    return Place(stdout=stdout, stderr=position - stdout)


def place_of(instance: TaskInstance, stream: Stream, offset: int) -> Place:
    """Return the place of a byte of one stream, or the end."""
    end = end_of(instance)
    if offset >= end.of(stream):
        return end
    other = _other(stream)
    before = _bytes_before(instance.pk, other, low=0, high=end.of(other), at=offset, step=0)
    return Place().at(stream, offset).at(other, before)


def from_line_starts(page: Page, *, streams: Collection[Stream] = BOTH) -> Page:
    """Return the page without the lines that begin before it; one that does not end in it is cut instead.

    The first byte of each stream only tells whether a line begins behind it.
    """
    begin, parts = page.begin, page.parts
    for stream in streams:
        if begin.of(stream) == 0:
            continue
        data = b"".join(part.data for part in parts if part.stream == stream)
        if not data:
            continue
        skipped = data.find(b"\n") + 1
        if not 0 < skipped < len(data):
            skipped = 1
        begin = begin.at(stream, begin.of(stream) + skipped)
    return Page(begin=begin, end=page.end, parts=list(_behind(begin, parts)))


def _behind(begin: Place, parts: Iterable[Part]) -> Iterable[Part]:
    for part in parts:
        skipped = max(0, begin.of(part.stream) - part.offset)
        if skipped < len(part.data):
            yield replace(part, data=part.data[skipped:], offset=part.offset + skipped)


def _query(
    statement: str, wanted: Sequence[Wanted], *, streams: Collection[Stream], limit: int
) -> dict[int, list[Part]]:
    """Return the parts of each of `wanted` by its number, as `statement` orders them."""
    numbered = [(number, key, place) for number, (key, place) in enumerate(wanted)]
    rows = list(chain.from_iterable(((row, stream) for stream in streams) for row in numbered))
    parameters: dict[str, Any] = {
        "places": [number for (number, _, _), _ in rows],
        "ids": [key for (_, key, _), _ in rows],
        "streams": [STREAMS[stream].value for _, stream in rows],
        "at": [place.of(stream) for (_, _, place), stream in rows],
        "limit": limit,
        "longest": _LONGEST_BYTES,
        "max_parts": MAX_PARTS,
    }
    found: dict[int, list[Part]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        for number, _id, stream, offset, data, at in cursor:
            if data:  # the last piece is found from its end as well
                found[number].append(Part(stream=BOTH[stream - 1], offset=offset, data=bytes(data), at=at))
    return found


def _bytes_before(instance_id: uuid.UUID, stream: Stream, *, low: int, high: int, at: int, step: int) -> int:
    """Return how many bytes of `stream`, from `low` to `high`, came before byte `at` of the other one."""
    if low >= high:
        return low
    parameters: dict[str, Any] = {
        "id": instance_id,
        "stream": STREAMS[stream].value,
        "other": STREAMS[_other(stream)].value,
        "low": low,
        "high": high,
        "at": at,
        "step": step,
    }
    with connection.cursor() as cursor:
        cursor.execute(_BYTES_BEFORE, parameters)
        return int(cursor.fetchone()[0])


def _other(stream: Stream) -> Stream:
    return "stderr" if stream == "stdout" else "stdout"
