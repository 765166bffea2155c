"""Stored output for eyes: a bounded piece as text, the rest by links, the whole as a download."""

import codecs
from collections.abc import AsyncIterator
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from rest.controls import visible
from scheduling.admin import words
from scheduling.models import TaskInstance
from scheduling.services.output import read_output

# So much of a stream is on the page at once; a browser lays that out without effort.
PAGE_BYTES: Final = 64 * 1024
_DOWNLOAD_PIECE_BYTES: Final = 1024 * 1024
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def page_of(attempt: TaskInstance, stream: str, begin: str | None) -> dict[str, Any]:
    """Return the piece of a stream that the page shows: from byte `begin` on, by default the end of it."""
    total = _stored_bytes(attempt, stream)
    start = min(_offset(begin), total) if begin is not None else max(0, total - PAGE_BYTES)
    data = read_output(instance=attempt, stream=stream, offset=start, limit=PAGE_BYTES)
    end = start + len(data)
    skipped = _continuation_bytes(data) if start else 0
    is_tail = end >= total
    text, kept = _decode(data[skipped:], is_final=not is_tail or not attempt_is_live(attempt))
    return {
        "name": stream,
        "text": visible(text),
        "start": start,
        "end": start + skipped + kept,
        "total": words.size(total),
        "is_empty": total == 0,
        "is_tail": is_tail,
        "is_partial": start > 0 or end < total,
        "before": max(0, start - PAGE_BYTES) if start > 0 else None,
        "after": end if end < total else None,
        "range": f"{words.size(start)} - {words.size(end)}",
    }


def tail_of(attempt: TaskInstance, stream: str, begin: str | None, *, is_live: bool) -> dict[str, Any]:
    """Return what follows byte `begin`, at most a page, and the offset to ask from next time.

    A character whose last bytes are not there yet is left for the next time, as long as the attempt lives.
    """
    start = min(_offset(begin), _stored_bytes(attempt, stream))
    data = read_output(instance=attempt, stream=stream, offset=start, limit=PAGE_BYTES)
    has_all = start + len(data) >= _stored_bytes(attempt, stream)
    text, kept = _decode(data, is_final=has_all and not is_live)
    return {"text": visible(text), "next": start + kept, "has_more": not has_all}


def download(attempt: TaskInstance, stream: str) -> StreamingHttpResponse:
    """Return a whole stream as a file of text; it is never all in memory."""
    response = StreamingHttpResponse(_pieces(attempt, stream), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = (
        f'attachment; filename="task-{attempt.task_id}-{attempt.attempt}-{stream}.txt"'
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


def attempt_is_live(attempt: TaskInstance) -> bool:
    """Return whether more output may come."""
    return attempt.completed_at is None


async def _pieces(attempt: TaskInstance, stream: str) -> AsyncIterator[bytes]:
    offset, total = 0, _stored_bytes(attempt, stream)
    while offset < total:
        limit = min(_DOWNLOAD_PIECE_BYTES, total - offset)
        piece = await sync_to_async(read_output)(instance=attempt, stream=stream, offset=offset, limit=limit)
        if not piece:
            return
        yield piece
        offset += len(piece)


def _stored_bytes(attempt: TaskInstance, stream: str) -> int:
    return attempt.stdout_bytes if stream == "stdout" else attempt.stderr_bytes


def _offset(text: str | None) -> int:
    """Return the byte offset in a query string; nonsense counts as 0."""
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= 18
    return int(text or 0) if is_number else 0


def _continuation_bytes(data: bytes) -> int:
    """Return how many bytes at the beginning belong to a character that begins before them."""
    count = 0
    while count < min(3, len(data)) and data[count] & 0xC0 == 0x80:
        count += 1
    return count


def _decode(data: bytes, *, is_final: bool) -> tuple[str, int]:
    """Return `data` as text, and how many of its bytes that took; NUL and invalid bytes are replaced."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=is_final)
    pending, _flag = decoder.getstate()
    return text.replace("\x00", _REPLACEMENT), len(data) - len(pending)
