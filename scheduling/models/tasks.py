"""Planned instants and their attempts."""

from datetime import timedelta
from typing import Final

import uuid_utils.compat
from django.db import models
from django.db.models import F, Q
from django.db.models.lookups import GreaterThan
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from scheduling.models.backfills import Backfill
from scheduling.models.definitions import Job, Route, Schedule
from scheduling.querysets import InstanceQuerySet, TaskQuerySet
from scheduling.states import (
    INSTANCE_LIVE,
    TASK_CLAIMABLE,
    TASK_TERMINAL,
    InstanceStatus,
    Outcome,
    TaskStatus,
)

NOT_FIRED: Final = tuple(sorted(outcome.value for outcome in Outcome if outcome != Outcome.FIRED))
# Attempts that took longer are few, and have an index by which they are found long after they began.
LONG: Final = timedelta(minutes=5)
TOOK_LONG: Final = Q(GreaterThan(F("completed_at") - F("created_at"), LONG))


class Task(models.Model):
    """One planned instant of a job, whatever became of it. `due_at` is when its next attempt may start."""

    job = models.ForeignKey(
        Job, on_delete=models.PROTECT, related_name="tasks", db_index=False, verbose_name=_("job")
    )
    namespace = models.CharField(_("namespace"), max_length=255)
    schedule = models.ForeignKey(
        Schedule,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="tasks",
        db_index=False,
        verbose_name=_("schedule"),
    )
    backfill = models.ForeignKey(
        Backfill,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="tasks",
        db_index=False,
        verbose_name=_("backfill"),
    )
    schedule_kind = models.CharField(_("kind"), max_length=16, blank=True, default="")
    route = models.ForeignKey(Route, on_delete=models.PROTECT, related_name="+", db_index=False)
    priority = models.IntegerField(_("priority"), default=0)
    status = models.CharField(
        _("status"), max_length=16, choices=TaskStatus.choices, default=TaskStatus.PENDING
    )
    outcome = models.CharField(  # noqa: DJ001 (null: no schedule planned it)
        _("outcome"), max_length=16, choices=Outcome.choices, null=True, blank=True
    )
    reason = models.TextField(_("reason"), blank=True, default="")
    scheduled_at = models.DateTimeField(_("planned for"))
    # More than one where so many were missed that they share a row.
    instants = models.PositiveBigIntegerField(_("instants"), default=1, db_default=1)
    due_at = models.DateTimeField(_("due"))
    completed_at = models.DateTimeField(_("ended"), null=True, blank=True)
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    environment = models.JSONField(_("environment"), default=dict, blank=True)
    config = models.JSONField(_("configuration"))
    attempt_count = models.PositiveIntegerField(_("attempts"), default=0)
    retry_count = models.PositiveIntegerField(_("retries"), default=0)
    max_retries = models.PositiveIntegerField(_("retries allowed"), default=0)
    manual_retries = models.PositiveIntegerField(_("retries by hand"), default=0)
    dependencies = models.JSONField(_("dependencies"), default=list, blank=True)
    locked_at = models.DateTimeField(null=True, blank=True)
    lock_version = models.PositiveIntegerField(default=0)
    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True, blank=True)
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        constraints = [
            models.UniqueConstraint(fields=["schedule", "scheduled_at"], name="task_one_per_instant"),  # I1
            models.UniqueConstraint(
                fields=["backfill", "scheduled_at"], name="task_one_per_backfilled_instant"
            ),
            models.CheckConstraint(condition=Q(instants__gte=1), name="task_instants_positive"),
            models.CheckConstraint(condition=Q(status__in=TaskStatus.values), name="task_status_known"),
            models.CheckConstraint(
                condition=Q(completed_at__isnull=False) ^ ~Q(status__in=("completed", "failed", "cancelled")),
                name="task_completed_at_iff_terminal",
            ),
        ]
        indexes = [
            models.Index(
                fields=["route", "priority", "due_at"],
                condition=Q(status__in=TASK_CLAIMABLE),
                name="task_claimable",
            ),
            models.Index(fields=["job", "-id"], name="task_by_job"),
            models.Index(fields=["status", "-id"], name="task_by_status"),
            models.Index(fields=["namespace", "-id"], name="task_by_namespace"),
            # With the id as in the order of lists, so that pages far down are found by the index alone.
            models.Index(fields=["-scheduled_at", "id"], name="task_by_scheduled_at"),
            models.Index(fields=["-created_at", "id"], name="task_by_created_at"),
            models.Index(fields=["-completed_at", "id"], name="task_by_completed_at"),
            # Along which retention walks.
            models.Index(
                fields=["job", "completed_at", "id"],
                condition=Q(status__in=TASK_TERMINAL),
                name="task_ended",
            ),
            models.Index(
                fields=["scheduled_at"], condition=Q(status__in=TASK_CLAIMABLE), name="task_upcoming"
            ),
            # What a list is narrowed to that is not as usual.
            models.Index(fields=["-id"], condition=Q(attempt_count__gt=1), name="task_retried"),
            models.Index(
                fields=["outcome", "-id"], condition=Q(outcome__in=NOT_FIRED), name="task_by_other_outcome"
            ),
            models.Index(
                fields=["backfill", "status"], condition=Q(backfill__isnull=False), name="task_by_backfill"
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"


class TaskInstance(models.Model):
    """One attempt of a task on one agent. `token` fences it: only reports that carry it count (I5)."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7)
    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="instances", db_index=False, verbose_name=_("task")
    )
    job = models.ForeignKey(
        Job, on_delete=models.PROTECT, related_name="+", db_index=False, verbose_name=_("job")
    )
    agent = models.ForeignKey(
        Agent,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="instances",
        db_index=False,
        verbose_name=_("agent"),
    )
    # The task's, which never changes; here so that one index finds the attempts of a namespace.
    namespace = models.CharField(_("namespace"), max_length=255, editable=False, db_default="")
    attempt = models.PositiveIntegerField(_("attempt"))
    token = models.BigIntegerField(unique=True)
    status = models.CharField(
        _("status"), max_length=16, choices=InstanceStatus.choices, default=InstanceStatus.PENDING
    )
    place = models.PositiveIntegerField(null=True, blank=True)
    # Driven by REST calls, not by an agent's socket: never dispatched, and cancelled without asking anyone.
    by_hand = models.BooleanField(_("driven by hand"), default=False, db_default=False)
    last_seq = models.PositiveIntegerField(default=0)
    lease_expires_at = models.DateTimeField(_("lease until"), null=True, blank=True)
    start_at = models.DateTimeField(_("to start at"), null=True, blank=True)
    dispatched_at = models.DateTimeField(_("dispatched"), null=True, blank=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    completed_at = models.DateTimeField(_("ended"), null=True, blank=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True, blank=True)
    start_delay_ms = models.FloatField(_("start delay in ms"), null=True, blank=True)
    exit_code = models.IntegerField(_("exit code"), null=True, blank=True)
    signal = models.IntegerField(_("signal"), null=True, blank=True)
    result = models.JSONField(_("result"), null=True, blank=True)
    error_message = models.TextField(_("error"), blank=True, default="")
    metrics = models.JSONField(_("metrics"), default=dict, blank=True)
    stdout_bytes = models.BigIntegerField(_("stored bytes of stdout"), default=0)
    stderr_bytes = models.BigIntegerField(_("stored bytes of stderr"), default=0)
    output_truncated = models.BooleanField(_("output was cut"), default=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = InstanceQuerySet.as_manager()

    class Meta:
        verbose_name = _("task instance")
        verbose_name_plural = _("task instances")
        constraints = [
            models.UniqueConstraint(  # I3
                fields=["task"], condition=Q(status__in=INSTANCE_LIVE), name="taskinstance_one_live_per_task"
            ),
            models.UniqueConstraint(fields=["task", "attempt"], name="taskinstance_attempt_unique"),
            models.UniqueConstraint(  # I10: a limited job has that many places, and no two attempts share one
                fields=["job", "place"],
                condition=Q(status__in=INSTANCE_LIVE, place__isnull=False),
                name="taskinstance_one_live_per_place",
            ),
            models.CheckConstraint(
                condition=Q(status__in=InstanceStatus.values), name="taskinstance_status_known"
            ),
            models.CheckConstraint(condition=Q(attempt__gte=1), name="taskinstance_attempt_positive"),
        ]
        indexes = [
            models.Index(fields=["agent"], condition=Q(status__in=INSTANCE_LIVE), name="taskinstance_live"),
            models.Index(
                fields=["agent"],
                condition=Q(status__in=INSTANCE_LIVE, cancel_requested_at__isnull=False),
                name="taskinstance_cancel_requested",
            ),
            models.Index(
                fields=["job"], condition=Q(status__in=INSTANCE_LIVE), name="taskinstance_live_by_job"
            ),
            models.Index(fields=["namespace", "-id"], name="taskinstance_by_namespace"),
            models.Index(fields=["job", "-id"], name="taskinstance_by_job"),
            models.Index(fields=["agent", "-id"], name="taskinstance_by_agent"),
            # Which tasks an agent had, each once.
            models.Index(fields=["agent", "-task"], name="taskinstance_tasks_of_agent"),
            models.Index(fields=["-created_at", "id"], name="taskinstance_by_created_at"),
            models.Index(fields=["status", "-id"], name="taskinstance_by_status"),
            models.Index(
                fields=["completed_at", "created_at"], condition=TOOK_LONG, name="taskinstance_long"
            ),
            models.Index(fields=["-id"], condition=TOOK_LONG, name="taskinstance_long_by_id"),
            models.Index(
                fields=["exit_code", "-id"],
                condition=Q(exit_code__lt=0) | Q(exit_code__gt=0),
                name="taskinstance_by_exit_code",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task_id}.{self.attempt}"
