"""A forecast as a picture: tables coloured by number, and a chart of busy slots. Reads nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from math import ceil, expm1, log1p
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from scheduling.admin import words
from scheduling.services.forecast import Forecast

_LEVELS: Final = 5
# One column of the table of jobs stands for so many seconds, by the hours that are looked at.
_COLUMN_SECS: Final = ((6, 900), (12, 1800), (24, 3600), (48, 7200), (168, 21_600))
# A bar of the chart, in the units of its picture.
_BAR: Final = 10
_HEIGHT: Final = 100
# From this on a wait is worth a colour.
_WAIT_SECS: Final = 1.0
_HOUR: Final = 3600
_MINUTE: Final = "%Y-%m-%d %H:%M"
_SHORT: Final = "%m-%d %H:%M"
_WEEK: Final = 7 * 24 * _HOUR


def described(found: Forecast, *, links: Mapping[int, Any], timeline_url: str = "") -> dict[str, Any]:
    """Return the picture's context; `links` lead to the jobs, one that is gone is left out.

    Hours lead to the timeline, where it has an address.
    """
    load, frame = found.load, found.frame
    waits = [each.waiting_secs for each in found.occupancy]
    longest = max(waits, default=0.0)
    return {
        "schedules": found.schedules,
        "is_complete": found.is_complete,
        "slots": found.slots,
        "runs": sum(load.runs),
        "skipped_calendar": sum(load.skipped_calendar),
        "skipped_overlap": sum(load.skipped_overlap),
        "homeless": found.homeless,
        "longest": words.duration(longest) if longest >= _WAIT_SECS else "",
        "longest_at": words.shown(_begin(found, waits.index(longest)), _SHORT)
        if longest >= _WAIT_SECS
        else "",
        "begin": words.shown(frame.begin, _MINUTE),
        "end": words.shown(frame.end, _MINUTE),
        "zone": words.zone(),
        "heat": _heat(found, links),
        "chart": _chart(found),
        "week": _week(found, timeline_url) if frame.bucket_secs == _HOUR and frame.secs >= _WEEK else None,
        "week_legend": _legend(Scale(max(load.runs, default=0))),
        "buckets": [_bucket(found, number) for number in range(frame.buckets)],
    }


class Scale:
    """Levels from 1 to _LEVELS for numbers up to a highest one, each level for a multiple of the last."""

    def __init__(self, highest: int) -> None:
        steps = (expm1(log1p(highest) * level / _LEVELS) for level in range(1, _LEVELS + 1))
        # Of small numbers there are fewer than levels; the last one takes the highest whatever the rounding.
        self.bounds = [*(max(level, ceil(step - 1e-6)) for level, step in enumerate(steps, 1))]

    def level(self, number: int) -> int:
        """Return the level of a number, 0 for none."""
        if number <= 0:
            return 0
        return next((level for level, bound in enumerate(self.bounds, 1) if number <= bound), _LEVELS)


def compact(number: int) -> str:
    """Return a number in at most four characters."""
    if number < 1000:
        return str(number)
    for unit in ("k", "M"):
        number_of_units = number / 1000
        if number_of_units < 9.95:
            return f"{number_of_units:.1f}{unit}"
        if number_of_units < 999.5:
            return f"{number_of_units:.0f}{unit}"
        number = round(number_of_units)
    return "1G+"


def _heat(found: Forecast, links: Mapping[int, Any]) -> dict[str, Any]:
    """Return the table of jobs and columns: what of each job begins when."""
    secs = _column_secs(found)
    columns = _columns(found, secs)
    begins = [begin for begin, _numbers in columns]
    jobs = [job for job in found.jobs if job.job_id in links]
    counts = {job.job_id: _summed(job.runs, columns) for job in jobs}
    scale = Scale(max((count for row in counts.values() for count in row), default=0))
    total = _summed(found.load.runs, columns)
    total_scale = Scale(max(total, default=0))
    return {
        "days": [
            {"label": f"{day:%m-%d}", "span": len(list(group))}
            for day, group in groupby(begins, key=lambda begin: begin.date())
        ],
        "times": [f"{begin:%H:%M}" if secs < _HOUR else f"{begin:%H}" for begin in begins],
        "rows": [
            {
                "link": links[job.job_id],
                "secs": words.duration(job.secs),
                "can_run": job.can_run,
                "total": job.total,
                "cells": _cells(counts[job.job_id], scale, begins),
            }
            for job in sorted(jobs, key=lambda job: -job.total)
        ],
        "total": _cells(total, total_scale, begins),
        "total_count": sum(total),
        "legend": _legend(scale),
    }


def _column_secs(found: Forecast) -> int:
    hours = (found.frame.buckets - 1) * found.frame.bucket_secs // _HOUR
    return next((secs for limit, secs in _COLUMN_SECS if hours <= limit), _COLUMN_SECS[-1][1])


def _columns(found: Forecast, secs: int) -> list[tuple[datetime, list[int]]]:
    """Return columns that begin at round times, each with the numbers of its buckets."""
    keyed = ((_rounded(_begin(found, number), secs), number) for number in range(found.frame.buckets))
    return [
        (begin, [number for _begin_of, number in group])
        for begin, group in groupby(keyed, key=lambda pair: pair[0])
    ]


def _rounded(instant: datetime, secs: int) -> datetime:
    """Return the round time of the reader's clocks before an instant."""
    return instant - timedelta(seconds=(instant - instant.replace(hour=0, minute=0, second=0)).seconds % secs)


