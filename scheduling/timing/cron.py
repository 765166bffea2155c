"""Cron expressions (pure): read by cronsim, with what it lacks put in front; days are found here.

Five fields as in Debian's cron, or six with seconds first; names, ranges, steps, lists, `L`, `LW`, `nL` and
`n#k` are cronsim's. Added here: ranges that wrap (`FRI-MON`, `22-4`), `?`, `15W`, macros, `@every 90s`, and
`~`: a value that is the same for ever for one schedule and spreads a fleet (as in OpenBSD's crontab(5)).
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cronsim import CronSim, CronSimError
from cronsim.cronsim import last_weekday
from django.utils.translation import gettext_noop

from access.sentences import said as _
from scheduling.timing.errors import ExpressionError
from scheduling.timing.walking import LAST_YEAR, Clock

MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MAX_EVERY: Final = timedelta(days=366)
# Weekdays and leap years come round together after 400 years; whatever can happen does so within forty.
_YEARS_LOOKED_AT: Final = range(2024, 2024 + 41)
_MONTHS_KNOWN: Final = 600

_ANY_TIME: Final = datetime(2024, 1, 1)  # noqa: DTZ001 (a time on a wall)
_EVERY: Final = re.compile(r"@every\s+((?:\d{1,9}(?:\.\d{1,6})?(?:h|ms|m|s|d))+)\Z", re.IGNORECASE)
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|d)", re.IGNORECASE)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART: Final = re.compile(r"([^-~/]*)(?:([-~])([^/]*))?(?:/(.*))?\Z", re.DOTALL)
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, slots=True)
class _Field:
    """One field: its name, its values, and the names that some of them have."""

    name: str
    least: int
    most: int
    names: dict[str, int] = field(default_factory=dict)


_SECOND: Final = _Field(gettext_noop("seconds"), 0, 59)
_MINUTE: Final = _Field(gettext_noop("minutes"), 0, 59)
_HOUR: Final = _Field(gettext_noop("hours"), 0, 23)
_DAY: Final = _Field(gettext_noop("day of month"), 1, 31)
_MONTH: Final = _Field(
    gettext_noop("month"), 1, 12, {name: number + 1 for number, name in enumerate(_MONTHS)}
)
_WEEKDAY: Final = _Field(
    gettext_noop("day of week"), 0, 7, {name: number for number, name in enumerate(_DAYS)}
)
_FIVE: Final = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)


@dataclass(frozen=True, slots=True)
class Every:
    """`@every 90s`: a fixed rate."""

    interval: timedelta


class CronPattern:
    """A parsed expression, as a pattern of local times."""

    def __init__(self, days: "CronDays", clock: Clock, *, text: str, is_wall_clock: bool) -> None:
        self._days = days
        self._clock = clock
        # The expression with all that is drawn and abbreviated spelt out.
        self.text = text
        # Debian's cron runs these once, whatever the clocks do; others follow the time that passes.
        self.is_wall_clock = is_wall_clock

    def after(self, local: datetime) -> Iterator[datetime]:
        """Yield naive local times strictly after `local`, in order."""
        return self._clock.after(local, self._days)


def parse(expression: str, seed: str = "") -> CronPattern | Every:
    """Return what an expression means for the schedule whose `seed` this is; raise ExpressionError."""
    return _parse(expression, seed if "~" in expression else "")


def spell_out(expression: str, seed: str) -> str:
    """Return a sound expression with what `~` draws in place of it; those that mean the same become equal."""
    if "~" not in expression or expression.lstrip().startswith("@"):
        return expression
    return " ".join(_translated(expression, 0, seed))


@lru_cache(maxsize=8192)
def _parse(expression: str, seed: str) -> CronPattern | Every:
    text = expression.strip()
    offset = len(expression) - len(expression.lstrip())
    if text.startswith("@"):
        macro = MACROS.get(text.lower())
        if macro is None:
            return _parse_every(text, offset)
        text, offset = macro, 0
    parts = _translated(text, offset, seed)
    day = len(parts) - 3
    spelt_out = " ".join(parts)
    parts[day], near = _without_near_weekdays(parts[day])
    try:
        read = CronSim(" ".join(parts), _ANY_TIME)
        days = CronDays(read, near)
    except CronSimError:
        days = None
    if days is None or not days.can_happen():
        # What is left to be wrong are days of months that have no such day.
        (_day, at), (months, _at) = _tokens(text, offset)[-3:-1]
        raise ExpressionError(_("no month of %(months)s has such a day", months=repr(months)), position=at)
    minute, hour = parts[-5], parts[-4]
    return CronPattern(
        days,
        Clock(*(tuple(sorted(values)) for values in (read.hours, read.minutes, read.seconds))),
        text=spelt_out,
        is_wall_clock=not minute.startswith("*") and not hour.startswith("*"),
    )


def _translated(text: str, offset: int, seed: str) -> list[str]:
    """Return the fields as cronsim reads them; `text` begins at `offset` of what was written."""
    tokens = _tokens(text, offset)
    if len(tokens) not in (5, 6):
        message = _("%(tokens)s fields where 5 are expected, or 6 with seconds first", tokens=len(tokens))
        at = tokens[6][1] if len(tokens) > 6 else offset + len(text)
        raise ExpressionError(message, position=at)
    fields = _FIVE if len(tokens) == 5 else (_SECOND, *_FIVE)
    return [
        _translate(token.upper(), position, each, seed)
        for (token, position), each in zip(tokens, fields, strict=True)
    ]


def _tokens(text: str, offset: int) -> list[tuple[str, int]]:
    """Return the fields as they are written, each with the position of its first character."""
    return [(found.group(), found.start() + offset) for found in re.finditer(r"\S+", text)]


class CronDays:
    """The days of an expression: what cronsim has read, and weekdays nearest to days of the month."""

    def __init__(self, read: CronSim, near: frozenset[int]) -> None:
        self.last_year = LAST_YEAR
        self._months = frozenset(read.months)
        self._numbers = frozenset() if near and read.days == {_NO_DAY} else frozenset(read.days)
        self._near = near
        self._weekdays = frozenset(read.weekdays)
        # As in Debian's cron: with a star in front of either field both must match, else one is enough.
        self._must_both_match = read.day_and
        self._known: dict[tuple[int, int], tuple[int, ...]] = {}

    def of_month(self, year: int, month: int) -> tuple[int, ...]:
        """Return the days of a month in order."""
        if month not in self._months:
            return ()
        found = self._known.get((year, month))
        if found is None:
            if len(self._known) >= _MONTHS_KNOWN:
                self._known.clear()
            found = self._known[year, month] = self._find(year, month)
        return found

    def can_happen(self) -> bool:
        """Whether it ever comes true: within 41 years from a year whose February has 29 days."""
        return any(self._find(year, month) for year in _YEARS_LOOKED_AT for month in self._months)

    def _find(self, year: int, month: int) -> tuple[int, ...]:
        first_weekday, last = monthrange(year, month)
        by_number = self._by_number(year, month, last)
        by_weekday = self._by_weekday(first_weekday, last)
        return tuple(sorted(by_number & by_weekday if self._must_both_match else by_number | by_weekday))

    def _by_number(self, year: int, month: int, last: int) -> set[int]:
        days = {day for day in self._numbers if 1 <= day <= last}
        days |= {_nearest_weekday(year, month, day) for day in self._near if day <= last}
        if CronSim.LAST in self._numbers:
            days.add(last)
        if CronSim.LAST_WEEKDAY in self._numbers:
            days.add(last_weekday(year, month))
        return days

    def _by_weekday(self, first_weekday: int, last: int) -> set[int]:
        days: set[int] = set()
        for weekday in self._weekdays:
            number, which = weekday if isinstance(weekday, tuple) else (weekday, None)
            # Sunday is 0 or 7 here, and 6 for the calendar, which begins with Monday.
            all_of_it = range((number - 1 - first_weekday) % 7 + 1, last + 1, 7)
            if which is None:
                days.update(all_of_it)
            elif which == CronSim.LAST:
                days.add(all_of_it[-1])
            else:
                days.update(all_of_it[which - 1 : which])
        return days


_NTH_EXAMPLE: Final = _("an example that works: 0 9 * * FRI#2 (the second Friday)")
# Stands where all days of the month are given as nearest weekdays; cronsim wants at least one number.
_NO_DAY: Final = 1


def _parse_every(text: str, offset: int) -> Every:
    found = _EVERY.match(text)
    if found is None:
        known = ", ".join([*MACROS, "@every 90s"])
        raise ExpressionError(
            _("%(text)s is not one of %(known)s", text=repr(text[:40]), known=known),
            position=offset,
            example=_("an example that works: @daily"),
        )
    seconds = sum(float(amount) * _UNITS[unit.lower()] for amount, unit in _AMOUNT.findall(found.group(1)))
    if seconds != int(seconds) or not 1 <= seconds <= MAX_EVERY.total_seconds():
        raise ExpressionError(
            _("an interval is a whole number of seconds, from one to a year"),
            position=offset + found.start(1),
            example=_("an example that works: @every 1h30m"),
        )
    return Every(timedelta(seconds=int(seconds)))


def _translate(token: str, position: int, each: _Field, seed: str) -> str:
    """Return one field as cronsim reads it; raise ExpressionError with the position of what is wrong."""
    parts = []
    for part in token.split(","):
        parts.append(_translate_part(part, position, each, seed))
        position += len(part) + 1
    return ",".join(parts)


def _translate_part(part: str, position: int, each: _Field, seed: str) -> str:
    special = _translate_special(part, position, each)
    if special is not None:
        return special
    found = _PART.match(part)
    if found is None or not part:
        raise _bad(part, position, each)
    first, sign, second, step_text = found.groups()
    step = _step(step_text, position + len(part) - len(step_text or ""), each)
    if first == "*" and sign is None:
        return part
    if sign == "~":
        return _spread((first, second), step, position, each, seed)
    low = _number(first, position, each)
    if sign is None:
        return str(low) if step is None else f"{low}-{_last(each)}/{step}"
    high = _number(second, position + len(first) + 1, each)
    if low <= high:
        return f"{low}-{high}" if step is None else f"{low}-{high}/{step}"
    # It wraps round the end of the field.
    values = [*range(low, _last(each) + 1), *range(each.least, high + 1)][:: step or 1]
    return ",".join(str(value) for value in sorted(set(values)))


def _translate_special(part: str, position: int, each: _Field) -> str | None:
    """Return what only days have (`?`, `L`, `LW`, `15W`, `FRI#2`, `5L`), None for everything else."""
    if each in (_DAY, _WEEKDAY) and part == "?":
        return "*"
    if each is _DAY and part in ("L", "LW"):
        return part
    if each is _DAY and (near := re.fullmatch(r"(\d{1,2})W", part)):
        return f"{_number(near.group(1), position, each)}W"
    if each is _WEEKDAY and (nth := re.fullmatch(r"(\w+)#(\d+)", part)):
        if nth.group(2) not in "12345":
            message = _("%(part)s counts beyond the five weeks of a month", part=repr(part))
            raise ExpressionError(message, position=position + nth.start(2), example=_NTH_EXAMPLE)
        return f"{_number(nth.group(1), position, each)}#{nth.group(2)}"
    if each is _WEEKDAY and len(part) > 1 and part.endswith("L"):
        return f"{_number(part[:-1], position, each)}L"
    return None


def _step(text: str | None, position: int, each: _Field) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) == 0:
        raise ExpressionError(
            _("the step %(text)s of %(name)s is no number from 1", text=repr(text[:20]), name=_(each.name)),
            position=position,
        )
    return int(text)


def _spread(borders: tuple[str, str], step: int | None, position: int, each: _Field, seed: str) -> str:
    """Return the one value, or with a step the values, that `~` means for this schedule."""
    first, second = borders
    low = _number(first, position, each) if first else each.least
    high = _number(second, position + len(first) + 1, each) if second else _last(each)
    if low > high:
        raise ExpressionError(
            _(
                "the range %(first)s~%(second)s of %(name)s is empty",
                first=first,
                second=second,
                name=_(each.name),
            ),
            position=position,
        )
    digest = sha256(f"{seed} {each.name} {low} {high} {step}".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big")
    if step is None:
        return str(low + drawn % (high - low + 1))
    begin = low + drawn % min(step, high - low + 1)
    return ",".join(str(value) for value in range(begin, high + 1, step))


def _last(each: _Field) -> int:
    """Return the highest value of a field; of weekdays Saturday, since 7 is Sunday again."""
    return 6 if each is _WEEKDAY else each.most


def _number(text: str, position: int, each: _Field) -> int:
    if text in each.names:
        return each.names[text]
    if not re.fullmatch(r"[0-9]{1,4}", text) or not each.least <= int(text) <= each.most:
        raise _bad(text, position, each)
    return int(text)


def _bad(text: str, position: int, each: _Field) -> ExpressionError:
    facts = {"text": repr(text[:20]), "name": _(each.name), "least": each.least, "most": each.most}
    message = _("%(text)s does not fit %(name)s: expected %(least)s to %(most)s", **facts)
    if each.names:
        first, *_others, last = each.names
        message = _(
            "%(text)s does not fit %(name)s: expected %(least)s to %(most)s or %(first)s to %(last)s",
            **facts,
            first=first,
            last=last,
        )
    return ExpressionError(message, position=position)


def _without_near_weekdays(days: str) -> tuple[str, frozenset[int]]:
    """Split `1,15W` into what cronsim knows and the days whose nearest weekday is meant."""
    parts = days.split(",")
    near = frozenset(int(part[:-1]) for part in parts if re.fullmatch(r"\d+W", part))
    others = [part for part in parts if not re.fullmatch(r"\d+W", part)]
    return ",".join(others) or str(_NO_DAY), near


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """Return the weekday of the month nearest to a day of it, 0 where the month has no such day."""
    last = monthrange(year, month)[1]
    if day > last:
        return 0
    weekday = date(year, month, day).weekday()
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < last else day - 2
    return day
