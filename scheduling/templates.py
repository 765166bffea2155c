"""Templates in a schedule's parameters (pure): `{{ business_date }}`, `{{ scheduled_at | format("%F") }}`.

Jinja2's sandbox, with the few names below and no loops worth the name: what a parameter may become is small.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from access.sentences import said as _
from scheduling.calendars import NO_CALENDAR, CalendarRules

MAX_TEMPLATE_CHARS: Final = 2000
MAX_RENDERED_CHARS: Final = 10_000
EXAMPLE: Final = _('an example that works: {{ business_date | format("%Y-%m-%d") }}')
# Whatever repeats, multiplies or pads could take all the memory there is; parameters need none of it.
_REFUSED: Final = (
    nodes.For,
    nodes.Macro,
    nodes.CallBlock,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Pow,
    nodes.Mul,
    nodes.Mod,
)
_FILTERS: Final = frozenset({"upper", "lower", "default", "int", "string", "trim", "format"})
_PATTERN: Final = re.compile(r"(?:[^%]|%-?[A-Za-z%])*\Z")


class BadTemplate(ValueError):
    """A template is refused; the message says why, and gives an example that works."""

    def __init__(self, message: str) -> None:
        super().__init__(_("%(problem)s; %(example)s", problem=message, example=EXAMPLE))


@dataclass(frozen=True, slots=True)
class Moment:
    """What the templates of one planned instant speak of."""

    scheduled_at: datetime
    zone: ZoneInfo
    calendar: CalendarRules = NO_CALENDAR
    previous_at: datetime | None = None

    def names(self) -> dict[str, Any]:
        """Return the names that templates may use."""
        local = self.scheduled_at.astimezone(self.zone)
        previous = None if self.previous_at is None else self.previous_at.astimezone(self.zone)
        return {
            "scheduled_at": local,
            "previous_scheduled_at": previous,
            "date": local.date(),
            "business_date": self.calendar.business_day(local.date()),
            "calendar": self.calendar,
            "days": lambda number: timedelta(days=_whole(number)),
            "hours": lambda number: timedelta(hours=_whole(number)),
        }


def render_parameters(parameters: Mapping[str, Any], moment: Moment) -> dict[str, Any]:
    """Return parameters with the templates in their strings rendered; raise BadTemplate."""
    if not has_templates(parameters):
        return dict(parameters)
    names = moment.names()
    calendar: CalendarRules = names.pop("calendar")
    names["business_day"] = lambda day, offset=0: calendar.business_day(_day(day), _whole(offset))
    names["is_business_day"] = lambda day: calendar.is_business_day(_day(day))
    return {name: _rendered(value, names) for name, value in parameters.items()}


def has_templates(value: Any) -> bool:
    """Whether there is anything to render."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(has_templates(each) for each in value.values())
    return isinstance(value, list) and any(has_templates(each) for each in value)


def _rendered(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and has_templates(value):
        try:
            text = _compiled(value).render(names)
        except BadTemplate:
            raise
        except (TemplateError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
            raise BadTemplate(
                _("%(value)s cannot be rendered: %(problem)s", value=repr(value[:80]), problem=error)
            ) from None
        if len(text) > MAX_RENDERED_CHARS:
            raise BadTemplate(
                _(
                    "%(value)s renders more than %(most)s characters",
                    value=repr(value[:80]),
                    most=MAX_RENDERED_CHARS,
                )
            )
        return text
    if isinstance(value, Mapping):
        return {name: _rendered(each, names) for name, each in value.items()}
    if isinstance(value, list):
        return [_rendered(each, names) for each in value]
    return value


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Any:
    if len(text) > MAX_TEMPLATE_CHARS:
        raise BadTemplate(_("a template is longer than %(most)s characters", most=MAX_TEMPLATE_CHARS))
    try:
        tree = _ENVIRONMENT.parse(text)
    except TemplateError as error:
        raise BadTemplate(
            _("%(text)s is no template: %(problem)s", text=repr(text[:80]), problem=error)
        ) from None
    for node in tree.find_all(nodes.Node):
        if isinstance(node, _REFUSED):
            raise BadTemplate(_("%(name)s is not allowed in a parameter", name=type(node).__name__.lower()))
        if isinstance(node, nodes.Call) and not isinstance(node.node, nodes.Name):
            raise BadTemplate(_("methods are not called in a parameter"))
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise BadTemplate(
                _(
                    "%(name)s is not one of the filters %(filters)s",
                    name=repr(node.name),
                    filters=", ".join(sorted(_FILTERS)),
                )
            )
    return _ENVIRONMENT.from_string(text)


def _format(value: Any, pattern: str = "%Y-%m-%dT%H:%M:%S%z") -> str:
    if not isinstance(value, date) or len(pattern) > 200 or not _PATTERN.match(pattern):
        raise BadTemplate(_("format takes a time or a day, and a pattern such as %Y%m%d"))
    return value.strftime(pattern)


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    raise BadTemplate(_("expected a day, such as date or business_date"))


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) > 3660:
        raise BadTemplate(_("expected a whole number of at most 3660"))
    return value


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.globals.clear()
    environment.filters = {name: each for name, each in environment.filters.items() if name in _FILTERS}
    environment.filters["format"] = _format
    return environment


_ENVIRONMENT: Final = _environment()
