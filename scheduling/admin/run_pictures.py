"""The latest runs of a job as pictures: a bar for each, and their attempts along time. Reads nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil, floor, log10
from typing import Any, Final

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from scheduling.admin import words
from scheduling.models import TaskInstance
from scheduling.services.run_history import Run, RunHistory, Trend, percentile
from scheduling.states import INSTANCE_LIVE, InstanceStatus, Outcome, TaskStatus

# Bars are this high, in percent, where there is no duration to tell.
_STUB: Final = 6
# A picture goes as far as its longest, unless that is so many times what nearly all need.
_OUTLIER: Final = 2.0
_ROOM: Final = 1.25
_NEARLY_ALL: Final = 0.95
# From this on a change of what runs take is worth a word, and from that on a colour.
_NOTEWORTHY: Final = 0.1
_WORRYING: Final = 0.2
_ROWS: Final = 12
# An attempt that waited for so long before it was given away is said to have waited.
_WAIT: Final = timedelta(seconds=1)
_KINDS: Final = {
    TaskStatus.COMPLETED: "completed",
    TaskStatus.FAILED: "failed",
    TaskStatus.CANCELLED: "cancelled",
    InstanceStatus.TIMEOUT: "timeout",
    InstanceStatus.LOST: "lost",
    InstanceStatus.SKIPPED: "cancelled",
}
_LABELS: Final = (
    ("completed", TaskStatus.COMPLETED.label),
    ("failed", TaskStatus.FAILED.label),
    ("timeout", InstanceStatus.TIMEOUT.label),
    ("lost", InstanceStatus.LOST.label),
    ("cancelled", TaskStatus.CANCELLED.label),
    ("active", TaskStatus.RUNNING.label),
)


def runs_picture(history: RunHistory) -> dict[str, Any]:
    """Return the context of a bar for each run, with the median and the 95th percentile of completed ones."""
    durations = history.durations
    known = sorted(run.secs for run in history.runs if run.secs is not None)
    top = _top(known)
    ended = [run for run in history.runs if run.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)]
    done = sum(run.status == TaskStatus.COMPLETED for run in ended)
    cut = sum(secs > top for secs in known)
    bars = [_bar(run, top) for run in history.runs]
    return {
        "bars": bars,
        "newest_first": bars[::-1],
        "top": words.duration(top) if known else "",
        "lines": [
            {"name": name, "secs": words.duration(secs), "at": f"{100 * min(secs / top, 1.0):.1f}"}
            for name, secs in _marks(durations)
        ],
        "success": f"{done * 100 // len(ended)} %" if ended else words.MISSING,
        "ended_count": len(ended),
        "done_count": done,
        "legend": _legend(_kind(run) for run in history.runs),
        "trend": trend_words(history.trend),
        "is_slower": history.trend is not None and history.trend.change >= _WORRYING,
        "cut": ngettext(
            "The picture ends at %(top)s; %(n)d run took longer.",
            "The picture ends at %(top)s; %(n)d runs took longer.",
            cut,
        )
        % {"top": words.duration(top), "n": cut}
        if cut
        else "",
    }


def trend_words(trend: Trend | None) -> str:
    """Return a sentence on whether runs get slower; empty where there are too few to tell."""
    if trend is None:
        return ""
    values = {
        "percent": round(abs(trend.change) * 100),
        "now": words.duration(trend.secs),
        "before": words.duration(trend.secs_before),
        "n": trend.count,
        "n_before": trend.count_before,
    }
    if abs(trend.change) < _NOTEWORTHY:
        text = _("About as fast as the week before: median %(now)s, then %(before)s")
    elif trend.change > 0:
        text = _("%(percent)s %% slower than the week before: median %(now)s, then %(before)s")
    else:
        text = _("%(percent)s %% faster than the week before: median %(now)s, then %(before)s")
    compared = _("%(n)s and %(n_before)s runs compared")
    return f"{text % values} ({compared % values})."


def attempts_picture(attempts: Sequence[TaskInstance], *, now: datetime) -> dict[str, Any]:
    """Return the context of a row for each task: its attempts as bars, from when the first was to start."""
    by_task: dict[int, list[TaskInstance]] = {}
    for attempt in attempts:
        by_task.setdefault(attempt.task_id, []).insert(0, attempt)
    tasks = list(by_task.values())[:_ROWS]
    lengths = [(_end(row[-1], now) - _origin(row)).total_seconds() for row in tasks]
    top = 4 * _round(max(_top(sorted(lengths)), 0.001) / 4)
    return {
        "rows": [_row(row, secs=secs, top=top, now=now) for row, secs in zip(tasks, lengths, strict=True)],
        "ticks": ["0", *(_tick(top * step / 4) for step in (1, 2, 3, 4))],
        "legend": _legend(_kind_of_attempt(attempt) for row in tasks for attempt in row),
    }


def _marks(durations: Sequence[float]) -> list[tuple[str, float]]:
    if len(durations) < 2:
        return []
    return [("median", percentile(durations, 0.5)), ("p95", percentile(durations, 0.95))]


def _top(ordered: Sequence[float]) -> float:
    """Return how far a picture goes that shows nearly all of the values to the end."""
    if not ordered:
        return 1.0
    nearly_all = percentile(ordered, _NEARLY_ALL)
    top = ordered[-1] if ordered[-1] <= _OUTLIER * nearly_all else _ROOM * nearly_all
    return top or 1.0


def _round(secs: float) -> float:
    """Return the next length that people count in: 1, 2 or 5 in each power of ten, and such of minutes."""
    if secs <= 20:
        power = 10.0 ** floor(log10(secs))
        return next(step * power for step in (1, 2, 5, 10) if secs <= step * power * (1 + 1e-9))
    for step in (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400):
        if secs <= step:
            return step
    return 86_400.0 * ceil(secs / 86_400)


def _tick(secs: float) -> str:
    """Return a length of time in one unit, as on a ruler."""
    for least, unit, size in ((7200, "h", 3600), (120, "min", 60), (1, "s", 1)):
        if secs >= least:
            return f"{secs / size:g} {unit}"
    return f"{secs * 1000:g} ms"


def _kind(run: Run) -> str:
    if run.status == TaskStatus.FAILED and run.ended_as in (InstanceStatus.TIMEOUT, InstanceStatus.LOST):
        return _KINDS[InstanceStatus(run.ended_as)]
    return _KINDS.get(TaskStatus(run.status), "active")


def _kind_of_attempt(attempt: TaskInstance) -> str:
    return _KINDS.get(InstanceStatus(attempt.status), "active")


def _legend(kinds: Any) -> list[dict[str, Any]]:
    shown = set(kinds)
    return [{"kind": kind, "label": label} for kind, label in _LABELS if kind in shown]


def _bar(run: Run, top: float) -> dict[str, Any]:
    height = _STUB if run.secs is None else max(_STUB / 2, 100 * min(run.secs / top, 1.0))
    status = InstanceStatus(run.ended_as).label if run.ended_as and run.status == "failed" else ""
    facts = [
        str(status or TaskStatus(run.status).label),
        words.duration(run.secs) if run.secs is not None else "",
        str(Outcome(run.outcome).label) if run.outcome not in (None, Outcome.FIRED) else "",
        _("exit code %(code)s") % {"code": run.exit_code} if run.exit_code else "",
        ngettext("%(n)d attempt", "%(n)d attempts", run.attempts) % {"n": run.attempts}
        if run.attempts > 1
        else "",
        run.agent,
    ]
    return {
        "url": reverse("admin:scheduling_task_change", args=[run.task_id]),
        "task": run.task_id,
        "planned": words.told_with_utc(run.scheduled_at),
        "facts": [fact for fact in facts if fact],
        "badge": words.badge(_kind(run), facts[0]),
        "more_facts": [fact for fact in facts[1:] if fact],
        "kind": _kind(run),
        "height": f"{height:.1f}",
        "is_cut": run.secs is not None and run.secs > top,
    }


def _row(row: Sequence[TaskInstance], *, secs: float, top: float, now: datetime) -> dict[str, Any]:
    task, origin, last = row[0].task, _origin(row), row[-1]
    waited = origin - (row[0].start_at or origin)
    return {
        "task_url": reverse("admin:scheduling_task_change", args=[task.pk]),
        "task": task.pk,
        "planned": words.moment(task.scheduled_at, now=now),
        "status": words.badge(task.status, task.get_status_display()),
        "hidden": row[0].attempt - 1,
        "waited": words.duration(waited.total_seconds()) if waited > _WAIT else "",
        "agent": last.agent.name if last.agent else "",
        "is_cut": secs > top,
        "took": words.duration(secs),
        "bars": [_attempt_bar(attempt, origin, top, now) for attempt in row],
    }


def _attempt_bar(attempt: TaskInstance, origin: datetime, top: float, now: datetime) -> dict[str, Any]:
    begin = attempt.started_at or attempt.created_at
    end = _end(attempt, now)
    left = 100 * min(max(0.0, (begin - origin).total_seconds()) / top, 1.0)
    width = 100 * min(max(0.0, (end - begin).total_seconds()) / top, 1.0)
    facts = [
        str(attempt.get_status_display()),
        _("started %(time)s") % {"time": words.told_with_utc(attempt.started_at)}
        if attempt.started_at
        else "",
        words.duration((end - begin).total_seconds()) if attempt.started_at else "",
        attempt.agent.name if attempt.agent else "",
        _("exit code %(code)s") % {"code": attempt.exit_code} if attempt.exit_code else "",
    ]
    return {
        "url": reverse("admin:scheduling_taskinstance_change", args=[attempt.pk]),
        "number": attempt.attempt,
        "facts": [fact for fact in facts if fact],
        "kind": _kind_of_attempt(attempt),
        "left": f"{left:.2f}",
        "width": f"{min(width, 100 - left):.2f}",
    }


def _origin(row: Sequence[TaskInstance]) -> datetime:
    """Return when the first attempt could start: at its instant, or when an agent got it after that."""
    first = row[0]
    at = first.created_at if first.start_at is None else max(first.start_at, first.created_at)
    return min(at, first.started_at or at)


def _end(attempt: TaskInstance, now: datetime) -> datetime:
    if attempt.completed_at is not None:
        return attempt.completed_at
    return now if attempt.status in INSTANCE_LIVE else attempt.updated_at
