"""The pictures of the overview: runs by hour and outcome, and how late commands started."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from math import log1p
from typing import Any, Final

from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from scheduling.admin import words
from scheduling.admin.overview import Figures
from scheduling.services.recent_runs import Delays, begin_of, hour_of
from scheduling.services.run_counts import DAY, Runs
from scheduling.states import Outcome, TaskStatus

# The parts of a bar from the top, and the filters of the list behind each.
_PARTS: Final[dict[str, tuple[Promise, dict[str, str]]]] = {
    "failed": (gettext_lazy("failed"), {"status__exact": "failed"}),
    "missed": (gettext_lazy("missed"), {"outcome__exact": "missed"}),
    "left_out": (gettext_lazy("cancelled or skipped"), {"status__exact": "cancelled"}),
    "active": (
        gettext_lazy("waiting or running"),
        {"status__in": "pending,locked,dispatched,running,waiting_retry"},
    ),
    "completed": (gettext_lazy("succeeded"), {"status__exact": "completed"}),
}
_STATUSES: Final = {
    TaskStatus.COMPLETED: "completed",
    TaskStatus.FAILED: "failed",
    TaskStatus.CANCELLED: "left_out",
}
# What there is at all is seen, however high the other bars are.
_LEAST_PERCENT: Final = 2.0
_HEIGHT: Final = 100.0


def legend(runs: Runs) -> list[dict[str, Any]]:
    """Return how many there are of each part, with the list of them."""
    total: Counter[str] = Counter()
    for (_hour, status, outcome), number in runs.counts.items():
        total[_part_of(status, outcome)] += number
    return [
        {
            "kind": kind,
            "label": label,
            "count": f"{total[kind]:,}",
            "url": _tasks_url(filters | {"planned": "24"}),
        }
        for kind, (label, filters) in reversed(_PARTS.items())
    ]


def hour_rows(found: Figures) -> dict[str, Any]:
    """Return a bar for each hour of the last day, the first and the last of them parts of an hour."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for (hour, status, outcome), number in found.runs.counts.items():
        counts[hour][_part_of(status, outcome)] += number
    highest = max((sum(parts.values()) for parts in counts.values()), default=0)
    first, last = hour_of(found.now - DAY), hour_of(found.now)
    is_counted_from = hour_of(found.runs.since)
    hours = [
        _hour(found, hour, counts[hour], highest or 1, is_counted=hour >= is_counted_from)
        for hour in range(first, last + 1)
    ]
    return {"hours": hours, "highest": f"{highest:,}", "half": f"{highest / 2:,.0f}" if highest > 1 else ""}


def delay_picture(found: Figures) -> dict[str, Any] | None:
    """Return the median and the 99th percentile of the delays of the last day, and lines of both by hour."""
    if found.delay is None:
        return None
    first, last = hour_of(found.now - DAY), hour_of(found.now)
    # Early starts count as punctual; a picture of microseconds would be one of noise.
    top = max(1.0, *(each.p99_ms for each in found.delays.values()))
    by_hour = [found.delays.get(hour) for hour in range(first, last + 1)]
    return {
        "count": f"{found.delay.count:,}",
        "p50": words.duration(max(found.delay.p50_ms, 0) / 1000),
        "p99": words.duration(max(found.delay.p99_ms, 0) / 1000),
        "is_late": found.delay.p99_ms >= 1000,
        "top": words.duration(top / 1000),
        "width": last - first,
        "p50_lines": _lines([None if each is None else each.p50_ms for each in by_hour], top),
        "p99_lines": _lines([None if each is None else each.p99_ms for each in by_hour], top),
    }


def _hour(
    found: Figures, hour: int, counts: Counter[str], highest: int, *, is_counted: bool
) -> dict[str, Any]:
    begin, end = begin_of(hour), begin_of(hour + 1)
    bounds = (("begin", begin), ("end", end))
    span = {"scheduled_at__gte": begin.isoformat(), "scheduled_at__lt": end.isoformat()}
    told = [
        f"{label}: {counts[kind]:,}" for kind, (label, _filters) in reversed(_PARTS.items()) if counts[kind]
    ]
    nothing = _("nothing was planned") if is_counted else _("not counted")
    delay = found.delays.get(hour)
    return {
        "hour": hour,
        "label": words.told(begin, "%H:%M"),
        "begin": words.shown(begin, "%H:%M"),
        "is_tick": timezone.localtime(begin).hour % 6 == 0,
        "span": _("%(begin)s to %(end)s") % {name: words.told(at, "%H:%M") for name, at in bounds},
        "utc": "" if words.zone() == "UTC" else f"{begin:%H:%M} UTC",
        "told": told or [nothing],
        "url": _tasks_url(span),
        "is_counted": is_counted,
        "parts": [
            {"kind": kind, "percent": f"{max(100 * counts[kind] / highest, _LEAST_PERCENT):.1f}"}
            for kind in _PARTS
            if counts[kind]
        ],
        "counts": [f"{counts[kind]:,}" for kind in reversed(_PARTS)],
        "p50": _delay_words(delay, "p50_ms"),
        "p99": _delay_words(delay, "p99_ms"),
    }


def _part_of(status: str, outcome: str) -> str:
    if outcome == Outcome.MISSED:
        return "missed"
    return _STATUSES.get(TaskStatus(status), "active")


def _delay_words(delay: Delays | None, name: str) -> str:
    return words.MISSING if delay is None else words.duration(max(getattr(delay, name), 0) / 1000)


def _lines(values: list[float | None], top: float) -> list[str]:
    """Return the points of a line for each run of hours with a value; of a single one a short dash.

    The scale is logarithmic: a median of a millisecond is seen beside a percentile of seconds.
    """
    lines: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            lines.append([])
        else:
            lines[-1].append((number, _HEIGHT * (1 - log1p(max(value, 0)) / log1p(top))))
    drawn = (line if len(line) > 1 else [(line[0][0] - 0.4, line[0][1]), *line] for line in lines if line)
    return [" ".join(f"{x:g},{y:.1f}" for x, y in line) for line in drawn]


def _tasks_url(filters: Mapping[str, str]) -> str:
    return f"{reverse('admin:scheduling_task_changelist')}?{urlencode(filters)}"
