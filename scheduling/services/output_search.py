"""Find text in what many attempts printed: newest first, a bounded step at a time; one goes on from there."""

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

from agents.protocol.messages import Stream
from scheduling.services.output import STREAMS
from scheduling.services.viewing import BOTH

STEP_SECS: Final = 2.0
STEP_BYTES: Final = 64 * 1024 * 1024
# So many attempts are found at once, and so much of their output is read by one statement.
_BATCH: Final = 1000
_READ_BYTES: Final = 4 * 1024 * 1024
# Of what is longer the end is looked at, where failures are.
TAIL_BYTES: Final = 4 * 1024 * 1024
# What a line shows around a match.
_BEFORE_BYTES: Final = 120
_BEHIND_BYTES: Final = 180

_READ: Final = """
SELECT wanted.id, wanted.stream, chunk."offset", chunk.data
FROM unnest(%(ids)s::uuid[], %(streams)s::smallint[], %(begins)s::bigint[]) AS wanted(id, stream, begin)
CROSS JOIN LATERAL (
    SELECT "offset", data FROM scheduling_outputchunk
    WHERE instance_id = wanted.id AND stream = wanted.stream AND "offset" >= wanted.begin
    ORDER BY "offset"
) AS chunk
ORDER BY wanted.id DESC, wanted.stream, chunk."offset"
"""


@dataclass(frozen=True, slots=True)
class Match:
    """Where the text first is in an attempt's output, with the line around it, which may be cut."""

    instance_id: uuid.UUID
    stream: Stream
    offset: int
    before: bytes
    text: bytes
    behind: bytes


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found, in how many attempts it was looked for, and the last of these.

    `shortened` are those of which only the end was looked at; `is_over` says that there are no older ones.
    """

    matches: list[Match]
    looked_at: int
    last_id: uuid.UUID | None
    shortened: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class _Printed:
    """An attempt, and how many bytes of each stream are stored."""

    instance_id: uuid.UUID
    sizes: dict[Stream, int]

    @property
    def to_read(self) -> int:
        return sum(min(size, TAIL_BYTES) for size in self.sizes.values())

    @property
    def is_shortened(self) -> bool:
        return any(size > TAIL_BYTES for size in self.sizes.values())


def search_outputs(
    attempts: QuerySet[Any], text: str, *, before: uuid.UUID | None = None, limit: int
) -> Searched:
    """Look for `text` in the output of `attempts` that are older than `before`.

    Small and capital letters of ASCII are the same. It ends with `limit` matches, or after STEP_SECS or
    STEP_BYTES; a match may lie across pieces of output. Colours within it hide it.
    """
    wanted = text.encode().lower()
    stop_at = time.monotonic() + STEP_SECS
    matches: list[Match] = []
    looked_at = read = shortened = 0
    last_id = before
    for part in _parts(attempts, before):
        found = {match.instance_id: match for match in _matches(part, wanted)}
        for attempt in part:
            last_id = attempt.instance_id
            looked_at += 1
            shortened += attempt.is_shortened
            if last_id in found:
                matches.append(found[last_id])
            if len(matches) == limit:
                return Searched(matches, looked_at, last_id, shortened, is_over=False)
        read += sum(attempt.to_read for attempt in part)
        if read >= STEP_BYTES or time.monotonic() >= stop_at:
            return Searched(matches, looked_at, last_id, shortened, is_over=False)
    return Searched(matches, looked_at, last_id, shortened, is_over=True)


def _parts(attempts: QuerySet[Any], before: uuid.UUID | None) -> Iterator[list[_Printed]]:
    """Yield all attempts from the newest on, as many together as are read at once."""
    newest_first = attempts.order_by("-pk").values_list("pk", "stdout_bytes", "stderr_bytes")
    while True:
        older = newest_first if before is None else newest_first.filter(pk__lt=before)
        batch = list(older[:_BATCH])
        part: list[_Printed] = []
        size = 0
        for pk, stdout, stderr in batch:
            part.append(_Printed(pk, {"stdout": stdout, "stderr": stderr}))
            size += part[-1].to_read
            if size >= _READ_BYTES:
                yield part
                part, size = [], 0
        if part:
            yield part
        if len(batch) < _BATCH:
            return
        before = batch[-1][0]


def _matches(attempts: Sequence[_Printed], wanted: bytes) -> Iterator[Match]:
    """Yield the first match of each attempt that has one, of stdout before stderr. One statement."""
    rows = [
        (attempt.instance_id, STREAMS[stream].value, max(0, size - TAIL_BYTES))
        for attempt in attempts
        for stream, size in attempt.sizes.items()
        if size
    ]
    if not rows:
        return
    ids, streams, begins = zip(*rows, strict=True)
    pieces: dict[tuple[uuid.UUID, int], list[tuple[int, bytes]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_READ, {"ids": list(ids), "streams": list(streams), "begins": list(begins)})
        for instance_id, stream, offset, data in cursor:
            pieces[instance_id, stream].append((offset, bytes(data)))
    found: set[uuid.UUID] = set()
    for (instance_id, stream), parts in pieces.items():
        if instance_id in found:
            continue
        data = b"".join(piece for _offset, piece in parts)
        at = data.lower().find(wanted)
        if at >= 0:
            found.add(instance_id)
            yield _match(instance_id, BOTH[stream - 1], parts[0][0], data, at, len(wanted))


def _match(instance_id: uuid.UUID, stream: Stream, begin: int, data: bytes, at: int, size: int) -> Match:
    end = at + size
    return Match(
        instance_id=instance_id,
        stream=stream,
        offset=begin + at,
        before=data[max(0, at - _BEFORE_BYTES) : at].rpartition(b"\n")[2],
        text=data[at:end],
        behind=data[end : end + _BEHIND_BYTES].partition(b"\n")[0],
    )
