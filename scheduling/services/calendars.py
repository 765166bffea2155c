"""Create, change and delete calendars and freezes; read them as rules."""

from collections.abc import Mapping
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

from scheduling.calendars import Blackout, CalendarRules, DaysOff, Window
from scheduling.models import Calendar


def rules_of(calendar: Calendar) -> CalendarRules:
    """Return what a calendar says, as pure rules; parsed once for each version of it."""
    return _rules(_Key(calendar))


class _Key:
    """A calendar as it was at one time, to remember its rules by."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar

    def __hash__(self) -> int:
        return hash((self.calendar.pk, self.calendar.updated_at))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Key):
            return NotImplemented
        return (self.calendar.pk, self.calendar.updated_at) == (
            other.calendar.pk,
            other.calendar.updated_at,
        )


@lru_cache(maxsize=1024)
def _rules(key: _Key) -> CalendarRules:
    calendar = key.calendar
    return CalendarRules(
        name=calendar.name,
        country=calendar.country,
        subdivision=calendar.subdivision,
        days_off=tuple(_days_off(each) for each in [*calendar.dates, *calendar.ics_dates]),
        windows=tuple(_window(each) for each in calendar.windows),
        blackouts=tuple(_blackout(each) for each in calendar.blackouts),
    )


def _days_off(each: Mapping[str, Any]) -> DaysOff:
    first = date.fromisoformat(each["date"])
    last = date.fromisoformat(each["until"]) if each.get("until") else first
    return DaysOff(first, last, each.get("name", ""))


def _window(each: Mapping[str, Any]) -> Window:
    return Window(
        frozenset(each["weekdays"]), time.fromisoformat(each["from"]), time.fromisoformat(each["to"])
    )


def _blackout(each: Mapping[str, Any]) -> Blackout:
    begin, end = (datetime.fromisoformat(each[name]) for name in ("from", "to"))
    return Blackout(begin, end, each.get("reason", ""))
