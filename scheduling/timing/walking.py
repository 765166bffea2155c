"""Local times by calendar and clock (pure): days of months, and times of those days, in order."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Protocol

LAST_YEAR: Final = 9990


class Days(Protocol):
    """Which days are meant; none after `last_year`."""

    @property
    def last_year(self) -> int:
        """Return the year after which there are none."""
        ...

    def of_month(self, year: int, month: int) -> tuple[int, ...]:
        """Return the days in order; () where there are none."""
        ...


class Clock:
    """Times of a day: all combinations of hours, minutes and seconds, each in order."""

    __slots__ = ("_hours", "_minutes", "_seconds")

    def __init__(self, hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]) -> None:
        self._hours, self._minutes, self._seconds = hours, minutes, seconds

    def after(self, local: datetime, days: Days) -> Iterator[datetime]:
        """Yield naive local times strictly after `local`, in order, on these days."""
        hours, minutes, seconds = self._hours, self._minutes, self._seconds
        year, month, last_year = local.year, local.month, days.last_year
        numbers = days.of_month(year, month)
        at = bisect_left(numbers, local.day)
        if at < len(numbers) and numbers[at] == local.day:
            yield from self._later_that_day(local)
            at += 1
        while year <= last_year:
            for day in numbers[at:]:
                for hour in hours:
                    for minute in minutes:
                        for second in seconds:
                            yield datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            numbers, at = days.of_month(year, month), 0

    def _later_that_day(self, local: datetime) -> Iterator[datetime]:
        hours, minutes, seconds = self._hours, self._minutes, self._seconds
        at_hour = bisect_left(hours, local.hour)
        if at_hour < len(hours) and hours[at_hour] == local.hour:
            at_minute = bisect_left(minutes, local.minute)
            if at_minute < len(minutes) and minutes[at_minute] == local.minute:
                for second in seconds[bisect_right(seconds, local.second) :]:
                    yield local.replace(second=second, microsecond=0)
                at_minute += 1
            for minute in minutes[at_minute:]:
                for second in seconds:
                    yield local.replace(minute=minute, second=second, microsecond=0)
            at_hour += 1
        for hour in hours[at_hour:]:
            for minute in minutes:
                for second in seconds:
                    yield local.replace(hour=hour, minute=minute, second=second, microsecond=0)
