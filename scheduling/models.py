"""Job (what) → Schedule (when) → Task (one planned instant) → TaskInstance (one attempt on one agent).

The rules that the database can keep stand in the constraints here; the invariants' names (I1 …) are those
of `docs/reliability.md`. Status changes are made by `scheduling.services.lifecycle` alone.
"""

import secrets

import uuid_utils.compat
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from agents.models import Agent
from scheduling.kinds import DaylightGap, DaylightOverlap, ScheduleKind, ScheduleStatus
from scheduling.querysets import InstanceQuerySet, JobQuerySet, ScheduleQuerySet, TaskQuerySet
from scheduling.states import (
    INSTANCE_LIVE,
    TASK_CLAIMABLE,
    InstanceStatus,
    Outcome,
    TaskStatus,
)


class Route(models.Model):
    """What an agent needs to run a task: a kind of command and labels; for a limited job, its free places.

    Tasks wait in one queue for each route, so that a claim never walks over tasks that no offering agent
    could run, nor over those of a job that is at its limit. Rows are made on demand and shared.
    """

    key = models.CharField(max_length=64, unique=True)
    cmd = models.CharField(max_length=16)
    labels = models.JSONField(default=dict)
    job = models.ForeignKey("Job", null=True, on_delete=models.CASCADE, related_name="routes")

    class Meta:
        verbose_name = _("route")

    def __str__(self) -> str:
        return f"{self.cmd} {self.labels}"


