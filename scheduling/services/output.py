"""Store what attempts print, in order and without a gap (I7, I13), and read it back."""

import heapq
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection, transaction
from django.db.models import Subquery
from django.db.models.functions import Coalesce

from agents.protocol.messages import Stream
from scheduling.models import OutputChunk, OutputStream, TaskInstance
from scheduling.services.lifecycle import AttemptKey

# An agent reports the end of an attempt before it sends the last of its output.
TAIL_SECS: Final = 2.0
STREAMS: Final[dict[str, OutputStream]] = {"stdout": OutputStream.STDOUT, "stderr": OutputStream.STDERR}
_STREAM_NAMES: Final[dict[int, Stream]] = {1: "stdout", 2: "stderr"}

_LOCK: Final = """
SELECT i.id, i.token, i.agent_id, i.stdout_bytes, i.stderr_bytes
FROM unnest(%(agent_ids)s::uuid[], %(instance_ids)s::uuid[], %(tokens)s::bigint[]) AS k(agent_id, id, token)
JOIN scheduling_taskinstance i ON i.id = k.id AND i.token = k.token AND i.agent_id = k.agent_id
ORDER BY i.id FOR NO KEY UPDATE OF i
"""
_INSERT: Final = """
INSERT INTO scheduling_outputchunk (instance_id, stream, "offset", data, at)
SELECT * FROM unnest(%(instance_ids)s::uuid[], %(streams)s::smallint[], %(offsets)s::bigint[],
                     %(data)s::bytea[], %(at)s::timestamptz[])
"""
_UPDATE: Final = """
UPDATE scheduling_taskinstance i SET stdout_bytes = c.stdout_bytes, stderr_bytes = c.stderr_bytes
FROM unnest(%(ids)s::uuid[], %(stdout)s::bigint[], %(stderr)s::bigint[]) AS c(id, stdout_bytes, stderr_bytes)
WHERE i.id = c.id
"""
_BEGINNINGS: Final = """
SELECT instance_id, substring(data FROM 1 FOR (%(limit)s - "offset")::int) FROM scheduling_outputchunk
WHERE instance_id = ANY(%(ids)s::uuid[]) AND "offset" < %(limit)s ORDER BY instance_id, id
"""
_PIECES: Final = """
SELECT piece.seq, piece.stream, GREATEST(piece.begin, %(begin)s),
       substring(chunk.data FROM (GREATEST(%(begin)s - piece.begin, 0) + 1)::int
                 FOR (LEAST(%(end)s, piece.begin + piece.size) - GREATEST(%(begin)s, piece.begin))::int),
       chunk.at
FROM (
    SELECT id, stream, octet_length(data) AS size, row_number() OVER w AS seq,
           sum(octet_length(data)) OVER w - octet_length(data) AS begin
    FROM scheduling_outputchunk WHERE instance_id = %(id)s AND stream = ANY(%(streams)s::int[])
    WINDOW w AS (ORDER BY id)
) piece JOIN scheduling_outputchunk chunk ON chunk.id = piece.id
WHERE piece.begin < %(end)s AND piece.begin + piece.size > %(begin)s
ORDER BY piece.seq
"""
APPENDED_CHUNK_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one stream of one attempt; `offset` in bytes, `at` by the database's clock."""

    key: AttemptKey
    stream: Stream
    offset: int
    data: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """How far each stream of the named attempts is stored, and the keys that were fenced off."""

    offsets: dict[tuple[uuid.UUID, Stream], int]
    stale: set[AttemptKey]


def store_output(chunks: Sequence[Chunk]) -> StoredOutput:
    """Store what follows on what is stored already; return the new ends, committed.

    Pieces may repeat, overlap and arrive in any order: bytes that are stored are passed over, and a piece
    that would leave a gap is not stored, which the sender sees from the returned end.
    """
    by_key: dict[AttemptKey, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        by_key[chunk.key].append(chunk)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _LOCK,
            {
                "agent_ids": [key.agent_id for key in by_key],
                "instance_ids": [key.instance_id for key in by_key],
                "tokens": [key.token for key in by_key],
            },
        )
        ends: dict[AttemptKey, dict[str, int]] = {
            AttemptKey(agent_id=agent_id, instance_id=instance_id, token=token): {
                "stdout": stdout_bytes,
                "stderr": stderr_bytes,
            }
            for instance_id, token, agent_id, stdout_bytes, stderr_bytes in cursor.fetchall()
        }
        fresh = [piece for key, end in ends.items() for piece in _contiguous(by_key[key], end)]
        if fresh:
            cursor.execute(
                _INSERT,
                {
                    "instance_ids": [piece.key.instance_id for piece in fresh],
                    "streams": [STREAMS[piece.stream].value for piece in fresh],
                    "offsets": [piece.offset for piece in fresh],
                    "data": [piece.data for piece in fresh],
                    "at": [piece.at for piece in fresh],
                },
            )
            cursor.execute(
                _UPDATE,
                {
                    "ids": [key.instance_id for key in ends],
                    "stdout": [end["stdout"] for end in ends.values()],
                    "stderr": [end["stderr"] for end in ends.values()],
                },
            )
    named = {(chunk.key, chunk.stream) for chunk in chunks if chunk.key in ends}
    return StoredOutput(
        offsets={(key.instance_id, stream): ends[key][stream] for key, stream in named},
        stale=by_key.keys() - ends.keys(),
    )


