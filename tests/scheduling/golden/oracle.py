"""An oracle of its own for cron in a time zone: it looks at every minute, or second, of UTC and at the wall.

Nothing in here comes from the product nor from a library of cron: a matcher of fields as crontab(5) tells it,
with the extensions that the product documents, `zoneinfo` for the walls, and a walk over each tick in turn
(in arrays, so that ten years take moments). What the clocks skip and repeat is seen on the way: a tick whose
local time was there before is a second pass, and one whose local time leaves others out is the end of a gap.
"""

import re
from calendar import monthrange
from copy import copy
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_SECS = 86_400
FIRST_DAY, LAST_DAY = date(2006, 12, 1), date(2028, 1, 31)
FIRST_DAY_NUMBER = (FIRST_DAY - date(1970, 1, 1)).days
NAMES = {name: n for n, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), 1)}
NAMES |= {name: n for n, name in enumerate("SUN MON TUE WED THU FRI SAT".split())}


@dataclass(frozen=True)
class Cron:
    """An expression taken apart: six fields of text, in upper case."""

    second: str
    minute: str
    hour: str
    day: str
    month: str
    weekday: str

    @property
    def is_fixed(self):
        """Whether Debian's cron, by the star in front, takes it for a job at fixed times."""
        return not self.minute.startswith("*") and not self.hour.startswith("*")

    def matches_second_of_day(self, second):
        return (
            second % 60 in numbers(self.second, 0, 59)
            and second // 60 % 60 in numbers(self.minute, 0, 59)
            and second // 3600 in numbers(self.hour, 0, 23)
        )

    def matches_day(self, day):
        if day.month not in numbers(self.month, 1, 12):
            return False
        of_month = any(matches_day_of_month(part, day) for part in self.day.split(","))
        of_week = any(matches_weekday(part, day) for part in self.weekday.split(","))
        # crontab(5): with a star in front of either field both must match, else one of them is enough.
        if self.day[0] in "*?" or self.weekday[0] in "*?":
            return of_month and of_week
        return of_month or of_week


def parse(expression):
    fields = expression.upper().split()
    return Cron(*(["0"] * (6 - len(fields)) + fields))


@lru_cache(maxsize=4096)
def numbers(text, least, most):
    """Return the numbers that a field of numbers, names, ranges, steps and lists means."""
    return frozenset(number for part in text.split(",") for number in numbers_of_part(part, least, most))


def numbers_of_part(part, least, most):
    body, _, step = part.partition("/")
    if body in ("*", "?"):
        first, last = least, most
    elif "-" in body:
        first, last = (number(end) for end in body.split("-"))
    else:
        first = number(body)
        last = most if step else first
    cycle = [*range(first, last + 1)] if first <= last else [*range(first, most + 1), *range(least, last + 1)]
    return cycle[:: int(step or 1)]


def number(text):
    return NAMES[text] if text in NAMES else int(text)


def matches_day_of_month(part, day):
    weekdays = weekdays_of_month(day.year, day.month)
    if part == "L":
        return day.day == length_of_month(day)
    if part == "LW":
        return day.day == weekdays[-1]
    if found := re.fullmatch(r"(\d+)W", part):
        wanted = int(found.group(1))
        nearest = min(weekdays, key=lambda n: abs(n - wanted))
        return wanted <= length_of_month(day) and day.day == nearest
    return day.day in numbers(part, 1, 31)


def matches_weekday(part, day):
    today = day.isoweekday() % 7
    if "#" in part:
        name, nth = part.split("#")
        return number(name) % 7 == today and (day.day - 1) // 7 + 1 == int(nth)
    if re.fullmatch(r"\w+L", part):
        return number(part[:-1]) % 7 == today and day.day + 7 > length_of_month(day)
    return today in {n % 7 for n in numbers(part, 0, 6)}


@lru_cache(maxsize=512)
def weekdays_of_month(year, month):
    return [n for n in range(1, monthrange(year, month)[1] + 1) if date(year, month, n).isoweekday() < 6]


def length_of_month(day):
    return monthrange(day.year, day.month)[1]


