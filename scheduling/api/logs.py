"""Output over HTTP: as it was printed, or as JSON lines, and while it is still being written."""

import asyncio
import codecs
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase

from agents.protocol.messages import Stream
from rest import kinds
from rest.controls import printable_json
from rest.fields import refuse
from rest.kinds import BadValue
from rest.rendering import JSONRenderer
from scheduling.clock import database_now
from scheduling.models import TaskInstance
from scheduling.services.output import STREAMS, TAIL_SECS, Piece, read_pieces
from scheduling.states import INSTANCE_LIVE

DEFAULT_LIMIT_BYTES: Final = 1024 * 1024
MAX_LIMIT_BYTES: Final = 8 * 1024 * 1024
FOLLOW_CHUNK_BYTES: Final = 256 * 1024
FOLLOW_POLL_SECS: Final = 0.5
_PARAMS: Final = ("stream", "offset", "limit", "follow", "format")
_STREAM: Final = kinds.choice(tuple(STREAMS))

T = TypeVar("T")


class JSONLinesRenderer(JSONRenderer):
    """Stands for JSON lines in content negotiation."""

    media_type = "application/x-ndjson"
    format = "jsonl"


class PlainTextRenderer(JSONRenderer):
    """Stands for plain text in content negotiation."""

    media_type = "text/plain"
    format = "txt"


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which bytes of which stream; both streams, in the order of arrival, where it is None."""

    stream: Stream | None
    offset: int
    limit: int
    follow: bool


def read_log_request(params: QueryDict) -> LogRequest:
    """Return what the parameters ask for; raise ValidationError."""
    errors = {name: "unknown parameter" for name in params if name not in _PARAMS}

    def read(name: str, reader: Callable[[str], T], default: T) -> T:
        try:
            return reader(str(params[name])) if name in params else default
        except BadValue as error:
            errors[name] = str(error)
            return default

    wanted = LogRequest(
        stream=read("stream", _STREAM.read_text, None),
        offset=read("offset", _from(0, 2**53), 0),
        limit=read("limit", _from(1, MAX_LIMIT_BYTES), DEFAULT_LIMIT_BYTES),
        follow=read("follow", kinds.BOOLEAN.read_text, False),
    )
    if errors:
        refuse(errors)
    return wanted


def log_response(instance: TaskInstance, wanted: LogRequest, *, as_text: bool) -> HttpResponseBase:
    """Answer the output of an attempt; with `follow`, until the attempt has ended."""
    render = _Text() if as_text else _Lines()
    name = "-".join(["task", str(instance.task_id), str(instance.attempt), *filter(None, [wanted.stream])])
    headers = {"Content-Disposition": f'inline; filename="{name}.{render.suffix}"'}
    if wanted.follow:
        return StreamingHttpResponse(
            _follow(instance.pk, wanted, render),
            content_type=render.content_type,
            headers={**headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
    pieces = read_pieces(
        instance_id=instance.pk, stream=wanted.stream, offset=wanted.offset, limit=wanted.limit
    )
    return HttpResponse(
        b"".join([*render(pieces), *render.end()]), content_type=render.content_type, headers=headers
    )


class _Text:
    """The bytes as they were printed."""

    content_type = "text/plain; charset=utf-8"
    suffix = "txt"

    def __call__(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece.data

    def end(self) -> Iterator[bytes]:
        return iter(())


class _Lines:
    """A JSON object for each stored piece; a character that is split between two comes with the second."""

    content_type = "application/x-ndjson"
    suffix = "jsonl"

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder(errors="replace") for name in STREAMS}
        self._last: dict[str, Piece] = {}

    def __call__(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            self._last[piece.stream] = piece
            yield self._line(piece, self._decoders[piece.stream].decode(piece.data))

    def end(self) -> Iterator[bytes]:
        """Yield what is left of characters that never came to their end."""
        for name, piece in self._last.items():
            rest = self._decoders[name].decode(b"", final=True)
            if rest:
                yield self._line(replace(piece, offset=piece.offset + len(piece.data)), rest)

    def _line(self, piece: Piece, text: str) -> bytes:
        line = {
            "seq": piece.seq,
            "stream": piece.stream,
            "offset": piece.offset,
            "at": piece.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "text": text,
        }
        return printable_json(line).encode() + b"\n"


async def _follow(instance_id: uuid.UUID, wanted: LogRequest, render: Any) -> AsyncIterator[bytes]:
    """Yield output as it is stored, until the attempt ended and all of it was sent."""
    offset = wanted.offset
    # The server sends its headers with the first of the body, which may be long in coming.
    yield b""
    while True:
        is_settled, pieces = await _in_thread(partial(_look, instance_id, wanted.stream, offset))
        for data in render(pieces):
            yield data
        offset += sum(len(piece.data) for piece in pieces)
        if pieces:
            continue
        if is_settled:
            break
        await asyncio.sleep(FOLLOW_POLL_SECS)
    for data in render.end():
        yield data


async def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` on a thread that gives its database connection back at once."""

    def call() -> T:
        try:
            return work()
        finally:
            close_old_connections()

    return await sync_to_async(call, thread_sensitive=False)()


def _look(instance_id: uuid.UUID, stream: Stream | None, offset: int) -> tuple[bool, list[Piece]]:
    """Return whether nothing more will come, then what came; in this order, lest something is missed."""
    instance = TaskInstance.objects.only("status", "by_hand", "completed_at").filter(pk=instance_id).first()
    is_settled = instance is None or _is_settled(instance)
    return is_settled, read_pieces(
        instance_id=instance_id, stream=stream, offset=offset, limit=FOLLOW_CHUNK_BYTES
    )


def _is_settled(instance: TaskInstance) -> bool:
    if instance.status in INSTANCE_LIVE or instance.completed_at is None:
        return False
    return instance.by_hand or database_now() > instance.completed_at + timedelta(seconds=TAIL_SECS)


def _from(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 19 and least <= int(text) <= most):
            raise BadValue(f"expected a whole number from {least} to {most}")
        return int(text)

    return read
