"""What a calendar may hold (pure): the shapes of its lists, checked, and days read from an iCalendar file."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from icalendar import Calendar as ICalendar

from access.sentences import said as _
from scheduling.calendars import is_known_country

MAX_ENTRIES: Final = 1000
MAX_ICS_BYTES: Final = 512 * 1024
MAX_NAME_CHARS: Final = 255

_Entry = Mapping[str, Any]


class BadEntry(ValueError):
    """An entry is not of the shape that its list has; the message says what is expected."""


def calendar_problems(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the fields of a calendar, by field."""
    errors: dict[str, str] = {}
    for name, check in _LISTS.items():
        try:
            _check_list(fields.get(name, []), check)
        except BadEntry as error:
            errors[name] = error.args[0]
    country, subdivision = fields.get("country", ""), fields.get("subdivision", "")
    if country and not is_known_country(country):
        errors["country"] = _(
            "the holidays of %(country)s are not known; expected a code such as CN or DE",
            country=repr(country[:20]),
        )
    elif subdivision and not country:
        errors["subdivision"] = _("expected a country with it")
    elif subdivision and not is_known_country(country, subdivision):
        errors["subdivision"] = _(
            "%(country)s has no part %(subdivision)s whose holidays are known",
            country=country,
            subdivision=repr(subdivision[:20]),
        )
    return errors


def days_of_ics(text: str) -> list[dict[str, str]]:
    """Return the all-day events of an iCalendar file as days off, without those that repeat.

    Raises BadEntry for what is no such file, and for events that repeat, which would be lost otherwise.
    """
    if not text.strip():
        return []
    if len(text.encode()) > MAX_ICS_BYTES:
        raise BadEntry(_("the file is larger than %(most)s bytes", most=MAX_ICS_BYTES))
    try:
        events = list(ICalendar.from_ical(text).walk("VEVENT"))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadEntry(_("no iCalendar file: %(problem)s", problem=str(error)[:200])) from None
    days = [day for event in events if (day := _day_of(event)) is not None]
    if not days:
        raise BadEntry(_("the file holds no all-day event (VEVENT with DTSTART;VALUE=DATE)"))
    if len(days) > MAX_ENTRIES:
        raise BadEntry(_("the file holds more than %(most)s all-day events", most=MAX_ENTRIES))
    return days


def _day_of(event: Any) -> dict[str, str] | None:
    start, end = event.get("DTSTART"), event.get("DTEND")
    first = getattr(start, "dt", None)
    if not isinstance(first, date) or isinstance(first, datetime):
        return None
    name = str(event.get("SUMMARY", ""))[:MAX_NAME_CHARS]
    if "RRULE" in event or "RDATE" in event:
        raise BadEntry(_("%(name)s repeats; only single days and ranges are read", name=repr(name[:60])))
    last = getattr(end, "dt", None)
    if not isinstance(last, date) or isinstance(last, datetime):
        last = first + timedelta(days=1)
    until = max(first, last - timedelta(days=1))  # DTEND is the day after (RFC 5545, 3.6.1)
    day = {"date": first.isoformat(), "name": name}
    return day if until == first else {**day, "until": until.isoformat()}


def _check_list(value: Any, check: Callable[[_Entry], None]) -> None:
    if not isinstance(value, list) or len(value) > MAX_ENTRIES:
        raise BadEntry(_("expected a list of at most %(most)s objects", most=MAX_ENTRIES))
    for number, entry in enumerate(value, 1):
        if not isinstance(entry, Mapping):
            raise BadEntry(_("entry %(number)s: expected an object", number=number))
        try:
            check(entry)
        except BadEntry as error:
            raise BadEntry(_("entry %(number)s: %(problem)s", number=number, problem=error)) from None


def _check_day(entry: _Entry) -> None:
    _only(entry, {"date", "until", "name"})
    first = _day(entry.get("date"), "date")
    if entry.get("until") is not None and _day(entry["until"], "until") < first:
        raise BadEntry(_("until lies before date"))
    _short(entry.get("name", ""), "name")


def _check_window(entry: _Entry) -> None:
    _only(entry, {"weekdays", "from", "to"})
    weekdays = entry.get("weekdays")
    if not isinstance(weekdays, list) or not all(type(day) is int and 1 <= day <= 7 for day in weekdays):
        raise BadEntry(
            _("weekdays: expected a list of numbers from 1 (Monday) to 7, such as [1, 2, 3, 4, 5]")
        )
    begin, end = (_time(entry.get(name), name) for name in ("from", "to"))
    if end <= begin and end != time.min:
        raise BadEntry(_("to: expected a time after from; 00:00 is the end of the day"))


def _check_blackout(entry: _Entry) -> None:
    _only(entry, {"from", "to", "reason"})
    begin, end = (_instant(entry.get(name), name) for name in ("from", "to"))
    if end <= begin:
        raise BadEntry(_("to: expected a time after from"))
    _short(entry.get("reason", ""), "reason")


_LISTS: Final[Mapping[str, Callable[[_Entry], None]]] = {
    "dates": _check_day,
    "windows": _check_window,
    "blackouts": _check_blackout,
}


def _only(entry: _Entry, known: set[str]) -> None:
    if unknown := sorted(set(entry) - known):
        raise BadEntry(
            _(
                "unknown field %(unknown)s; expected %(known)s",
                unknown=repr(unknown[0][:40]),
                known=", ".join(sorted(known)),
            )
        )


def _day(value: Any, name: str) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadEntry(_("%(name)s: expected a day such as 2026-05-01", name=name)) from None


def _time(value: Any, name: str) -> time:
    try:
        found = time.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadEntry(_("%(name)s: expected a time of the day such as 09:00", name=name)) from None
    if found.tzinfo is not None:
        raise BadEntry(_("%(name)s: the zone is the schedule's; expected a time such as 09:00", name=name))
    return found


def _instant(value: Any, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None or not 1900 <= found.year <= 3000:
        raise BadEntry(
            _("%(name)s: expected a time with its offset, such as 2026-12-24T00:00:00Z", name=name)
        )
    return found


def _short(value: Any, name: str) -> None:
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS or "\x00" in value:
        raise BadEntry(
            _("%(name)s: expected a string of at most %(most)s characters", name=name, most=MAX_NAME_CHARS)
        )