class Walk:
    """Each tick of `step` seconds from `begin` up to `end`, whole hours both, on the wall of a zone."""

    def __init__(self, zone, begin, end, step=60):
        self.step, self.ticks_a_day = step, DAY_SECS // step
        self.ticks = np.arange(secs(begin), secs(end), step)
        self.local = (self.ticks + offsets(zone, secs(begin), secs(end), step)) // step
        before = np.maximum.accumulate(self.local)
        after = np.minimum.accumulate(self.local[::-1])[::-1]
        self.is_second_pass = np.append(False, self.local[1:] <= before[:-1])
        self.has_second_pass = np.append(self.local[:-1] >= after[1:], False)
        # For the first tick after each gap, the first and the last local time that are left out.
        ends = np.flatnonzero(self.local[1:] - before[:-1] > 1) + 1
        self.gaps = {int(at): (int(before[at - 1]) + 1, int(self.local[at]) - 1) for at in ends}

    def part(self, begin, end):
        """Return this walk from `begin` up to `end`, with what it knows of the time before and after."""
        first, last = ((secs(moment) - int(self.ticks[0])) // self.step for moment in (begin, end))
        part = copy(self)
        for name in ("ticks", "local", "is_second_pass", "has_second_pass"):
            setattr(part, name, getattr(self, name)[first:last])
        part.gaps = {at - first: skipped for at, skipped in self.gaps.items() if first <= at < last}
        return part

    def changes(self):
        """Return the instants at which the offset from UTC changes."""
        offset = self.local * self.step - self.ticks
        return [EPOCH + timedelta(seconds=int(self.ticks[at + 1])) for at in np.flatnonzero(np.diff(offset))]

    def matches(self, expression):
        """Return for each tick whether its local time is one of the expression's."""
        first, last = (int(each) // self.ticks_a_day for each in (self.local.min(), self.local.max()))
        days = days_table(expression)[first - FIRST_DAY_NUMBER : last + 1 - FIRST_DAY_NUMBER]
        wall = (days[:, np.newaxis] & clock_table(expression, self.step)).ravel()
        return wall.take(self.local - first * self.ticks_a_day)

    def runs(self, expression, matches, gap=None, overlap=None):
        """Return the ticks at which something runs; without a policy, as Debian's cron would have it."""
        is_fixed = parse(expression).is_fixed
        gap = gap or ("next_valid" if is_fixed else "skip")
        overlap = overlap or ("first" if is_fixed else "both")
        if overlap == "both":
            runs = matches.copy()
        else:
            runs = np.greater(matches, self.is_second_pass if overlap == "first" else self.has_second_pass)
        if gap == "next_valid":
            for at, (first, last) in self.gaps.items():
                runs[at] |= any(self._matches_local(expression, tick) for tick in range(first, last + 1))
        return self.ticks[np.flatnonzero(runs)]

    def _matches_local(self, expression, tick):
        day, tick_of_day = divmod(tick, self.ticks_a_day)
        on_day = days_table(expression)[day - FIRST_DAY_NUMBER]
        return bool(on_day and clock_table(expression, self.step)[tick_of_day])


@lru_cache(maxsize=256)
def days_table(expression):
    cron, days = parse(expression), (LAST_DAY - FIRST_DAY).days
    return np.array([cron.matches_day(FIRST_DAY + timedelta(days=n)) for n in range(days)], dtype=bool)


@lru_cache(maxsize=256)
def clock_table(expression, step):
    cron = parse(expression)
    return np.array([cron.matches_second_of_day(second) for second in range(0, DAY_SECS, step)], dtype=bool)


def offsets(zone, begin, end, step):
    """Return the offset from UTC of each tick, in seconds: one for an hour that ends as it begins."""
    info = ZoneInfo(zone)

    def offset(at):
        return int((EPOCH + timedelta(seconds=at)).astimezone(info).utcoffset().total_seconds())

    result = np.empty((end - begin) // step, dtype=np.int64)
    for hour in range(begin, end, 3600):
        first, last = offset(hour), offset(min(hour + 3600, end) - step)
        at = (hour - begin) // step
        if first == last:
            result[at : at + 3600 // step] = first
        else:
            stop = min(hour + 3600, end)
            result[at : at + 3600 // step] = [offset(tick) for tick in range(hour, stop, step)]
    return result


def secs(moment):
    return int((moment - EPOCH).total_seconds())
