"""The one gate for JSON from outside, for REST bodies and socket frames alike.

Python's own parser takes NaN, duplicate keys, lone surrogates, NUL characters and any depth; PostgreSQL
refuses most of them and a recursive consumer dies of the last. RFC 8259 leaves all of this to the
implementation; this one refuses it, with a reason a person can act on.
"""

import json
import re
from itertools import accumulate
from typing import Any, Final, NoReturn

from agents.protocol.version import MAX_DEPTH

JsonValue = dict[str, Any] | list[Any] | str | int | float | bool | None

# Possessive and with an optional closing quote: it always matches, so hostile text cannot make it backtrack.
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")
_STEP: Final = {"{": 1, "[": 1, "}": -1, "]": -1}
_MAX_INT_DIGITS: Final = 400


class StrictJsonError(ValueError):
    """The text is not JSON that Hetuflow accepts; `position` is the character where that shows, if at one."""

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


def parse_strict(text: str | bytes, *, max_depth: int = MAX_DEPTH) -> JsonValue:
    """Return the value that `text` holds.

    Raises StrictJsonError for invalid UTF-8 or JSON, NaN and infinities (also as `1e999`), duplicate
    keys, lone surrogates, NUL characters, and arrays or objects nested deeper than `max_depth`.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise StrictJsonError(f"not UTF-8 at byte {error.start}") from None
    _check_depth(text, max_depth)
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_bounded_int,
        )
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at character {error.pos}"
        raise StrictJsonError(message, position=error.pos) from None
    except RecursionError:
        raise StrictJsonError(f"nested deeper than {max_depth}") from None
    # Escapes are the only way in for both, so texts without a \u0000 or \ud8xx never pay for the walk.
    if "\\u0000" in text or "\\ud" in text or "\\uD" in text:
        _check_strings(value)
    return value


def _check_depth(text: str, max_depth: int) -> None:
    """Raise StrictJsonError where brackets outside strings nest deeper than `max_depth`."""
    if text.count("{") + text.count("[") <= max_depth:
        return
    brackets = _BRACKET.findall(_STRING.sub("", text))
    if max(accumulate(_STEP[bracket] for bracket in brackets), default=0) > max_depth:
        raise StrictJsonError(f"nested deeper than {max_depth}")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise StrictJsonError(f"duplicate key {key[:80]!r}")
            seen.add(key)
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise StrictJsonError(f"number out of range: {text[:40]}")
    return number


def _bounded_int(text: str) -> int:
    # int() of a long literal is quadratic, and raises a ValueError of its own past 4,300 digits.
    if len(text) > _MAX_INT_DIGITS:
        raise StrictJsonError(f"number out of range: {text[:40]}")
    return int(text)


def _check_strings(value: JsonValue) -> None:
    """Raise StrictJsonError for a NUL or a lone surrogate in any key or string of `value`."""
    if isinstance(value, str):
        if "\x00" in value:
            raise StrictJsonError("a string holds the character NUL")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StrictJsonError("a string holds a lone surrogate") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key)
            _check_strings(item)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item)
