"""A calendar as a picture of a year: what each day allows (pure, but for the words)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.dates import MONTHS, WEEKDAYS_ABBR
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from scheduling.admin.words import told_with_utc
from scheduling.calendars import Blackout, CalendarRules

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2200
_DAY: Final = timedelta(days=1)
# In the order in which the legend tells them.
LEGEND: Final = (
    ("allowed", gettext_lazy("runs")),
    ("limited", gettext_lazy("runs at some times")),
    ("closed", gettext_lazy("outside the allowed times")),
    ("off", gettext_lazy("day off")),
    ("blackout", gettext_lazy("blackout")),
    ("part", gettext_lazy("blackout for a part of the day")),
)


@dataclass(frozen=True, slots=True)
class Day:
    """One day: its kind is one of the legend's, its title says why."""

    day: date
    kind: str
    title: str


def months_of(rules: CalendarRules, year: int) -> list[dict[str, Any]]:
    """Return the months of a year, each as weeks of days that begin on Monday; None before and after.

    Blackouts are placed on days of the reader's zone, since a calendar has none of its own.
    """
    blackouts = [each for each in rules.blackouts if each.begin.year <= year <= each.end.year]
    return [
        {"name": MONTHS[month], "weeks": list(_weeks(rules, blackouts, date(year, month, 1)))}
        for month in range(1, 13)
    ]


def weekday_names() -> list[Any]:
    """Return the short names of the weekdays, Monday first."""
    return [WEEKDAYS_ABBR[number] for number in range(7)]


def _weeks(rules: CalendarRules, blackouts: list[Blackout], first: date) -> Iterator[list[Day | None]]:
    week: list[Day | None] = [None] * first.weekday()
    day = first
    while day.month == first.month:
        week.append(_day(rules, blackouts, day))
        if len(week) == 7:
            yield week
            week = []
        day += _DAY
    if week:
        yield week + [None] * (7 - len(week))


def _day(rules: CalendarRules, blackouts: list[Blackout], day: date) -> Day:
    kind, words = _kind(rules, blackouts, day)
    return Day(day, kind, f"{date_format(day, 'DATE_FORMAT')}: {words}")


def _kind(rules: CalendarRules, blackouts: list[Blackout], day: date) -> tuple[str, str]:
    """Return the strongest of what holds on a day, and what to say about it."""
    zone = timezone.get_current_timezone()
    begin, end = (datetime.combine(each, time.min, zone) for each in (day, day + _DAY))
    touching = [each for each in blackouts if each.begin < end and each.end > begin]
    for each in touching:
        if each.begin <= begin and each.end >= end:
            return "blackout", _named(_("blackout"), each.reason)
    name = rules.day_off(day)
    if name is not None:
        return "off", _named(_("day off"), name)
    windows = [window for window in rules.windows if day.isoweekday() in window.weekdays]
    if rules.windows and not windows:
        return "closed", _("outside the allowed times")
    if touching:
        spans = "; ".join(_named(_span(each), each.reason) for each in touching)
        return "part", _named(_("blackout"), spans)
    if any((window.begin, window.end) == (time.min, time.min) for window in windows) or not windows:
        return "allowed", _("runs")
    hours = ", ".join(f"{window.begin:%H:%M}-{window.end:%H:%M}" for window in windows)
    return "limited", _named(_("runs"), hours)


def _span(blackout: Blackout) -> str:
    return " – ".join(told_with_utc(each, "%m-%d %H:%M") for each in (blackout.begin, blackout.end))


def _named(what: str, name: str) -> str:
    return f"{what}: {name}" if name else what
