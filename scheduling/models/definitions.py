"""What runs and when: jobs, their queues and their schedules."""

import secrets

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Collate, Now, Upper
from django.utils.translation import gettext_lazy as _

from scheduling.kinds import (
    CalendarPolicy,
    DaylightGap,
    DaylightOverlap,
    IntervalMode,
    ScheduleKind,
    ScheduleStatus,
)
from scheduling.models.calendars import Calendar
from scheduling.querysets import JobQuerySet, ScheduleQuerySet


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
        indexes = [GinIndex(fields=["labels"], name="route_by_labels")]

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
    parameters_schema = models.JSONField(_("schema of the parameters"), null=True, blank=True)
    # Derived when the job is saved, so that planning copies rows and computes nothing.
    task_config = models.JSONField(editable=False)
    parameter_defaults = models.JSONField(default=dict, db_default={}, editable=False)
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
        indexes = [
            GinIndex(fields=["tags"], opclasses=["jsonb_path_ops"], name="job_by_tags"),
            # What people search for: parts of these.
            GinIndex(
                Func("name", "namespace", "description", function="hetuflow_parts"), name="job_by_parts"
            ),
            models.Index(fields=["route"], name="job_by_route"),
            models.Index(fields=["namespace", "id"], name="job_by_namespace"),
            models.Index(fields=["name", "id"], condition=Q(archived_at__isnull=True), name="job_by_name"),
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
    interval_mode = models.CharField(
        _("interval counts"), max_length=8, choices=IntervalMode.choices, default=IntervalMode.RATE
    )
    calendar = models.ForeignKey(
        Calendar,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="schedules",
        verbose_name=_("calendar"),
    )
    calendar_policy = models.CharField(
        _("on days off"), max_length=16, choices=CalendarPolicy.choices, default=CalendarPolicy.SKIP
    )
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    # Failures from before somebody enabled it do not count.
    enabled_at = models.DateTimeField(db_default=Now(), editable=False)
    pause_after_failures = models.PositiveIntegerField(_("pause after failures"), null=True, blank=True)
    catch_up_secs = models.PositiveIntegerField(_("catch up at most, in seconds"), null=True, blank=True)
    # What `~` draws its values from; kept when the schedule is renamed or restored.
    seed = models.PositiveIntegerField(default=new_seed, editable=False)
    start_time = models.DateTimeField(_("start"), null=True, blank=True)
    end_time = models.DateTimeField(_("end"), null=True, blank=True)
    max_count = models.PositiveIntegerField(_("at most so many runs"), null=True, blank=True)
    run_count = models.PositiveIntegerField(_("runs planned"), default=0)
    # Kept apart from the tasks and alerts that tell of them, which are deleted some day.
    missed_count = models.PositiveBigIntegerField(_("runs missed"), default=0, db_default=0, editable=False)
    jitter_secs = models.PositiveIntegerField(_("jitter in seconds"), default=0)
    status = models.CharField(
        _("status"), max_length=16, choices=ScheduleStatus.choices, default=ScheduleStatus.ENABLED
    )
    planned_until = models.DateTimeField(_("planned until"))
    # From here to the cursor the tasks follow the rule as it is now (I2); before, it may have been another.
    rule_since = models.DateTimeField(db_default=Now(), editable=False)
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
                condition=Q(pause_after_failures__isnull=True) | Q(pause_after_failures__gte=1),
                name="schedule_pause_after_failures_positive",
            ),
            models.CheckConstraint(
                condition=Q(calendar_policy__in=CalendarPolicy.values),
                name="schedule_calendar_policy_known",
            ),
            models.CheckConstraint(
                condition=Q(interval_mode__in=IntervalMode.values), name="schedule_interval_mode_known"
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
            models.Index(fields=["job"], condition=Q(missed_count__gt=0), name="schedule_with_missed"),
            # Planning writes these rows all the time, so what lists need is kept small.
            models.Index(
                fields=["next_run_at", "id"],
                condition=Q(archived_at__isnull=True),
                name="schedule_by_next_run",
            ),
            models.Index(Collate(Upper("name"), "C"), condition=~Q(name=""), name="schedule_by_name"),
            models.Index(fields=["id"], condition=~Q(problem=""), name="schedule_in_trouble"),
            models.Index(
                fields=["status", "next_run_at", "id"],
                condition=Q(status__in=("disabled", "expired"), archived_at__isnull=True),
                name="schedule_not_enabled",
            ),
            models.Index(
                fields=["id"],
                condition=Q(kind="interval", interval_mode="delay", status="enabled", next_run_at=None),
                name="schedule_waiting",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.kind} {self.cron_expression or self.interval_secs or self.start_time}"

    @property
    def namespace(self) -> str:
        """Its job's."""
        return self.job.namespace

    @property
    def counts_from_the_end(self) -> bool:
        """Whether each run follows the end of the one before, so that instants are not known beforehand."""
        return self.kind == ScheduleKind.INTERVAL and self.interval_mode == IntervalMode.DELAY
