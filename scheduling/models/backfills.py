"""Ranges of the past that are run after all."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from scheduling.kinds import BackfillFailure, BackfillOverlap, BackfillStatus
from scheduling.models.definitions import Schedule


class Backfill(models.Model):
    """A schedule's instants in [range_from, range_to], each run once more; `planned_until` is the cursor.

    At most `parallel` of its tasks are there at a time, so that it neither floods the queues nor loses its
    place: it goes on where it was, whoever was killed meanwhile. `rule` is the schedule's recurrence as it
    was when the backfill was asked for; commands and parameters are those of the day, so that a mended job
    can be run again.
    """

    schedule = models.ForeignKey(
        Schedule, on_delete=models.PROTECT, related_name="backfills", verbose_name=_("schedule")
    )
    rule = models.JSONField(default=dict, editable=False)
    range_from = models.DateTimeField(_("from"))
    range_to = models.DateTimeField(_("to"))
    parallel = models.PositiveIntegerField(_("at most at once"), default=1)
    overlap = models.CharField(
        _("beside the schedule's own runs"),
        max_length=16,
        choices=BackfillOverlap.choices,
        default=BackfillOverlap.QUEUE,
    )
    on_failure = models.CharField(
        _("when a run fails"),
        max_length=16,
        choices=BackfillFailure.choices,
        default=BackfillFailure.CONTINUE,
    )
    only_missing = models.BooleanField(_("leave out what was completed"), default=False)
    status = models.CharField(
        _("status"), max_length=16, choices=BackfillStatus.choices, default=BackfillStatus.RUNNING
    )
    # Why it does not go on at this moment, or why it was paused.
    problem = models.TextField(_("problem"), blank=True, default="")
    planned_until = models.DateTimeField(_("planned until"))
    total = models.PositiveIntegerField(_("instants"))
    planned = models.PositiveIntegerField(_("instants planned"), default=0)
    left_out = models.PositiveIntegerField(_("instants left out"), default=0)
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    # Failures from before somebody let it go on do not count.
    resumed_at = models.DateTimeField(db_default=Now(), editable=False)
    completed_at = models.DateTimeField(_("ended"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("backfill")
        verbose_name_plural = _("backfills")
        constraints = [
            models.CheckConstraint(
                condition=Q(range_to__gte=F("range_from")), name="backfill_ends_after_start"
            ),
            models.CheckConstraint(condition=Q(parallel__gte=1), name="backfill_parallel_positive"),
            models.CheckConstraint(
                condition=Q(status__in=BackfillStatus.values), name="backfill_status_known"
            ),
            models.CheckConstraint(
                condition=Q(overlap__in=BackfillOverlap.values), name="backfill_overlap_known"
            ),
            models.CheckConstraint(
                condition=Q(on_failure__in=BackfillFailure.values), name="backfill_on_failure_known"
            ),
            models.CheckConstraint(
                condition=Q(completed_at__isnull=False) ^ Q(status__in=("running", "paused")),
                name="backfill_completed_at_iff_ended",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(status="running"), name="backfill_running"),
            models.Index(fields=["status", "-id"], name="backfill_by_status"),
            models.Index(fields=["created_by", "-id"], name="backfill_by_creator"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def namespace(self) -> str:
        """Its job's."""
        return self.schedule.job.namespace
