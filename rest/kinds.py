"""Kinds of values that queries compare: how each is read, strictly, and which operators make sense."""

import json
import re
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

MAX_TEXT_CHARS: Final = 1000
MAX_LIST_ITEMS: Final = 500
MAX_SECONDS: Final = 1e9
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)

_EQUALITY: Final = frozenset({"eq", "ne", "in", "not_in", "is_null"})
_ORDER: Final = frozenset({"gt", "gte", "lt", "lte"})
_TEXT: Final = frozenset({"contains", "icontains", "startswith", "endswith"})
OPERATORS: Final = _EQUALITY | _ORDER | _TEXT
# RFC 3339, with a space for the T as it allows, and without seconds as forms in browsers send it.
_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)([Zz]|[+ -]\d\d:\d\d)\Z", re.ASCII
)
_DIGITS: Final = re.compile(r"-?[0-9]{1,19}\Z")


class BadValue(ValueError):
    """A value is not of the kind that the field has; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `read` takes a JSON value and `read_text` the text of a query parameter; both raise BadValue.

    `read_part` reads what `contains` and its like compare with; `schema` is for the OpenAPI document.
    """

    name: str
    operators: frozenset[str]
    read: Callable[[Any], Any]
    read_text: Callable[[str], Any]
    schema: dict[str, Any]


def read_instant(value: object) -> datetime:
    """Return an RFC 3339 time with its offset as aware UTC; raise BadValue."""
    expected = "expected a time with its offset, such as 2026-01-02T03:04:05Z"
    if not isinstance(value, str) or len(value) > 64:
        raise BadValue(expected)
    found = _INSTANT.match(value)
    if found is None:
        raise BadValue(expected)
    date, time, offset = found.groups()
    try:
        # A plus sign in a query string arrives as a space.
        instant = datetime.fromisoformat(f"{date}T{time}{offset.upper().replace(' ', '+')}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValue(expected) from None
    if not EARLIEST <= instant < LATEST:
        raise BadValue(f"expected a time between the years {EARLIEST.year} and {LATEST.year}")
    return instant


def read_text(value: object) -> str:
    """Return a string of a bearable length without NUL; raise BadValue."""
    if not isinstance(value, str) or "\x00" in value or len(value) > MAX_TEXT_CHARS:
        raise BadValue(f"expected a string of at most {MAX_TEXT_CHARS} characters")
    return value


def read_integer(value: object) -> int:
    """Return a whole number that fits the database's; raise BadValue."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise BadValue("expected a whole number")
    return value


def read_boolean(value: object) -> bool:
    """Return true or false; raise BadValue."""
    if not isinstance(value, bool):
        raise BadValue("expected true or false")
    return value


def read_uuid(value: object) -> uuid.UUID:
    """Return a UUID; raise BadValue."""
    try:
        if isinstance(value, str) and len(value) <= 45:
            return uuid.UUID(value)
    except ValueError:
        pass
    raise BadValue("expected a UUID")


def choice(values: Collection[str]) -> Kind:
    """Return the kind of fields that hold one of `values`."""
    expected = "expected one of " + ", ".join(values)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in values:
            raise BadValue(expected)
        return str(value)

    return Kind("choice", _EQUALITY | _TEXT, read, read, {"type": "string", "enum": list(values)})


def _read_integer_text(value: str) -> int:
    if not _DIGITS.match(value):
        raise BadValue("expected a whole number")
    return read_integer(int(value))


def _read_boolean_text(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise BadValue("expected true or false")
    return value.lower() in ("true", "1")


def _read_labels(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_LIST_ITEMS:
        raise BadValue('expected an object of strings such as {"env": "prod"}')
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise BadValue('expected an object of strings such as {"env": "prod"}')
        read_text(name)
        read_text(text)
    return value


def _read_labels_text(value: str) -> dict[str, str]:
    if value.startswith("{"):
        try:
            return _read_labels(json.loads(value))
        except (ValueError, RecursionError):
            raise BadValue('expected env=prod,zone=a or {"env": "prod"}') from None
    pairs = [pair.partition("=") for pair in value.split(",") if pair]
    if not all(separator for _, separator, _ in pairs):
        raise BadValue("expected names and values such as env=prod,zone=a")
    return _read_labels({name: text for name, _, text in pairs})


def _read_tags(value: object) -> list[str]:
    if isinstance(value, list) and len(value) <= MAX_LIST_ITEMS:
        return [read_text(tag) for tag in value]
    return [read_text(value)]


def _read_seconds(value: object) -> timedelta:
    if type(value) not in (int, float) or not 0 <= value <= MAX_SECONDS:  # type: ignore[operator]
        raise BadValue(f"expected a number of seconds from 0 to {MAX_SECONDS:.0f}")
    return timedelta(seconds=value)  # type: ignore[arg-type]


def _read_seconds_text(value: str) -> timedelta:
    return _read_seconds(_read_integer_text(value))


TEXT: Final = Kind("text", OPERATORS, read_text, read_text, {"type": "string"})
INTEGER: Final = Kind(
    "integer", _EQUALITY | _ORDER, read_integer, _read_integer_text, {"type": "integer", "format": "int64"}
)
SECONDS: Final = Kind("seconds", _EQUALITY | _ORDER, _read_seconds, _read_seconds_text, {"type": "number"})
BOOLEAN: Final = Kind("boolean", _EQUALITY, read_boolean, _read_boolean_text, {"type": "boolean"})
UUID: Final = Kind("uuid", _EQUALITY | _ORDER, read_uuid, read_uuid, {"type": "string", "format": "uuid"})
INSTANT: Final = Kind(
    "instant", _EQUALITY | _ORDER, read_instant, read_instant, {"type": "string", "format": "date-time"}
)
# Containment: the row carries at least these.
LABELS: Final = Kind("labels", frozenset({"contains"}), _read_labels, _read_labels_text, {"type": "object"})
TAGS: Final = Kind(
    "tags",
    frozenset({"contains"}),
    _read_tags,
    lambda value: _read_tags(value.split(",")),
    {"type": "string"},
)