def read_output(*, instance: TaskInstance, stream: str, offset: int = 0, limit: int = 1024 * 1024) -> bytes:
    """Return at most `limit` bytes of one stream from byte `offset` on."""
    of_stream = OutputChunk.objects.filter(instance=instance, stream=STREAMS[stream])
    # The one that covers `offset`: many short ones may lie before it.
    first = of_stream.filter(offset__lte=offset).order_by("-offset").values("offset")[:1]
    chunks = (
        of_stream.filter(offset__gte=Coalesce(Subquery(first), 0), offset__lt=offset + limit)
        .order_by("offset")
        .values_list("offset", "data")
    )
    parts = []
    for begin, data in chunks.iterator(chunk_size=16):
        piece = bytes(data)[max(0, offset - begin) : max(0, offset + limit - begin)]
        parts.append(piece)
    return b"".join(parts)


def append_output(*, instance: TaskInstance, data: bytes, at: datetime) -> None:
    """Store `data` at the end of stdout, up to the task's cap.

    Runs in the caller's transaction, which must hold the row lock of the attempt and have loaded its task.
    """
    begin = instance.stdout_bytes
    room = max(0, int(instance.task.config["max_output_size"]) - begin - instance.stderr_bytes)
    kept = data[:room]
    OutputChunk.objects.bulk_create(
        OutputChunk(
            instance=instance,
            stream=OutputStream.STDOUT,
            offset=begin + start,
            data=kept[start : start + APPENDED_CHUNK_BYTES],
            at=at,
        )
        for start in range(0, len(kept), APPENDED_CHUNK_BYTES)
    )
    TaskInstance.objects.filter(pk=instance.pk).update(
        stdout_bytes=begin + len(kept),
        output_truncated=instance.output_truncated or len(kept) < len(data),
    )


def read_beginnings(instance_ids: Sequence[uuid.UUID], *, limit: int) -> dict[uuid.UUID, bytes]:
    """Return the first `limit` bytes of each attempt's output, both streams as they arrived."""
    if not instance_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_BEGINNINGS, {"ids": list(instance_ids), "limit": limit})
        parts: dict[uuid.UUID, list[bytes]] = defaultdict(list)
        for instance_id, data in cursor.fetchall():
            parts[instance_id].append(bytes(data))
    return {instance_id: b"".join(pieces)[:limit] for instance_id, pieces in parts.items()}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stored piece of output; `seq` counts an attempt's pieces from 1, of one stream or of both."""

    seq: int
    stream: Stream
    offset: int
    data: bytes
    at: datetime


def read_pieces(*, instance_id: uuid.UUID, stream: Stream | None, offset: int, limit: int) -> list[Piece]:
    """Return the pieces that hold bytes `offset` to `offset + limit` of one stream, cut to them.

    Without a stream the bytes are those of both, in the order in which they arrived.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _PIECES,
            {
                "id": instance_id,
                "streams": [STREAMS[stream].value] if stream else [s.value for s in OutputStream],
                "begin": offset,
                "end": offset + limit,
            },
        )
        return [
            Piece(seq=seq, stream=_STREAM_NAMES[number], offset=begin, data=bytes(data), at=at)
            for seq, number, begin, data, at in cursor.fetchall()
        ]


def _contiguous(chunks: list[Chunk], end: dict[str, int]) -> Iterator[Chunk]:
    """Yield the pieces that extend the stored streams, cut to what is new, and move `end` along."""
    for chunk in _in_order(chunks):
        stored = end[chunk.stream]
        if chunk.offset > stored or chunk.offset + len(chunk.data) <= stored:
            continue
        data = chunk.data[stored - chunk.offset :]
        end[chunk.stream] = stored + len(data)
        yield Chunk(key=chunk.key, stream=chunk.stream, offset=stored, data=data, at=chunk.at)


def _in_order(chunks: list[Chunk]) -> Iterator[Chunk]:
    """Yield the pieces of each stream by their offsets, and those of different streams as they arrived."""
    by_stream: dict[Stream, list[tuple[int, Chunk]]] = defaultdict(list)
    for arrival, chunk in sorted(enumerate(chunks), key=lambda item: item[1].offset):
        by_stream[chunk.stream].append((arrival, chunk))
    for _arrival, chunk in heapq.merge(*by_stream.values(), key=lambda item: item[0]):
        yield chunk
