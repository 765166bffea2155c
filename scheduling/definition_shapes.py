"""The shapes of what a file of definitions holds, as JSON Schema; what values mean, the services judge."""

from typing import Any, Final

from scheduling.kinds import CalendarPolicy, DaylightGap, DaylightOverlap, IntervalMode, ScheduleKind

Shape = dict[str, Any]

_NAME: Final[Shape] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"}
_TEXT: Final[Shape] = {"type": "string", "maxLength": 65_536}
_FLAG: Final[Shape] = {"type": "boolean"}
_OBJECT: Final[Shape] = {"type": "object"}
_STRINGS: Final[Shape] = {"type": "object", "additionalProperties": {"type": "string"}}
_LIST_OF_OBJECTS: Final[Shape] = {"type": "array", "maxItems": 1000, "items": _OBJECT}
_INSTANT: Final[Shape] = {"type": ["string", "null"], "format": "date-time"}


def _object(required: list[str], **properties: Shape) -> Shape:
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": properties,
    }


def _number(least: int) -> Shape:
    return {"type": "integer", "minimum": least, "maximum": 2**31 - 1}


def _or_null(shape: Shape) -> Shape:
    return {**shape, "type": [shape["type"], "null"]}


def _one_of(values: list[str], *, nullable: bool = False) -> Shape:
    return {"enum": [*values, None] if nullable else list(values)}


SCHEDULE: Final = _object(
    ["kind"],
    name={"type": "string", "maxLength": 255},
    description=_TEXT,
    kind=_one_of(ScheduleKind.values),
    cron_expression=_or_null(_TEXT),
    interval_secs=_or_null(_number(1)),
    timezone={"type": "string", "maxLength": 64},
    start_time=_INSTANT,
    end_time=_INSTANT,
    max_count=_or_null(_number(1)),
    jitter_secs=_number(0),
    dst_gap=_one_of(DaylightGap.values, nullable=True),
    dst_overlap=_one_of(DaylightOverlap.values, nullable=True),
    interval_mode=_one_of(IntervalMode.values),
    calendar=_or_null(_NAME),
    calendar_policy=_one_of(CalendarPolicy.values),
    parameters=_OBJECT,
    pause_after_failures=_or_null(_number(1)),
    catch_up_secs=_or_null(_number(0)),
    enabled=_FLAG,
)
JOB: Final = _object(
    ["name", "config"],
    namespace=_NAME,
    name=_NAME,
    description=_TEXT,
    command=_TEXT,
    environment=_STRINGS,
    config=_OBJECT,
    parameters_schema=_or_null(_OBJECT),
    enabled=_FLAG,
    tags={"type": "array", "maxItems": 100, "items": _NAME},
    schedules={"type": "array", "maxItems": 1000, "items": SCHEDULE},
)
CALENDAR: Final = _object(
    ["name"],
    namespace=_NAME,
    name=_NAME,
    description=_TEXT,
    country={"type": "string", "maxLength": 8},
    subdivision={"type": "string", "maxLength": 16},
    dates=_LIST_OF_OBJECTS,
    ics={"type": "string", "maxLength": 512 * 1024},
    windows=_LIST_OF_OBJECTS,
    blackouts=_LIST_OF_OBJECTS,
)
