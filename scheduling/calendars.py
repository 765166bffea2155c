"""What a calendar forbids (pure): days off, times outside its windows, blackouts; and what business days are.

Instants are aware UTC; days and windows are those on the wall of the schedule's zone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays

from access.sentences import said as _

# Whoever is off for longer than this is not waited for.
MAX_DAYS_AHEAD: Final = 366
WEEKEND: Final = frozenset({6, 7})


@dataclass(frozen=True, slots=True)
class DaysOff:
    """Days from `first` to `last`, both included."""

    first: date
    last: date
    name: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A time of some weekdays (Monday is 1) in which runs are allowed; `end` excluded, 00:00 ends a day."""

    weekdays: frozenset[int]
    begin: time
    end: time

    def holds(self, local: datetime) -> bool:
        """Whether a local time lies in the window."""
        if local.isoweekday() not in self.weekdays or local.time() < self.begin:
            return False
        return self.end == time.min or local.time() < self.end


@dataclass(frozen=True, slots=True)
class Blackout:
    """Instants from `begin` up to `end` in which nothing runs."""

    begin: datetime
    end: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What forbids an instant: `blackout`, `day_off` or `window`, with its reason or name."""

    kind: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class CalendarRules:
    """A calendar; `country` and `subdivision` are codes of the `holidays` library, empty for none."""

    name: str = ""
    country: str = ""
    subdivision: str = ""
    days_off: tuple[DaysOff, ...] = ()
    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()

    def obstacle(self, instant: datetime, zone: ZoneInfo) -> Obstacle | None:
        """Return what stands against running at an instant; None where it may."""
        for blackout in self.blackouts:
            if blackout.begin <= instant < blackout.end:
                return Obstacle("blackout", blackout.reason)
        local = instant.astimezone(zone)
        day_off = self.day_off(local.date())
        if day_off is not None:
            return Obstacle("day_off", day_off)
        if self.windows and not any(window.holds(local) for window in self.windows):
            return Obstacle("window")
        return None

    def forbids(self, instant: datetime, zone: ZoneInfo) -> str:
        """Return why nothing may run at an instant, "" where it may."""
        obstacle = self.obstacle(instant, zone)
        if obstacle is None:
            return ""
        if obstacle.kind == "window":
            return f"outside the allowed times of {self.name}"
        what = f"blackout of {self.name}" if obstacle.kind == "blackout" else self.name
        return f"{what}: {obstacle.name}".rstrip(": ") or "a day off"

    def changes_after(self, instant: datetime, zone: ZoneInfo) -> datetime:
        """Return the first time after `instant` from which on something else may hold, at most a day off."""
        local = instant.astimezone(zone)
        today = [window for window in self.windows if local.isoweekday() in window.weekdays]
        edges = [datetime.combine(local.date() + timedelta(days=1), time.min, zone)]
        edges += [datetime.combine(local.date(), window.begin, zone) for window in today]
        edges += [blackout.end for blackout in self.blackouts]
        in_utc = (edge.astimezone(UTC) for edge in edges)
        return min(edge for edge in in_utc if edge > instant)

    def moved_to_next_day(self, instant: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the same local time of the next day on which it is allowed; None where none is near."""
        local = instant.astimezone(zone)
        for ahead in range(1, MAX_DAYS_AHEAD + 1):
            naive = local.replace(tzinfo=None) + timedelta(days=ahead)
            moved = naive.replace(tzinfo=zone).astimezone(instant.tzinfo)
            if self.obstacle(moved, zone) is None:
                return moved
        return None

    def day_off(self, day: date) -> str | None:
        """Return the name of a day off, "" where it has none; None for a day that is not off."""
        for off in self.days_off:
            if off.first <= day <= off.last:
                return off.name
        if self.country:
            name: str | None = _holidays(self.country, self.subdivision, day.year).get(day)
            return name
        return None

    def is_business_day(self, day: date) -> bool:
        """Whether a day is neither off nor on a weekend; with windows, they say which weekdays are worked."""
        if self.windows:
            works = any(day.isoweekday() in window.weekdays for window in self.windows)
        else:
            works = day.isoweekday() not in WEEKEND
        return works and self.day_off(day) is None

    def business_day(self, day: date, offset: int = 0) -> date:
        """Return the business day `offset` business days from `day`; with 0, the last one up to it.

        Raises ValueError where there is none within a year.
        """
        step = timedelta(days=1 if offset > 0 else -1)
        left = abs(offset)
        current = day
        if offset <= 0:
            current = next(self._business_days(day, -1))
        for _each in range(left):
            current = next(self._business_days(current + step, step.days))
        return current

    def _business_days(self, day: date, step: int) -> Iterator[date]:
        for ahead in range(MAX_DAYS_AHEAD):
            candidate = day + timedelta(days=ahead * step)
            if self.is_business_day(candidate):
                yield candidate
        raise ValueError(
            _(
                "%(calendar)s has no business day within a year of %(day)s",
                calendar=self.name or _("the calendar"),
                day=day,
            )
        )


NO_CALENDAR: Final = CalendarRules()


def is_known_country(country: str, subdivision: str = "") -> bool:
    """Whether the holidays of a country, and of a part of it, are known."""
    known: dict[str, list[str]] = holidays.list_supported_countries()
    return country in known and (not subdivision or subdivision in known[country])


@lru_cache(maxsize=1024)
def _holidays(country: str, subdivision: str, year: int) -> dict[date, str]:
    # Without a language it would be that of the process's environment, and differ from server to server.
    found = holidays.country_holidays(country, subdiv=subdivision or None, years=year, language="en_US")
    # A holiday that falls into the year before is found there.
    return {day: name for day, name in found.items() if day.year == year}