def _summed(numbers: Sequence[int], columns: Sequence[tuple[datetime, list[int]]]) -> list[int]:
    return [sum(numbers[number] for number in column) for _begin_of, column in columns]


def _cells(counts: Sequence[int], scale: Scale, begins: Sequence[datetime]) -> list[dict[str, Any]]:
    return [
        {
            "text": compact(count) if count else "",
            "level": scale.level(count),
            "title": _("%(time)s: %(n)s runs") % {"time": words.told_with_utc(begin, _SHORT), "n": count},
        }
        for begin, count in zip(begins, counts, strict=True)
    ]


def _legend(scale: Scale) -> list[dict[str, Any]]:
    """Return what the levels stand for, as ranges of numbers."""
    below = 0
    legend = []
    for level, bound in enumerate(scale.bounds, 1):
        if bound > below:
            text = str(bound) if bound == below + 1 else f"{below + 1}–{bound}"
            legend.append({"level": level, "text": text})
        below = max(below, bound)
    return legend


def _chart(found: Forecast) -> dict[str, Any]:
    """Return the chart of busy slots, by bucket, in units of which _HEIGHT is the whole height."""
    # Work that waited from before comes on top of what arrives.
    work_and_busy = zip(found.load.work, found.occupancy, strict=True)
    wanted = [max(work / found.frame.bucket_secs, busy.running) for work, busy in work_and_busy]
    top = max(found.slots * 1.2, min(max(wanted, default=0.0), found.slots * 3.0), 1.0)
    bars = []
    for number, occupancy in enumerate(found.occupancy):
        height = max(_HEIGHT * min(occupancy.running, top) / top, 1.0 if occupancy.running else 0.0)
        bars.append(
            {
                "x": number * _BAR,
                "y": f"{_HEIGHT - height:.2f}",
                "height": f"{height:.2f}",
                "is_waiting": occupancy.waiting_secs >= _WAIT_SECS,
                "title": _occupancy_words(found, number),
            }
        )
    points = [f"{(n + 0.5) * _BAR:.0f},{_HEIGHT * (1 - min(w, top) / top):.2f}" for n, w in enumerate(wanted)]
    ticks = [round(step * (found.frame.buckets - 1) / 4) for step in range(5)]
    return {
        "bars": bars,
        "width": found.frame.buckets * _BAR,
        "slot_y": f"{_HEIGHT * (1 - found.slots / top):.2f}",
        "wanted": " ".join(points),
        "ticks": [_tick(found, number) for number in ticks],
        "busiest": f"{max((each.running for each in found.occupancy), default=0.0):.1f}",
        "waiting_count": sum(bar["is_waiting"] for bar in bars),
    }


def _occupancy_words(found: Forecast, number: int) -> str:
    occupancy = found.occupancy[number]
    text = _("%(time)s: %(running)s of %(slots)s slots busy") % {
        "time": words.told_with_utc(_begin(found, number), _SHORT),
        "running": f"{occupancy.running:.1f}",
        "slots": found.slots,
    }
    if occupancy.waiting_secs < _WAIT_SECS:
        return text
    wait = _("at its end a run waits %(wait)s") % {"wait": words.duration(occupancy.waiting_secs)}
    return f"{text}; {wait}"


def _week(found: Forecast, timeline_url: str) -> list[dict[str, Any]]:
    """Return a row for each day with a cell for each hour; hours that are not looked at have none."""
    scale = Scale(max(found.load.runs, default=0))
    named = [(_begin(found, number), runs) for number, runs in enumerate(found.load.runs)]
    rows = []
    for day, group in groupby(named, key=lambda pair: pair[0].date()):
        hours: list[dict[str, Any] | None] = [None] * 24
        for begin, runs in group:
            (cell,) = _cells([runs], scale, [begin])
            hours[begin.hour] = cell | {"url": _span_url(timeline_url, begin) if runs else ""}
        rows.append({"label": f"{day:%m-%d}", "weekday": words.weekday(day), "hours": hours})
    return rows


def _span_url(timeline_url: str, begin: datetime) -> str:
    """Return where the timeline shows an hour and a minute: what is planned for its end is part of it."""
    at = round(begin.timestamp())
    return f"{timeline_url}&begin={at}000&end={at + _HOUR + 60}000" if timeline_url else ""


def _bucket(found: Forecast, number: int) -> dict[str, Any]:
    load, occupancy = found.load, found.occupancy[number]
    waits = occupancy.waiting_secs >= _WAIT_SECS
    return {
        "begin": words.shown(_begin(found, number), _MINUTE),
        "runs": load.runs[number],
        "skipped_calendar": load.skipped_calendar[number],
        "skipped_overlap": load.skipped_overlap[number],
        "running": f"{occupancy.running:.1f}",
        "wait": words.duration(occupancy.waiting_secs) if waits else "",
    }


def _begin(found: Forecast, number: int) -> datetime:
    """Return when a bucket begins, by the reader's clocks."""
    return timezone.localtime(found.frame.begin + timedelta(seconds=number * found.frame.bucket_secs))


def _tick(found: Forecast, number: int) -> str:
    begin = _begin(found, number)
    return f"{begin:%m-%d}" if found.frame.bucket_secs == _HOUR else f"{begin:%H:%M}"
