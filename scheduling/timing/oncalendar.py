"""systemd's calendar expressions (pure): `Mon..Fri *-*-* 09:00`, see systemd.time(7), "Calendar Events".

The zone is the schedule's, so none may stand in the expression; seconds are whole.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from access.sentences import said as _
from scheduling.timing.errors import ExpressionError
from scheduling.timing.walking import Clock

SHORTHANDS: Final = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
EXAMPLE: Final = _("an example that works: Mon..Fri *-*-* 09:00")
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199

_WEEKDAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_LONG: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_TIME: Final = re.compile(r"([^:]+):([^:]+)(?::([^:]+))?\Z")
_DATE: Final = re.compile(r"(?:([^-~]+)-)?([^-~]+)([-~])([^-~]+)\Z")
_ITEM: Final = re.compile(r"(\*|\d{1,4})(?:\.\.(\d{1,4}))?(?:/(\d{1,4}))?\Z")


@dataclass(frozen=True, slots=True)
class CalendarDays:
    """The days of an expression; with `is_last`, `days` count from the month's end."""

    weekdays: frozenset[int]
    years: frozenset[int]
    months: frozenset[int]
    days: frozenset[int]
    is_last: bool

    @property
    def last_year(self) -> int:
        """Return the year after which there are none."""
        return max(self.years)

    def of_month(self, year: int, month: int) -> tuple[int, ...]:
        """Return the days of a month in order."""
        if month not in self.months or year not in self.years:
            return ()
        first_weekday, last = monthrange(year, month)
        numbers = {last + 1 - day for day in self.days} if self.is_last else self.days
        return tuple(
            day
            for day in range(1, last + 1)
            if day in numbers and (first_weekday + day - 1) % 7 in self.weekdays
        )

    def can_happen(self) -> bool:
        """Whether it names any day at all."""
        return any(self.of_month(year, month) for year in sorted(self.years) for month in self.months)


@dataclass(frozen=True, slots=True)
class OnCalendarPattern:
    """A parsed expression, as a pattern of local times."""

    days: CalendarDays
    clock: Clock
    is_wall_clock: bool

    def after(self, local: datetime) -> Iterator[datetime]:
        """Yield naive local times strictly after `local`, in order."""
        return self.clock.after(local, self.days)


def is_on_calendar(text: str) -> bool:
    """Whether a text is meant as a calendar expression of systemd's rather than as cron."""
    return text.lower() in SHORTHANDS or ":" in text or bool(re.search(r"[\d*]-[\d*]+[-~]|\.\.", text))


@lru_cache(maxsize=4096)
def parse(expression: str) -> OnCalendarPattern:
    """Return what an expression means; raise ExpressionError."""
    text = SHORTHANDS.get(expression.strip().lower(), expression)
    tokens = [(found.group(), found.start()) for found in re.finditer(r"\S+", text)]
    weekdays, dates, times = frozenset(range(7)), ("*-*-*", 0), ("00:00:00", 0)
    expected = ["weekdays", "date", "time"]
    for token, position in tokens:
        kind = "time" if ":" in token else "date" if _DATE.match(token) else "weekdays"
        if kind not in expected:
            hint = _("; the zone belongs into timezone") if kind == "weekdays" else ""
            raise ExpressionError(
                _("%(token)s is not expected here%(hint)s", token=repr(token[:40]), hint=hint),
                position=position,
                example=EXAMPLE,
            )
        expected = expected[expected.index(kind) + 1 :]
        if kind == "weekdays":
            weekdays = _weekdays(token, position)
        elif kind == "date":
            dates = (token, position)
        else:
            times = (token, position)
    if len(expected) == 3:
        raise ExpressionError(_("the expression is empty"), example=EXAMPLE)
    pattern = _pattern(weekdays, *dates, *times)
    if not pattern.days.can_happen():
        raise ExpressionError(_("%(text)s never comes true", text=repr(expression.strip())), example=EXAMPLE)
    return pattern


