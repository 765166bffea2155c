"""Stored output for eyes: pages of it as JSON for the script that shows them, searches, and downloads."""

import json
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.http import HttpResponseBadRequest, JsonResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from agents.protocol.messages import Stream
from scheduling.admin import words
from scheduling.models import TaskInstance
from scheduling.services.output import read_output
from scheduling.services.searching import MAX_TEXT_BYTES, find
from scheduling.services.viewing import (
    BOTH,
    Page,
    Place,
    end_of,
    from_line_starts,
    place_at,
    place_of,
    read_page,
    read_page_before,
)

# So much of the output is sent at once; a browser lays that out without effort.
PAGE_BYTES: Final = 64 * 1024
# How far back the beginning of a line is looked for.
_LINE_BYTES: Final = 64 * 1024
_DOWNLOAD_PIECE_BYTES: Final = 1024 * 1024


class BadPlace(ValueError):
    """A query that names no place in an output."""


def output_page(attempt: TaskInstance, query: QueryDict) -> HttpResponseBase:
    """Answer a page of output: `after` or `before` a place, around a position (`at`) or a `line`, or the end.

    A page begins with a line of each stream, unless a line is longer than the page.
    """
    try:
        page, target = _asked_page(attempt, query, _streams(query))
    except BadPlace as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
    return JsonResponse(
        {
            "begin": page.begin.as_json(),
            "end": page.end.as_json(),
            "parts": [part.as_json() for part in page.parts],
            "target": target and target.as_json(),
            "size": end_of(attempt).as_json(),
            "is_live": attempt_is_live(attempt),
        }
    )


def found_text(attempt: TaskInstance, query: QueryDict) -> HttpResponseBase:
    """Answer where the text `q` is next, `after` a place or `before` it, or from where to go on looking."""
    text = query.get("q", "")
    try:
        if not 0 < len(text.encode()) <= MAX_TEXT_BYTES:
            raise BadPlace(f"q: expected 1 to {MAX_TEXT_BYTES} bytes of text")
        backwards = "before" in query
        begin = _place(query.get("before" if backwards else "after", ""))
        streams = _streams(query)
    except (BadPlace, UnicodeEncodeError) as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
    found = find(attempt, text, begin, backwards=backwards, streams=streams)
    return JsonResponse(
        {
            "place": found.place.as_json(),
            "found": {"stream": found.stream, "offset": found.offset} if found.stream else None,
            "is_over": found.is_over,
        }
    )


def download(attempt: TaskInstance, stream: Stream) -> StreamingHttpResponse:
    """Return a whole stream as a file of text; it is never all in memory."""
    response = StreamingHttpResponse(_pieces(attempt, stream), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = (
        f'attachment; filename="task-{attempt.task_id}-{attempt.attempt}-{stream}.txt"'
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


def viewer_of(attempt: TaskInstance) -> dict[str, Any]:
    """Return what the page needs to show an attempt's output."""
    base = f"{reverse('admin:scheduling_taskinstance_changelist')}{attempt.pk}/"
    return {
        "attempt": attempt,
        "element_id": f"output-{attempt.pk}",
        "is_live": attempt_is_live(attempt),
        "page_url": f"{base}output/",
        "find_url": f"{base}find/",
        "socket_path": f"/ws/admin/attempts/{attempt.pk}",
        "downloads": [
            {"stream": stream, "url": f"{base}{stream}.txt", "size": words.size(end_of(attempt).of(stream))}
            for stream in BOTH
        ],
        "texts": json.dumps(_texts()),
        "zone": timezone.get_current_timezone_name(),
    }


def _texts() -> dict[str, str]:
    """Return what the script says."""
    return {
        "failed": _("The output cannot be fetched at the moment."),
        "newLines": _("New lines: {n}"),
        "notFound": _("Not found."),
        "position": _("{position} of {size}"),
        "refused": _("You are not logged in any more, or may not see this attempt."),
        "searching": _("Searching: {n} %"),
    }


def attempt_is_live(attempt: TaskInstance) -> bool:
    """Return whether more output may come."""
    return attempt.completed_at is None


def _asked_page(
    attempt: TaskInstance, query: QueryDict, streams: Collection[Stream]
) -> tuple[Page, Place | None]:
    if "after" in query:
        return read_page(attempt.pk, _place(query.get("after", "")), limit=PAGE_BYTES, streams=streams), None
    if "before" in query:
        return _page_before(attempt, _place(query.get("before", "")), streams), None
    if "line" in query:
        stream, _dot, offset = query.get("line", "").partition(".")
        target = _line_place(attempt, _stream(stream), _number(offset))
        return _page_around(attempt, target, streams), target
    if "at" in query:
        target = _position_place(attempt, _number(query.get("at", "")), streams)
        return _page_around(attempt, target, streams), target
    return _page_before(attempt, end_of(attempt), streams), None


def _page_before(attempt: TaskInstance, end: Place, streams: Collection[Stream]) -> Page:
    page = read_page_before(attempt.pk, end, limit=PAGE_BYTES, streams=streams)
    return from_line_starts(page, streams=streams)


def _page_around(attempt: TaskInstance, middle: Place, streams: Collection[Stream]) -> Page:
    before = read_page_before(attempt.pk, middle, limit=PAGE_BYTES // 2, streams=streams)
    after = read_page(attempt.pk, middle, limit=PAGE_BYTES // 2, streams=streams)
    whole = Page(begin=before.begin, end=after.end, parts=before.parts + after.parts)
    # Of a stream that has nothing before the middle, what follows is not cut.
    cut = [stream for stream in streams if whole.begin.of(stream) < middle.of(stream)]
    return from_line_starts(whole, streams=cut)


def _position_place(attempt: TaskInstance, position: int, streams: Collection[Stream]) -> Place:
    """Return the place at a position in what is shown: of both streams, or of the one."""
    if len(streams) == len(BOTH):
        return place_at(attempt, position)
    (stream,) = streams
    return end_of(attempt).at(stream, min(position, end_of(attempt).of(stream)))


def _line_place(attempt: TaskInstance, stream: Stream, offset: int) -> Place:
    """Return the place at which the line begins that holds byte `offset` of a stream."""
    offset = min(offset, end_of(attempt).of(stream))
    begin = max(0, offset - _LINE_BYTES)
    before = read_output(instance=attempt, stream=stream, offset=begin, limit=offset - begin)
    newline = before.rfind(b"\n")
    return place_of(attempt, stream, offset if begin and newline < 0 else begin + newline + 1)


def _streams(query: QueryDict) -> Collection[Stream]:
    return (_stream(query.get("stream", "")),) if "stream" in query else BOTH


def _stream(text: str) -> Stream:
    for stream in BOTH:
        if text == stream:
            return stream
    raise BadPlace("expected stdout or stderr")


def _place(text: str) -> Place:
    """Return the place that is written as the bytes of stdout, a dot, and the bytes of stderr."""
    stdout, _dot, stderr = text.partition(".")
    return Place(stdout=_number(stdout), stderr=_number(stderr))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadPlace("expected whole numbers of bytes")
    return int(text)


async def _pieces(attempt: TaskInstance, stream: Stream) -> AsyncIterator[bytes]:
    offset, total = 0, end_of(attempt).of(stream)
    while offset < total:
        limit = min(_DOWNLOAD_PIECE_BYTES, total - offset)
        piece = await sync_to_async(read_output)(instance=attempt, stream=stream, offset=offset, limit=limit)
        if not piece:
            return
        yield piece
        offset += len(piece)
