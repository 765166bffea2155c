"""What is said of an attempt; and those of a task side by side, with what is not as in the attempt before."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.reasons import reason_words
from scheduling.models import TaskInstance
from scheduling.states import INSTANCE_LIVE

# A figure is told apart from the one before where it is twice or half as large, and as much more as counts.
_TIMES: Final = 2


def describe_attempt(attempt: TaskInstance, *, now: datetime) -> dict[str, Any]:
    """Return what is said of an attempt wherever it is listed."""
    ended_at = attempt.completed_at or now
    ran_secs = (ended_at - attempt.started_at).total_seconds() if attempt.started_at else None
    return {
        "attempt": attempt,
        "status": words.badge(attempt.status, attempt.get_status_display()),
        "agent": attempt.agent.name if attempt.agent else words.MISSING,
        "started": words.clock(attempt.started_at),
        "ended": words.clock(attempt.completed_at),
        "ran": words.duration(ran_secs),
        "delay": words.MISSING if attempt.start_delay_ms is None else f"{attempt.start_delay_ms:.1f} ms",
        "exit": exit_words(attempt),
        "error": visible(reason_words(attempt.error_message)),
        "cpu": words.duration(attempt.metrics.get("cpu_time")),
        "memory": words.size(attempt.metrics.get("memory_peak")),
        "output": words.size(attempt.stdout_bytes + attempt.stderr_bytes),
    }


def exit_words(attempt: TaskInstance) -> str:
    """Return how the process ended: its exit code, or the signal that ended it."""
    if attempt.signal is not None:
        return _("signal %(number)s") % {"number": attempt.signal}
    return words.MISSING if attempt.exit_code is None else str(attempt.exit_code)


class _Row(NamedTuple):
    """What is compared: how it is shown, and what has to differ for it to be told apart.

    Texts differ where they are not the same, figures by so much `at_least`.
    """

    label: str | Promise
    shown: Callable[[dict[str, Any]], Any]
    value: Callable[[TaskInstance], Any]
    at_least: float = 0
    is_line: bool = False


def _ran_secs(attempt: TaskInstance) -> float | None:
    if attempt.started_at is None or attempt.completed_at is None:
        return None
    return (attempt.completed_at - attempt.started_at).total_seconds()


def _output(described: dict[str, Any]) -> Any:
    page = reverse("admin:scheduling_taskinstance_change", args=[described["attempt"].pk])
    return format_html('<a href="{}#output">{}</a>', page, described["output"])


_ROWS: Final = (
    _Row(gettext_lazy("Status"), lambda each: each["status"], lambda attempt: attempt.status),
    _Row(
        gettext_lazy("Exit"),
        lambda each: each["exit"],
        lambda attempt: (attempt.exit_code, attempt.signal),
    ),
    _Row(
        gettext_lazy("Error"),
        lambda each: each["error"] or words.MISSING,
        lambda attempt: attempt.error_message,
    ),
    _Row(
        gettext_lazy("Last line"),
        lambda each: each["line"] or words.MISSING,
        lambda attempt: None,
        is_line=True,
    ),
    _Row(gettext_lazy("Agent"), lambda each: each["agent"], lambda attempt: attempt.agent_id),
    _Row(gettext_lazy("Started"), lambda each: each["started"], lambda attempt: None),
    _Row(
        gettext_lazy("Start delay"),
        lambda each: each["delay"],
        lambda attempt: attempt.start_delay_ms,
        at_least=100,
    ),
    _Row(gettext_lazy("Ran for"), lambda each: each["ran"], _ran_secs, at_least=1),
    _Row(
        gettext_lazy("Output"),
        _output,
        lambda attempt: attempt.stdout_bytes + attempt.stderr_bytes,
        at_least=1024,
    ),
    _Row(
        gettext_lazy("CPU time"),
        lambda each: each["cpu"],
        lambda attempt: attempt.metrics.get("cpu_time"),
        at_least=1,
    ),
    _Row(
        gettext_lazy("Peak memory"),
        lambda each: each["memory"],
        lambda attempt: attempt.metrics.get("memory_peak"),
        at_least=2**20,
    ),
)


def compared(
    attempts: Sequence[TaskInstance], lines: Mapping[UUID, str], *, now: datetime
) -> list[dict[str, Any]]:
    """Return a row for each thing that is said of attempts, with a cell for each of them in their order."""
    described = [
        describe_attempt(attempt, now=now) | {"line": visible(lines.get(attempt.pk, ""))}
        for attempt in attempts
    ]
    return [
        {
            "label": row.label,
            "is_line": row.is_line,
            "cells": [
                {"shown": row.shown(each), "differs": differs}
                for each, differs in zip(described, _differences(row, attempts, described), strict=True)
            ],
        }
        for row in _ROWS
    ]


def _differences(
    row: _Row, attempts: Sequence[TaskInstance], described: Sequence[dict[str, Any]]
) -> list[bool]:
    """Return of each attempt whether it is told apart from the one before; one that has not ended is not."""
    if row.is_line:
        values = [each["line"] for each in described]
    else:
        values = [row.value(attempt) for attempt in attempts]
    ended = [attempt.status not in INSTANCE_LIVE for attempt in attempts]
    apart = [_is_apart(before, after, row.at_least) for before, after in pairwise(values)]
    first = [False] if attempts else []
    return [*first, *(is_apart and has_ended for is_apart, has_ended in zip(apart, ended[1:], strict=True))]


def _is_apart(before: Any, after: Any, at_least: float) -> bool:
    if not at_least:
        return bool(before != after)
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return False
    less, more = sorted((max(before, 0), max(after, 0)))
    return more - less >= at_least and more >= _TIMES * less