class Job(models.Model):
    """What to run."""

    namespace = models.CharField(_("namespace"), max_length=255, default="default")
    name = models.CharField(_("name"), max_length=255)
    description = models.TextField(_("description"), blank=True, default="")
    command = models.TextField(_("script"), blank=True, default="")
    environment = models.JSONField(_("environment"), default=dict, blank=True)
    config = models.JSONField(_("configuration"), default=dict)
    # Derived when the job is saved, so that planning copies rows and computes nothing.
    task_config = models.JSONField(editable=False)
    route = models.ForeignKey(
        Route, on_delete=models.PROTECT, related_name="+", db_index=False, editable=False
    )
    max_concurrency = models.PositiveIntegerField(_("at most at once"), null=True, blank=True, editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)
    tags = models.JSONField(_("tags"), default=list, blank=True)
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    updated_by = models.CharField(_("updated by"), max_length=255, blank=True, default="")
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        permissions = [("switch_job", "Can enable and disable job")]
        constraints = [
            models.UniqueConstraint(
                fields=["namespace", "name"],
                condition=Q(archived_at__isnull=True),
                name="job_name_unique_in_namespace",
            ),
            models.CheckConstraint(condition=~Q(name="") & ~Q(namespace=""), name="job_name_not_empty"),
            models.CheckConstraint(
                condition=Q(max_concurrency__isnull=True) | Q(max_concurrency__gte=1),
                name="job_max_concurrency_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def new_seed() -> int:
    """Return a number that tells schedules apart."""
    return secrets.randbelow(2**31)


class Schedule(models.Model):
    """When a job runs. `planned_until` is the cursor: every instant up to it has its Task."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="schedules", verbose_name=_("job"))
    name = models.CharField(_("name"), max_length=255, blank=True, default="")
    description = models.TextField(_("description"), blank=True, default="")
    kind = models.CharField(_("kind"), max_length=16, choices=ScheduleKind.choices)
    cron_expression = models.TextField(_("cron expression"), null=True, blank=True)  # noqa: DJ001 (the contract says null)
    interval_secs = models.PositiveIntegerField(_("interval in seconds"), null=True, blank=True)
    timezone = models.CharField(_("time zone"), max_length=64, default="UTC")
    dst_gap = models.CharField(  # noqa: DJ001 (null: as cron does it)
        _("when the clocks go forward"), max_length=16, choices=DaylightGap.choices, null=True, blank=True
    )
    dst_overlap = models.CharField(  # noqa: DJ001
        _("when the clocks go back"), max_length=16, choices=DaylightOverlap.choices, null=True, blank=True
    )
    # What `~` draws its values from; kept when the schedule is renamed or restored.
    seed = models.PositiveIntegerField(default=new_seed, editable=False)
    start_time = models.DateTimeField(_("start"), null=True, blank=True)
    end_time = models.DateTimeField(_("end"), null=True, blank=True)
    max_count = models.PositiveIntegerField(_("at most so many runs"), null=True, blank=True)
    run_count = models.PositiveIntegerField(_("runs planned"), default=0)
    jitter_secs = models.PositiveIntegerField(_("jitter in seconds"), default=0)
    status = models.CharField(
        _("status"), max_length=16, choices=ScheduleStatus.choices, default=ScheduleStatus.ENABLED
    )
    planned_until = models.DateTimeField(_("planned until"))
    next_run_at = models.DateTimeField(_("next run"), null=True, blank=True)
    last_run_at = models.DateTimeField(_("last run"), null=True, blank=True)
    problem = models.TextField(_("problem"), blank=True, default="")
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        permissions = [("switch_schedule", "Can enable and disable schedule")]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ScheduleKind.values), name="schedule_kind_known"),
            models.CheckConstraint(
                condition=Q(status__in=ScheduleStatus.values), name="schedule_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(kind="cron") | (Q(cron_expression__isnull=False) & ~Q(cron_expression="")),
                name="schedule_cron_has_expression",
            ),
            models.CheckConstraint(
                condition=~Q(kind="interval") | Q(interval_secs__gte=1), name="schedule_interval_positive"
            ),
            models.CheckConstraint(
                condition=~Q(kind="once") | Q(start_time__isnull=False), name="schedule_once_has_start"
            ),
            models.CheckConstraint(
                condition=Q(start_time__isnull=True)
                | Q(end_time__isnull=True)
                | Q(end_time__gte=F("start_time")),
                name="schedule_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(max_count__isnull=True) | Q(max_count__gte=1), name="schedule_max_count_positive"
            ),
            models.CheckConstraint(
                condition=Q(dst_gap__isnull=True) | Q(dst_gap__in=DaylightGap.values),
                name="schedule_dst_gap_known",
            ),
            models.CheckConstraint(
                condition=Q(dst_overlap__isnull=True) | Q(dst_overlap__in=DaylightOverlap.values),
                name="schedule_dst_overlap_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_run_at"],
                condition=Q(status="enabled", next_run_at__isnull=False),
                name="schedule_due",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.kind} {self.cron_expression or self.interval_secs or self.start_time}"

    @property
    def namespace(self) -> str:
        """Its job's."""
        return self.job.namespace


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
            models.Index(fields=["-scheduled_at"], name="task_by_scheduled_at"),
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
            models.Index(fields=["agent", "-id"], name="taskinstance_by_agent"),
            models.Index(fields=["status", "-id"], name="taskinstance_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.task_id}.{self.attempt}"

    @property
    def namespace(self) -> str:
        """Its task's, which stays where it was planned when its job moves."""
        return self.task.namespace


class OutputStream(models.IntegerChoices):
    STDOUT = 1, "stdout"
    STDERR = 2, "stderr"


class OutputChunk(models.Model):
    """A piece of an attempt's output; `offset` is the number of bytes of the stream before it (I7, I13)."""

    instance = models.ForeignKey(
        TaskInstance, on_delete=models.CASCADE, related_name="chunks", db_index=False
    )
    stream = models.PositiveSmallIntegerField(choices=OutputStream.choices)
    offset = models.BigIntegerField()
    data = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("output")
        constraints = [
            models.UniqueConstraint(
                fields=["instance", "stream", "offset"], name="outputchunk_offset_unique"
            ),
            models.CheckConstraint(condition=Q(offset__gte=0), name="outputchunk_offset_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.instance_id} {self.stream} {self.offset}"


class Lease(models.Model):
    """Something held for a while by a process: a duty that only one should do, or the word "servers are up".

    A holder renews it and whoever comes after its end takes it over, both by compare-and-set; no correctness
    rests on it.
    """

    name = models.CharField(max_length=64, primary_key=True)
    holder = models.CharField(max_length=64)
    since = models.DateTimeField()
    renewed_at = models.DateTimeField()

    class Meta:
        verbose_name = _("lease")

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"
