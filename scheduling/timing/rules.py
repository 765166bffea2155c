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

from scheduling.timing.errors import ExpressionError

EXAMPLE: Final = "an example that works: RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"
WITH_START: Final = "an example that works: DTSTART:20260302T090000 RRULE:FREQ=WEEKLY;INTERVAL=2"
FINER: Final = "an example that works: */5 * * * *"
HOURS_OF_MONTHS: Final = "an example that works: 0 */3 * 1,7 *"
MANY_TIMES: Final = "an example that works: @every 10s"
MAX_COUNT: Final = 1000
MAX_INTERVAL: Final = 1000
MAX_TIMES_A_DAY: Final = 1440
# So many days are looked at for the next time; dateutil alone would look up to the year 9999.
_DAYS_LOOKED_AT: Final = {HOURLY: 3660, DAILY: 3660, WEEKLY: 15_000, MONTHLY: 15_000, YEARLY: 15_000}
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


class RulePattern:
    """A parsed rule, as a pattern of local times."""

    def __init__(self, rule: rrule) -> None:
        self._rule = rule
        # Hours and minutes are the start's, or stated; only hourly rules follow the time that passes.
        self.is_wall_clock = rule._freq != HOURLY

    def after(self, local: datetime) -> Iterator[datetime]:
        """Yield naive local times strictly after `local`, in order."""
        rule = self._near(local)
        months = _CountedMonths(rule._bymonth or range(1, 13))
        rule._bymonth = months
        try:
            months.left = _DAYS_LOOKED_AT[rule._freq]
            for moment in rule.xafter(local):
                yield moment
                months.left = _DAYS_LOOKED_AT[rule._freq]
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
        message = "a rule counts from a start: give start_time, or DTSTART before RRULE"
        raise ExpressionError(message, position=offset, example=WITH_START)
    if not _RULE.match(text):
        message = "expected one RRULE, after a DTSTART if there is one"
        raise ExpressionError(message, position=offset, example=EXAMPLE)
    _refuse_many_times(text, offset)
    text = _UNTIL_UTC.sub(lambda found: f"UNTIL={_local(found.group(1), True, zone):%Y%m%dT%H%M%S}", text)
    try:
        rule = rrulestr(text, dtstart=begin, ignoretz=True)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        named = re.search(r"\bBY[A-Z]+|\b(?:UNTIL|COUNT|INTERVAL|WKST|FREQ)\b", str(error).upper())
        at = _place(named.group(), text, offset) if named else offset
        raise ExpressionError(f"{text[:80]!r} is no rule: {error}", position=at, example=EXAMPLE) from None
    if problem := _problem(rule):
        part, message, example = problem
        raise ExpressionError(message, position=_place(part, text, offset), example=example)
    pattern = RulePattern(rule)
    if next(pattern.after(begin - timedelta(seconds=1)), None) is None:
        raise ExpressionError(f"{text[:80]!r} never comes true", position=offset, example=EXAMPLE)
    return pattern


def _problem(rule: rrule) -> tuple[str, str, str] | None:
    """Return which part of a rule is not taken, why, and what would do; None for a sound rule."""
    if rule._freq not in _STEPS:
        return "FREQ", "a rule may not be finer than hourly; cron and intervals are", FINER
    if rule._freq == HOURLY and any((rule._bymonth, rule._bymonthday, rule._byyearday, rule._byweekno)):
        return "BY", "an hourly rule may not name months or days of them; cron does", HOURS_OF_MONTHS
    if rule._interval > MAX_INTERVAL:
        return "INTERVAL", f"INTERVAL is larger than {MAX_INTERVAL}", EXAMPLE
    if rule._count is not None and rule._count > MAX_COUNT:
        return "COUNT", f"COUNT is larger than {MAX_COUNT}", EXAMPLE
    return None


def _place(part: str, text: str, offset: int) -> int:
    """Return the position of a part of a rule, of the rule where it is not there."""
    return offset + max(0, text.upper().find(part))


def _refuse_many_times(text: str, offset: int) -> None:
    """Refuse what would take long to lay out: so many times of a day that an interval is meant."""
    times = 1
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        found = re.search(rf"{name}=([\d,]*)", text, re.IGNORECASE)
        times *= found.group(1).count(",") + 1 if found else 1
    if times > MAX_TIMES_A_DAY:
        message = f"more than {MAX_TIMES_A_DAY} times a day"
        raise ExpressionError(message, position=_place("BY", text, offset), example=MANY_TIMES)


def _local(text: str, is_utc: bool, zone: str) -> datetime:
    moment = datetime.strptime(text, "%Y%m%dT%H%M%S" if "T" in text else "%Y%m%d")  # noqa: DTZ007
    if is_utc:
        moment = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return moment