def _pattern(
    weekdays: frozenset[int], dates: str, date_at: int, times: str, time_at: int
) -> OnCalendarPattern:
    day_parts, time_parts = _DATE.match(dates), _TIME.match(times)
    if day_parts is None:
        raise ExpressionError(
            _("%(dates)s is no date", dates=repr(dates[:40])), position=date_at, example=EXAMPLE
        )
    if time_parts is None:
        raise ExpressionError(
            _("%(times)s is no time", times=repr(times[:40])), position=time_at, example=EXAMPLE
        )

    def values(found: re.Match[str], group: int, name: str, least: int, most: int, base: int) -> list[int]:
        text = found.group(group)
        return [least] if text is None else _values(text, name, least, most, base + found.start(group))

    year_text = day_parts.group(1)
    years = range(FIRST_YEAR, LAST_YEAR + 1)
    if year_text is not None:
        years = _values(year_text, _("year"), FIRST_YEAR, LAST_YEAR, date_at)  # type: ignore[assignment]
    days = CalendarDays(
        weekdays=weekdays,
        years=frozenset(years),
        months=frozenset(values(day_parts, 2, _("month"), 1, 12, date_at)),
        days=frozenset(_days(day_parts.group(4), day_parts.group(3) == "~", date_at + day_parts.start(4))),
        is_last=day_parts.group(3) == "~",
    )
    clock = Clock(
        hours=tuple(values(time_parts, 1, _("hour"), 0, 23, time_at)),
        minutes=tuple(values(time_parts, 2, _("minute"), 0, 59, time_at)),
        seconds=tuple(values(time_parts, 3, _("second"), 0, 59, time_at)),
    )
    is_wall_clock = not times.startswith("*") and not time_parts.group(2).startswith("*")
    return OnCalendarPattern(days, clock, is_wall_clock)


def _values(text: str, name: str, least: int, most: int, position: int) -> list[int]:
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.match(item)
        if match is None:
            raise ExpressionError(
                _("%(text)s does not fit %(name)s", text=repr(item[:20]), name=name),
                position=position,
                example=EXAMPLE,
            )
        first, last, step = match.groups()
        begin = least if first == "*" else int(first)
        end = most if first == "*" or (step and last is None) else int(last or first)
        if not least <= begin <= end <= most or step in ("0", "00", "000", "0000"):
            raise ExpressionError(
                _(
                    "%(text)s does not fit %(name)s: expected %(least)s to %(most)s",
                    text=repr(item[:20]),
                    name=name,
                    least=least,
                    most=most,
                ),
                position=position,
                example=EXAMPLE,
            )
        found.update(range(begin, end + 1, int(step or 1)))
        position += len(item) + 1
    return sorted(found)


def _days(text: str, is_last: bool, position: int) -> list[int]:
    """Return days of the month; from its end, a repetition goes towards the end: `~07/1` is a week."""
    if is_last and (found := re.fullmatch(r"(\d{1,2})/(\d{1,2})", text)):
        first, step = (_values(part, _("day"), 1, 31, position)[0] for part in found.groups())
        return [*range(first, 0, -step)]
    return _values(text, _("day"), 1, 31, position)


def _weekdays(token: str, position: int) -> frozenset[int]:
    found: set[int] = set()
    for item in token.upper().rstrip(",").split(","):
        first, _sign, last = item.replace("..", "-").partition("-")
        begin, end = (_weekday(name, position) for name in (first, last or first))
        found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
        position += len(item) + 1
    return frozenset(found)


def _weekday(name: str, position: int) -> int:
    for names in (_WEEKDAYS, _LONG):
        if name in names:
            return names.index(name)
    raise ExpressionError(
        _(
            "%(name)s is neither weekdays nor a date nor a time (a zone belongs into timezone)",
            name=repr(name[:40]),
        ),
        position=position,
        example=EXAMPLE,
    )
