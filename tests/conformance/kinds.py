"""Kinds of values, and the words that the contract knows."""

import re
import uuid
from collections.abc import Callable
from typing import Any, Final

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")

Kind = Callable[[Any], bool]


def text(value: Any) -> bool:
    return isinstance(value, str)


def whole(value: Any) -> bool:
    return type(value) is int


def count(value: Any) -> bool:
    return type(value) is int and value >= 0


def number(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


def percent(value: Any) -> bool:
    return number(value) and value <= 100


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def instant(value: Any) -> bool:
    return isinstance(value, str) and _INSTANT.match(value) is not None


def any_uuid(value: Any) -> bool:
    return isinstance(value, str) and str(uuid.UUID(value)) == value


def uuid7(value: Any) -> bool:
    return any_uuid(value) and uuid.UUID(value).version == 7


def mapping(value: Any) -> bool:
    return isinstance(value, dict)


def anything(_value: Any) -> bool:
    return True


def list_of(value: Any) -> bool:
    return isinstance(value, list)


def strings(value: Any) -> bool:
    return isinstance(value, list) and all(map(text, value))


def string_map(value: Any) -> bool:
    return isinstance(value, dict) and all(map(text, value.values()))


def or_null(kind: Kind) -> Kind:
    def check_or_null(value: Any) -> bool:
        return value is None or kind(value)

    check_or_null.__name__ = f"{kind.__name__} or null"
    return check_or_null


def one_of(*values: str) -> Kind:
    def known(value: Any) -> bool:
        return value in values

    known.__name__ = " | ".join(values)
    return known


AGENT_STATUSES: Final = (
    "connecting",
    "online",
    "idle",
    "busy",
    "draining",
    "disconnecting",
    "offline",
    "error",
)
TASK_STATUSES: Final = (
    "pending",
    "locked",
    "dispatched",
    "running",
    "waiting_retry",
    "completed",
    "failed",
    "cancelled",
)
INSTANCE_STATUSES: Final = (
    "pending",
    "dispatched",
    "running",
    "completed",
    "failed",
    "cancelled",
    "timeout",
    "lost",
    "skipped",
    "paused",
)
SCHEDULE_KINDS: Final = ("cron", "interval", "once", "event", "daemon", "flow")
SCHEDULE_STATUSES: Final = ("enabled", "disabled", "expired")
COMMANDS: Final = ("bash", "sh", "python", "uv", "node", "npx", "cargo", "java", "exec")
