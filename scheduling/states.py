"""The two state machines, as data: who may become what. `docs/state-machine.md` draws them.

A Task is one planned instant, a TaskInstance one attempt at it. Terminal is final (I4): a trigger in the
database refuses to change a terminal status, except a Task's by an explicit retry.
"""

from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _


class TaskStatus(models.TextChoices):
    PENDING = "pending", _("pending")
    LOCKED = "locked", _("locked")
    DISPATCHED = "dispatched", _("dispatched")
    RUNNING = "running", _("running")
    WAITING_RETRY = "waiting_retry", _("waiting for retry")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class InstanceStatus(models.TextChoices):
    PENDING = "pending", _("pending")
    DISPATCHED = "dispatched", _("dispatched")
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    TIMEOUT = "timeout", _("timed out")
    LOST = "lost", _("lost")
    SKIPPED = "skipped", _("skipped")
    PAUSED = "paused", _("paused")


class Outcome(models.TextChoices):
    """What became of a planned instant."""

    FIRED = "fired", _("fired")
    LATE = "late", _("fired late")
    COALESCED = "coalesced", _("coalesced into a later one")
    SKIPPED_OVERLAP = "skipped_overlap", _("skipped: the one before still ran")
    SKIPPED_CALENDAR = "skipped_calendar", _("skipped by calendar")
    SKIPPED_DISABLED = "skipped_disabled", _("skipped: disabled")
    MISSED = "missed", _("missed")


T = TaskStatus
I = InstanceStatus  # noqa: E741 (read beside T in the tables below)

TASK_TRANSITIONS: Final[dict[TaskStatus, frozenset[TaskStatus]]] = {
    T.PENDING: frozenset({T.LOCKED, T.CANCELLED}),
    T.LOCKED: frozenset(
        {T.PENDING, T.DISPATCHED, T.RUNNING, T.WAITING_RETRY, T.COMPLETED, T.FAILED, T.CANCELLED}
    ),
    T.DISPATCHED: frozenset({T.PENDING, T.RUNNING, T.WAITING_RETRY, T.COMPLETED, T.FAILED, T.CANCELLED}),
    T.RUNNING: frozenset({T.WAITING_RETRY, T.COMPLETED, T.FAILED, T.CANCELLED}),
    T.WAITING_RETRY: frozenset({T.LOCKED, T.CANCELLED}),
    T.COMPLETED: frozenset(),
    T.FAILED: frozenset({T.PENDING}),
    T.CANCELLED: frozenset({T.PENDING}),
}
INSTANCE_TRANSITIONS: Final[dict[InstanceStatus, frozenset[InstanceStatus]]] = {
    I.PENDING: frozenset(
        {I.DISPATCHED, I.RUNNING, I.COMPLETED, I.FAILED, I.CANCELLED, I.TIMEOUT, I.LOST, I.SKIPPED}
    ),
    I.DISPATCHED: frozenset({I.RUNNING, I.COMPLETED, I.FAILED, I.CANCELLED, I.TIMEOUT, I.LOST, I.SKIPPED}),
    I.RUNNING: frozenset({I.COMPLETED, I.FAILED, I.CANCELLED, I.TIMEOUT, I.LOST}),
    I.COMPLETED: frozenset(),
    I.FAILED: frozenset(),
    I.CANCELLED: frozenset(),
    I.TIMEOUT: frozenset(),
    I.LOST: frozenset(),
    I.SKIPPED: frozenset(),
    I.PAUSED: frozenset(),
}

TASK_TERMINAL: Final = (T.COMPLETED, T.FAILED, T.CANCELLED)
TASK_CLAIMABLE: Final = (T.PENDING, T.WAITING_RETRY)
TASK_ON_AGENT: Final = (T.LOCKED, T.DISPATCHED, T.RUNNING)
TASK_RETRYABLE: Final = (T.FAILED, T.CANCELLED)
INSTANCE_LIVE: Final = (I.PENDING, I.DISPATCHED, I.RUNNING)
INSTANCE_TERMINAL: Final = (I.COMPLETED, I.FAILED, I.CANCELLED, I.TIMEOUT, I.LOST, I.SKIPPED)
# An attempt that ended in one of these counts against the retries of its task.
INSTANCE_FAILURES: Final = (I.FAILED, I.TIMEOUT, I.LOST)
