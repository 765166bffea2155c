"""Recurrence rules of iCalendar (pure), RFC 5545, 3.3.10: `RRULE:FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1`.

python-dateutil computes them, on local times, from the start that they count from. It walks from there, so
the start is moved as near as the rule allows: asking costs the same however long ago that was.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from dateutil.rrule import DAILY, HOURLY, MONTHLY, WEEKLY, YEARLY, rrule, rrulestr

from access.sentences import said as _
from scheduling.timing.errors import ExpressionError

EXAMPLE: Final = _("an example that works: RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1")
WITH_START: Final = _("an example that works: DTSTART:20260302T090000 RRULE:FREQ=WEEKLY;INTERVAL=2")
FINER: Final = _("an example that works: */5 * * * *")
HOURS_OF_MONTHS: Final = _("an example that works: 0 */3 * 1,7 *")
MANY_TIMES: Final = _("an example that works: @every 10s")
MAX_COUNT: Final = 1000
MAX_INTERVAL: Final = 1000
MAX_TIMES_A_DAY: Final = 1440
# So many days are looked at for the next time; dateutil alone would look up to the year 9999.
_DAYS_LOOKED_AT: Final = {HOURLY: 3660, DAILY: 3660, WEEKLY: 15_000, MONTHLY: 15_000, YEARLY: 15_000}
_YEARS_LOOKED_AT: Final = 45
# A rule that numbers days and times has them from 1, or from the end, or from 0 on; up to these.
_LARGEST: Final = {
    "BYSETPOS": 366,
    "BYYEARDAY": 366,
    "BYWEEKNO": 53,
    "BYMONTH": 12,
    "BYMONTHDAY": 31,
    "BYHOUR": 23,
    "BYMINUTE": 59,
    "BYSECOND": 59,
}
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9900
_STEPS: Final = {HOURLY: "hours", DAILY: "days", WEEKLY: "weeks", MONTHLY: "months", YEARLY: "years"}
_LENGTH: Final = {
    HOURLY: timedelta(hours=1),
    DAILY: timedelta(days=1),
    WEEKLY: timedelta(weeks=1),
    MONTHLY: timedelta(days=31),
    YEARLY: timedelta(days=366),
}
_UNTIL_UTC: Final = re.compile(r"UNTIL=(\d{8}T\d{6})Z", re.IGNORECASE)
_DTSTART: Final = re.compile(r"DTSTART(?:;TZID=[^:]+)?:(\d{8}(?:T\d{6})?)(Z?)\s*", re.IGNORECASE)
_RULE: Final = re.compile(r"(?:RRULE:)?(FREQ=[A-Z0-9=;,+\-]+|[A-Z0-9=;,+\-]*;FREQ=[A-Z0-9=;,+\-]+)\Z", re.I)


class _NothingFound(Exception):
    """The rule does not come true for a long time, or never."""


class _CountedMonths(tuple[int, ...]):
    """The months of a rule; dateutil asks for the month of each day that it looks at."""

    left: int

    def __contains__(self, month: object) -> bool:
        self.left -= 1
        if self.left < 0:
            raise _NothingFound
        return super().__contains__(month)


class _CountedYears(tuple[tuple[int, int], ...]):
    """The numbered weekdays of a yearly rule, `(0, 20)` for the 20th Monday; dateutil asks once a year."""

    left: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self.left -= 1
        if self.left < 0:
            raise _NothingFound
        return super().__iter__()


class RulePattern:
    """A parsed rule, as a pattern of local times."""

    def __init__(self, rule: rrule) -> None:
        self._rule = rule
        # Hours and minutes are the start's, or stated; only hourly rules follow the time that passes.
        self.is_wall_clock = rule._freq != HOURLY

    def after(self, local: datetime) -> Iterator[datetime]:
        """Yield naive local times strictly after `local`, in order."""
        rule = self._near(local)
        counted: _CountedMonths | _CountedYears
        if rule._freq == YEARLY and rule._bynweekday and not rule._bymonth:
            # With months they would be numbered in each of them.
            counted = rule._bynweekday = _CountedYears(rule._bynweekday)
            limit = _YEARS_LOOKED_AT
        else:
            counted = rule._bymonth = _CountedMonths(rule._bymonth or range(1, 13))
            limit = _DAYS_LOOKED_AT[rule._freq]
        try:
            counted.left = limit
            for moment in rule:
                counted.left = limit
                if moment > local:
                    yield moment
        except _NothingFound:
            return

    def _near(self, local: datetime) -> rrule:
        """Return a copy of the rule that counts from shortly before `local`; with a COUNT, from its start."""
        rule = self._rule
        start: datetime = rule._dtstart
        periods = int((local - start) / (_LENGTH[rule._freq] * rule._interval)) - 1
        if rule._count is not None or periods < 1:
            return rule.replace()
        # A start on the 31st, or on 29 February, needs a period that has that day.
        for back in range(min(periods, 100)):
            step = {_STEPS[rule._freq]: (periods - back) * rule._interval}
            moved = start + relativedelta(**step)
            if moved.day == start.day or rule._freq not in (MONTHLY, YEARLY):
                return rule.replace(dtstart=moved)
        return rule.replace()


def is_rule(text: str) -> bool:
    """Whether a text is meant as a rule of iCalendar's."""
    return bool(re.match(r"\s*(RRULE|DTSTART|EXDATE|RDATE|EXRULE|FREQ=)", text, re.IGNORECASE))


