"""Characters that are obeyed instead of shown: a terminal's controls, and those that turn a line around.

Output, names and messages come from machines. An escape sequence in them could act on the terminal of whoever
prints an answer, and a right-to-left override makes a line read as what it is not.
"""

import json
import re
from typing import Any, Final

# Overrides, embeddings, isolates and marks; text in a right-to-left script is read without any of them.
_DIRECTIONS: Final = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN: Final[dict[int, str]] = {
    # Unicode has pictures of ASCII's controls: ␛ for Escape, ␇ for the bell. Tabs and ends of lines stay.
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **{code: f"[U+{code:04X}]" for code in (*range(0x80, 0xA0), *_DIRECTIONS)},
}
# The same in UTF-8, but for what JSON escapes by itself.
_IN_JSON: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]",
)


def visible(text: str) -> str:
    """Return `text` for a page: with its controls as marks that one sees."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_SHOWN)


def printable(document: bytes) -> bytes:
    """Return a JSON document with its controls escaped; to a program it says the same."""
    if document.isascii() and b"\x7f" not in document:
        return document
    return _IN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), document)


def printable_json(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON that people read: other scripts as they are, controls escaped."""
    return printable(json.dumps(value, ensure_ascii=False, indent=indent).encode()).decode()
