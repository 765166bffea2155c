"""Find text in an attempt's output, a bounded step at a time; whoever asks goes on from where it ended."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from agents.protocol.messages import Stream
from scheduling.models import TaskInstance
from scheduling.services.output import read_output
from scheduling.services.viewing import BOTH, Page, Place, end_of, read_page, read_page_before

PAGE_BYTES: Final = 1024 * 1024
STEP_BYTES: Final = 8 * PAGE_BYTES
STEP_SECS: Final = 0.5
MAX_TEXT_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Found:
    """Where the text begins, or where the next step goes on; `is_over` when nothing is left to look at."""

    place: Place
    stream: Stream | None = None
    offset: int = 0
    is_over: bool = False


def find(
    instance: TaskInstance,
    text: str,
    begin: Place,
    *,
    backwards: bool = False,
    streams: Collection[Stream] = BOTH,
) -> Found:
    """Look for `text` from a place on, or from there back; small and capital letters of ASCII are the same.

    A match begins behind the place, and may reach over the end of a page. Colours within it hide it.
    """
    wanted = text.encode().lower()
    place, looked_at = begin, 0
    stop_at = time.monotonic() + STEP_SECS
    while looked_at < STEP_BYTES and time.monotonic() < stop_at:
        read = read_page_before if backwards else read_page
        page = read(instance.pk, place, limit=PAGE_BYTES, streams=streams)
        if not page.parts:
            return Found(place=Place() if backwards else end_of(instance), is_over=True)
        place = page.begin if backwards else page.end
        match = _match_in(instance, page, wanted, backwards=backwards)
        if match is not None:
            stream, offset = match
            return Found(place=place, stream=stream, offset=offset)
        looked_at += page.end.total - page.begin.total
    return Found(place=place)


def _match_in(
    instance: TaskInstance, page: Page, wanted: bytes, *, backwards: bool
) -> tuple[Stream, int] | None:
    """Return the stream and the offset of the first match that begins in a page, or of the last one."""
    matches = []
    for stream in {part.stream for part in page.parts}:
        begin, end = page.begin.of(stream), page.end.of(stream)
        data = b"".join(part.data for part in page.parts if part.stream == stream)
        data += read_output(instance=instance, stream=stream, offset=end, limit=len(wanted) - 1)
        found = (data.lower().rfind if backwards else data.lower().find)(wanted)
        if found >= 0:
            matches.append((_number_of_part(page, stream, begin + found), begin + found, stream))
    if not matches:
        return None
    _number, offset, stream = (max if backwards else min)(matches)
    return stream, offset


def _number_of_part(page: Page, stream: Stream, offset: int) -> int:
    return next(
        number
        for number, part in enumerate(page.parts)
        if part.stream == stream and part.offset <= offset < part.end
    )
