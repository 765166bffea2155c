"""Store what attempts print, in order and without a gap (I7, I13), and read it back."""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection, transaction

from agents.protocol.messages import Stream
from scheduling.models import OutputChunk, OutputStream, TaskInstance
from scheduling.services.lifecycle import AttemptKey

STREAMS: Final[dict[str, OutputStream]] = {"stdout": OutputStream.STDOUT, "stderr": OutputStream.STDERR}

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
    chunks = (
        OutputChunk.objects.filter(
            instance=instance,
            stream=STREAMS[stream],
            # No piece is longer than a frame, so one that covers `offset` begins less than a frame before it.
            offset__gt=offset - 1024 * 1024,
            offset__lt=offset + limit,
        )
        .order_by("offset")
        .values_list("offset", "data")
    )
    parts = []
    for begin, data in chunks.iterator(chunk_size=16):
        piece = bytes(data)[max(0, offset - begin) : max(0, offset + limit - begin)]
        parts.append(piece)
    return b"".join(parts)


def _contiguous(chunks: list[Chunk], end: dict[str, int]) -> Iterator[Chunk]:
    """Yield the pieces that extend the stored streams, cut to what is new, and move `end` along."""
    for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
        stored = end[chunk.stream]
        if chunk.offset > stored or chunk.offset + len(chunk.data) <= stored:
            continue
        data = chunk.data[stored - chunk.offset :]
        end[chunk.stream] = stored + len(data)
        yield Chunk(key=chunk.key, stream=chunk.stream, offset=stored, data=data, at=chunk.at)