@lru_cache(maxsize=4096)
def parse(expression: str, zone: str, start: datetime | None) -> RulePattern:
    """Return what a rule means that counts from its DTSTART, or from the schedule's `start`.

    Raises ExpressionError.
    """
    text = expression.strip()
    begin = None if start is None else start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if stated := _DTSTART.match(text):
        begin = _local(stated.group(1), bool(stated.group(2)), zone)
        text = text[stated.end() :]
    offset = expression.index(text) if text else len(expression)
    if begin is None:
        message = _("a rule counts from a start: give start_time, or DTSTART before RRULE")
        raise ExpressionError(message, position=offset, example=WITH_START)
    if not _RULE.match(text):
        message = _("expected one RRULE, after a DTSTART if there is one")
        raise ExpressionError(message, position=offset, example=EXAMPLE)
    _refuse_far_start(begin, offset)
    _refuse_many_times(text, offset)
    _refuse_large_numbers(text, offset)
    text = _UNTIL_UTC.sub(lambda found: f"UNTIL={_local(found.group(1), True, zone):%Y%m%dT%H%M%S}", text)
    try:
        rule = rrulestr(text, dtstart=begin, ignoretz=True)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        named = re.search(r"\bBY[A-Z]+|\b(?:UNTIL|COUNT|INTERVAL|WKST|FREQ)\b", str(error).upper())
        at = _place(named.group(), text, offset) if named else offset
        raise ExpressionError(
            _("%(text)s is no rule: %(problem)s", text=repr(text[:80]), problem=error),
            position=at,
            example=EXAMPLE,
        ) from None
    if problem := _problem(rule):
        part, message, example = problem
        raise ExpressionError(message, position=_place(part, text, offset), example=example)
    pattern = RulePattern(rule)
    if next(pattern.after(begin - timedelta(seconds=1)), None) is None:
        raise ExpressionError(
            _("%(text)s never comes true", text=repr(text[:80])), position=offset, example=EXAMPLE
        )
    return pattern


def _problem(rule: rrule) -> tuple[str, str, str] | None:
    """Return which part of a rule is not taken, why, and what would do; None for a sound rule."""
    if rule._freq not in _STEPS:
        return "FREQ", _("a rule may not be finer than hourly; cron and intervals are"), FINER
    if rule._freq == HOURLY and any((rule._bymonth, rule._bymonthday, rule._byyearday, rule._byweekno)):
        return "BY", _("an hourly rule may not name months or days of them; cron does"), HOURS_OF_MONTHS
    if rule._interval > MAX_INTERVAL:
        return "INTERVAL", _("INTERVAL is larger than %(most)s", most=MAX_INTERVAL), EXAMPLE
    if rule._count is not None and rule._count > MAX_COUNT:
        return "COUNT", _("COUNT is larger than %(most)s", most=MAX_COUNT), EXAMPLE
    return None


def _place(part: str, text: str, offset: int) -> int:
    """Return the position of a part of a rule, of the rule where it is not there."""
    return offset + max(0, text.upper().find(part))


def _refuse_far_start(begin: datetime, offset: int) -> None:
    if not FIRST_YEAR <= begin.year <= LAST_YEAR:
        message = _(
            "a start is expected from %(first)s to %(last)s",
            first=FIRST_YEAR,
            last=LAST_YEAR,
        )
        raise ExpressionError(message, position=offset, example=EXAMPLE)


def _refuse_many_times(text: str, offset: int) -> None:
    """Refuse what would take long to lay out: so many times of a day that an interval is meant."""
    times = 1
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        found = re.search(rf"{name}=([\d,]*)", text, re.IGNORECASE)
        times *= found.group(1).count(",") + 1 if found else 1
    if times > MAX_TIMES_A_DAY:
        message = _("more than %(most)s times a day", most=MAX_TIMES_A_DAY)
        raise ExpressionError(message, position=_place("BY", text, offset), example=MANY_TIMES)


def _refuse_large_numbers(text: str, offset: int) -> None:
    """Refuse days that no month, year or week has; dateutil fails over some of them, and not at once."""
    parts = dict(part.partition("=")[::2] for part in text.upper().removeprefix("RRULE:").split(";"))
    found, message = "", ""
    for name, most in _LARGEST.items():
        if any(int(number) > most for number in re.findall(r"\d+", parts.get(name, ""))):
            found, message = name, _("%(name)s goes up to %(most)s", name=name, most=most)
    numbers = [int(number) for number in re.findall(r"\d+", parts.get("BYDAY", ""))]
    most = 53 if parts.get("FREQ") == "YEARLY" and "BYMONTH" not in parts else 5
    if numbers and parts.get("FREQ") not in ("YEARLY", "MONTHLY"):
        found, message = "BYDAY", _("weekdays are numbered in months and years only")
    elif any(not 1 <= number <= most for number in numbers):
        found, message = "BYDAY", _("weekdays are numbered from 1 to %(most)s", most=most)
    if "BYEASTER" in parts:
        found, message = "BYEASTER", _("BYEASTER is no part of a rule")
    if "COUNT" in parts and "UNTIL" in parts:
        found, message = "COUNT", _("COUNT and UNTIL exclude each other")
    if found:
        raise ExpressionError(message, position=_place(found, text, offset), example=EXAMPLE)


def _local(text: str, is_utc: bool, zone: str) -> datetime:
    moment = datetime.strptime(text, "%Y%m%dT%H%M%S" if "T" in text else "%Y%m%d")  # noqa: DTZ007
    if is_utc:
        moment = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return moment
