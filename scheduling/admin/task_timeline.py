"""What happened to a task: as events with their causes, and as a bar for each attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils.translation import gettext as _

from access.models import AuditEntry
from scheduling.admin import words
from scheduling.models import Task, TaskInstance
from scheduling.states import TASK_TERMINAL, TaskStatus

_ASKED: Final = {"task.cancel": "cancel", "task.retry": "retry"}
_MAX_ASKED: Final = 20


def timeline_of(task: Task, attempts: Sequence[TaskInstance]) -> list[dict[str, Any]]:
    """Return what happened to the task in the order of time, each with how long after the one before."""
    # Of what has one instant, the end of an attempt comes before that of its task.
    events = _asked(task)
    for attempt in attempts:
        events += _events_of_attempt(attempt)
    events += _events_of_task(task)
    known = sorted(((at, text) for at, text in events if at is not None), key=lambda event: event[0])
    before = [None, *(at for at, _text in known)]
    return [
        {
            "at": words.clock(at),
            "text": text,
            "after": "" if earlier is None else f"+{words.duration((at - earlier).total_seconds())}",
        }
        for (at, text), earlier in zip(known, before, strict=False)
    ]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of an attempt's bar; `left` and `width` in percent of the whole picture."""

    kind: str
    text: str
    left: float
    width: float


def bars_of(task: Task, attempts: Sequence[TaskInstance], *, now: datetime) -> list[dict[str, Any]]:
    """Return a bar for each attempt, from when it was due: waiting, handed over to the agent, running."""
    if not attempts:
        return []
    begin = min(task.scheduled_at, attempts[0].created_at)
    end = max([now if task.status not in TASK_TERMINAL else task.completed_at or now, begin])
    whole = max((end - begin).total_seconds(), 0.001)
    bars = []
    since = begin
    for attempt in attempts:
        until = attempt.completed_at or now
        started = attempt.started_at or until
        stretches = [
            _stretch("waits", _("waited"), since, attempt.created_at, begin=begin, whole=whole),
            _stretch("given", _("handed over"), attempt.created_at, started, begin=begin, whole=whole),
            _stretch(attempt.status, _("ran"), started, until, begin=begin, whole=whole),
        ]
        bars.append({"attempt": attempt, "stretches": [each for each in stretches if each is not None]})
        since = until
    return bars


def _stretch(
    kind: str, name: str, since: datetime, until: datetime, *, begin: datetime, whole: float
) -> Stretch | None:
    secs = (until - since).total_seconds()
    if secs <= 0:
        return None
    left = 100 * max(0.0, (since - begin).total_seconds()) / whole
    return Stretch(
        kind=kind,
        text=f"{name}: {words.duration(secs)}",
        left=round(min(left, 99.5), 3),
        width=round(max(0.5, 100 * secs / whole), 3),
    )


def _events_of_task(task: Task) -> list[tuple[datetime | None, str]]:
    who = {"who": task.created_by}
    events: list[tuple[datetime | None, str]] = [
        (task.created_at, _("created by %(who)s") % who if task.created_by else _("planned")),
        (task.scheduled_at, _("planned instant")),
    ]
    if task.completed_at is not None:
        text = _("task ended: %(status)s") % {"status": task.get_status_display()}
        events.append((task.completed_at, text))
    elif task.status == TaskStatus.WAITING_RETRY:
        events.append((task.due_at, _("next attempt")))
    return events


def _asked(task: Task) -> list[tuple[datetime | None, str]]:
    """Return who asked for a cancel or a retry, and a cancel of which the audit log knows nothing."""
    entries = AuditEntry.objects.filter(subject_type="task", subject_id=str(task.pk), action__in=_ASKED)
    events: list[tuple[datetime | None, str]] = []
    was_cancelled = False
    for entry in entries.order_by("-pk")[:_MAX_ASKED]:
        is_cancel = _ASKED[entry.action] == "cancel"
        was_cancelled = was_cancelled or is_cancel
        text = _("cancel requested by %(who)s") if is_cancel else _("retry requested by %(who)s")
        events.append((entry.at, text % {"who": entry.actor or "?"}))
    if not was_cancelled:
        events.append((task.cancel_requested_at, _("cancel requested")))
    return events


def _events_of_attempt(attempt: TaskInstance) -> list[tuple[datetime | None, str]]:
    number = {"n": attempt.attempt, "agent": attempt.agent.name if attempt.agent else "?"}
    ended = _("attempt %(n)s ended: %(status)s") % (number | {"status": attempt.get_status_display()})
    return [
        (attempt.created_at, _("attempt %(n)s given to %(agent)s") % number),
        (attempt.dispatched_at, _("attempt %(n)s accepted by the agent") % number),
        (attempt.started_at, _("attempt %(n)s started") % number),
        (attempt.completed_at, ended),
    ]
