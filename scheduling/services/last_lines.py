"""The last line that an attempt printed: what one reads first of a failure."""

import re
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from django.db import connection

# The end of a stream in which the line is looked for: so many pieces, and bytes of each.
_PIECES: Final = 3
_PIECE_BYTES: Final = 2048
_MAX_CHARS: Final = 300
# Colours and movements of a terminal: ESC [ parameters letter. Other controls are left for the page to show.
SEQUENCES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

_ENDS: Final = """
SELECT attempt.id, stream.number, piece.id, piece.data, piece.is_cut
FROM unnest(%(ids)s::uuid[]) AS attempt(id), unnest(ARRAY[1, 2]) AS stream(number), LATERAL (
    SELECT c.id, c."offset", substring(c.data FROM greatest(octet_length(c.data) - %(bytes)s + 1, 1)) AS data,
           octet_length(c.data) > %(bytes)s AS is_cut
    FROM scheduling_outputchunk c WHERE c.instance_id = attempt.id AND c.stream = stream.number
    ORDER BY c."offset" DESC LIMIT %(pieces)s
) piece
ORDER BY attempt.id, stream.number, piece."offset"
"""


def last_lines(instance_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the last line that is not empty of each attempt that printed any; one statement.

    Of both streams, it is of the one that arrived last; without colours, cut after some hundred characters.
    """
    if not instance_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_ENDS, {"ids": list(instance_ids), "pieces": _PIECES, "bytes": _PIECE_BYTES})
        rows = cursor.fetchall()
    ends: dict[uuid.UUID, dict[int, tuple[int, bytes]]] = defaultdict(dict)
    for instance_id, stream, piece_id, data, is_cut in rows:
        _before, text = ends[instance_id].get(stream, (0, b""))
        ends[instance_id][stream] = (piece_id, bytes(data) if is_cut else text + bytes(data))
    found = {}
    for instance_id, streams in ends.items():
        newest_first = sorted(streams.values(), key=lambda end: end[0], reverse=True)
        lines = (last_line(text) for _piece_id, text in newest_first)
        if line := next(filter(None, lines), ""):
            found[instance_id] = line
    return found


def last_line(data: bytes) -> str:
    """Return the last line of `data` that is not empty, of one that was overwritten what stayed."""
    text = SEQUENCES.sub("", data.decode("utf-8", "replace")).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    for line in reversed(text.split("\n")):
        shown = next((part for part in reversed(line.split("\r")) if part.strip()), "")
        if shown:
            return shown.strip()[:_MAX_CHARS]
    return ""
