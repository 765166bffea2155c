"""Where a schedule had trouble, as a table coloured by share: days by hours, or weeks by days."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from scheduling.admin import words
from scheduling.admin.forecast_picture import compact
from scheduling.services.ledger import Trouble

# Up to so many days each hour has a cell, beyond that each day.
HOURS_UP_TO: Final = timedelta(days=62)
# From which share of trouble on a cell has which level; none at all is a level of its own.
_LEVELS: Final = ((0.5, 4), (0.2, 3), (0.05, 2), (0.0, 1))
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)

Link = Callable[[datetime, datetime], str]


def span_of(begin: datetime, end: datetime) -> str:
    """Return what a cell stands for: an `hour` or a `day`."""
    return "hour" if end - begin <= HOURS_UP_TO else "day"


def heat_of(
    trouble: Mapping[datetime, Trouble], *, begin: datetime, end: datetime, link: Link
) -> dict[str, Any] | None:
    """Return the table's context, None where nothing was due; `link` leads to what a cell stands for.

    Days and hours are those of the reader's clocks; an hour that comes twice has one cell.
    """
    if not trouble:
        return None
    by_hour = span_of(begin, end) == "hour"
    first = timezone.localtime(begin).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = _days(trouble, first, end, link) if by_hour else _weekdays(trouble, first, end, link)
    total = Trouble(*(sum(numbers) for numbers in zip(*trouble.values(), strict=True)))
    return {
        "is_by_hour": by_hour,
        "columns": [f"{hour}" for hour in range(24)] if by_hour else _weeks(first, end),
        "rows": rows,
        "told": _told(total),
        "legend": [
            (0, _("nothing went wrong")),
            (1, _("less than 5 %")),
            (2, _("5 % and more")),
            (3, _("20 % and more")),
            (4, _("half and more")),
        ],
    }


def _days(
    trouble: Mapping[datetime, Trouble], first: datetime, end: datetime, link: Link
) -> list[dict[str, Any]]:
    rows = []
    day = first
    while day <= end:
        cells = [_cell(trouble, day + hour * _HOUR, _HOUR, link) for hour in range(24)]
        rows.append({"label": f"{day:%m-%d}", "weekday": words.weekday(day), "cells": cells})
        day += _DAY
    return rows


def _weekdays(
    trouble: Mapping[datetime, Trouble], first: datetime, end: datetime, link: Link
) -> list[dict[str, Any]]:
    monday = first - first.weekday() * _DAY
    weeks = (end - monday).days // 7 + 1
    return [
        {
            "label": "",
            "weekday": words.weekday(monday + number * _DAY),
            "cells": [
                _cell(trouble, monday + (7 * week + number) * _DAY, _DAY, link) for week in range(weeks)
            ],
        }
        for number in range(7)
    ]


def _weeks(first: datetime, end: datetime) -> list[str]:
    """Return what stands above the weeks: the month, where one begins."""
    monday = first - first.weekday() * _DAY
    columns, month = [], 0
    while monday <= end:
        columns.append(f"{monday:%m}" if monday.month != month else "")
        month = monday.month
        monday += 7 * _DAY
    return columns


def _cell(
    trouble: Mapping[datetime, Trouble], at: datetime, length: timedelta, link: Link
) -> dict[str, Any] | None:
    found = trouble.get(at)
    if found is None:
        return None
    name = words.told_with_utc(at, "%Y-%m-%d %H:%M") if length == _HOUR else f"{at:%Y-%m-%d}"
    return {
        "level": level_of(found),
        "text": compact(found.sum) if found.sum else "",
        "title": f"{name}: {_told(found)}",
        "url": link(at, at + length) if found.sum else "",
    }


def level_of(trouble: Trouble) -> int:
    """Return how bad it is, from 0 for no trouble to 4."""
    share = trouble.sum / trouble.due
    return next((level for least, level in _LEVELS if share >= least), 0) if trouble.sum else 0


def _told(trouble: Trouble) -> str:
    return _("due %(due)s, missed %(missed)s, failed %(failed)s, late %(late)s") % trouble._asdict()
