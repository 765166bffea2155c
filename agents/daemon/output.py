"""Send what attempts print, by byte offset, as far as the server's credit reaches."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from agents.daemon import spool
from agents.daemon.attempts import HeldAttempt
from agents.protocol.messages import OutputChunk, OutputOffsets, Stream

# Half of what the server allows unanswered: base64 makes four bytes of three, and reports need room as well.
WINDOW_BYTES: Final = 384 * 1024
MAX_CHUNKS_PER_FRAME: Final = 500
_CHUNK_OVERHEAD_BYTES: Final = 200


@dataclass(slots=True)
class _Cursor:
    """How far one stream of an attempt is sent and stored."""

    attempt: HeldAttempt
    stream: Stream
    sent: int = 0
    stored: int = 0

    @property
    def unsent(self) -> int:
        return self.attempt.sizes[self.stream] - self.sent


class OutputSender:
    """The streams of all attempts in hand; those with something to send take turns."""

    def __init__(self) -> None:
        self._cursors: dict[tuple[UUID, Stream], _Cursor] = {}
        self._waiting: dict[tuple[UUID, Stream], None] = {}
        self._in_flight: dict[str, tuple[int, list[_Cursor]]] = {}

    @property
    def has_next(self) -> bool:
        """Whether there is something to send and credit for it."""
        return bool(self._waiting) and self._unanswered < WINDOW_BYTES

    @property
    def _unanswered(self) -> int:
        return sum(size for size, _ in self._in_flight.values())

    def note(self, attempt: HeldAttempt) -> None:
        """Look at how much there is to send of an attempt."""
        for name in spool.STREAMS:
            if attempt.sizes[name]:
                cursor = self._cursors.setdefault((attempt.instance_id, name), _Cursor(attempt, name))
                self._queue(cursor)

    def take(self, frame_id: str, *, max_bytes: int) -> list[OutputChunk]:
        """Return the pieces that the frame `frame_id` carries, together at most `max_bytes` of output."""
        chunks: list[OutputChunk] = []
        cursors: list[_Cursor] = []
        room = max_bytes
        now_ms = time.time_ns() // 1_000_000
        while self._waiting and room > 0 and len(chunks) < MAX_CHUNKS_PER_FRAME:
            key = next(iter(self._waiting))
            del self._waiting[key]
            cursor = self._cursors[key]
            data = self._read(cursor, min(room, cursor.unsent))
            if not data:
                continue
            chunks.append(
                OutputChunk(
                    instance_id=cursor.attempt.instance_id,
                    token=cursor.attempt.token,
                    stream=cursor.stream,
                    offset=cursor.sent,
                    data=data,
                    at_ms=now_ms,
                )
            )
            cursor.sent += len(data)
            cursors.append(cursor)
            room -= len(data) + _CHUNK_OVERHEAD_BYTES
            self._queue(cursor)
        if chunks:
            size = sum(len(chunk.data) * 4 // 3 + _CHUNK_OVERHEAD_BYTES for chunk in chunks)
            self._in_flight[frame_id] = (size, cursors)
        return chunks

    def acknowledge(self, frame_id: str, stored: dict[tuple[UUID, Stream], int]) -> list[HeldAttempt]:
        """Move on to what the server has stored; return the attempts that the frame carried output of."""
        _, cursors = self._in_flight.pop(frame_id, (0, []))
        for key, offset in stored.items():
            cursor = self._cursors.get(key)
            if cursor is not None:
                cursor.stored = max(cursor.stored, offset)
        still_on_their_way = {id(cursor) for _, others in self._in_flight.values() for cursor in others}
        for cursor in cursors:
            if cursor.stored < cursor.sent and id(cursor) not in still_on_their_way:
                cursor.sent = cursor.stored  # something was lost on the way
                self._queue(cursor)
        return [cursor.attempt for cursor in cursors]

    def refuse(self, frame_id: str) -> list[HeldAttempt]:
        """Give up the pieces of a refused frame, so that the rest goes on; return their attempts."""
        _, cursors = self._in_flight.pop(frame_id, (0, []))
        for cursor in cursors:
            cursor.stored = cursor.sent
        return [cursor.attempt for cursor in cursors]

    def is_stored(self, attempt: HeldAttempt) -> bool:
        """Whether the server has all that the attempt printed so far."""
        return all(cursor.stored >= attempt.sizes[cursor.stream] for cursor in self._of(attempt))

    def resume(self, attempt: HeldAttempt, offsets: OutputOffsets) -> None:
        """Go on from what the server says it has stored."""
        self.note(attempt)
        for cursor in self._of(attempt):
            cursor.stored = getattr(offsets, cursor.stream)
            cursor.sent = min(cursor.stored, attempt.sizes[cursor.stream])
            self._queue(cursor)

    def forget(self, attempt: HeldAttempt) -> None:
        """Stop sending output of an attempt."""
        for name in spool.STREAMS:
            key = (attempt.instance_id, name)
            self._cursors.pop(key, None)
            self._waiting.pop(key, None)

    def requeue(self) -> None:
        """The connection is a new one: whatever was unanswered was lost."""
        self._in_flight.clear()
        for cursor in self._cursors.values():
            cursor.sent = cursor.stored
            self._queue(cursor)

    def _of(self, attempt: HeldAttempt) -> Iterator[_Cursor]:
        for name in spool.STREAMS:
            cursor = self._cursors.get((attempt.instance_id, name))
            if cursor is not None:
                yield cursor

    def _queue(self, cursor: _Cursor) -> None:
        if cursor.unsent > 0:
            self._waiting.setdefault((cursor.attempt.instance_id, cursor.stream))

    def _read(self, cursor: _Cursor, limit: int) -> bytes:
        try:
            return spool.read_output(cursor.attempt.folder, cursor.stream, cursor.sent, limit)
        except OSError:
            return b""
