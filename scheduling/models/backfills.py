"""Ranges of the past that are run after all."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from scheduling.kinds import BackfillOverlap, BackfillStatus
from scheduling.models.definitions import Schedule


class Backfill(models.Model):
    """A schedule's instants in [range_from, range_to], each run once more; `planned_until` is the cursor.

    At most `parallel` of its tasks are there at a time, so that it neither floods the queues nor loses its
    place: it goes on where it was, whoever was killed meanwhile.
    """

    schedule = models.ForeignKey(
        Schedule, on_delete=models.PROTECT, related_name="backfills", verbose_name=_("schedule")
    )
    namespace = models.CharField(_("namespace"), max_length=255)
    range_from = models.DateTimeField(_("from"))
    range_to = models.DateTimeField(_("to"))
    parallel = models.PositiveIntegerField(_("at most at once"), default=1)
    overlap = models.CharField(
        _("beside the schedule's own runs"),
        max_length=16,
        choices=BackfillOverlap.choices,
        default=BackfillOverlap.QUEUE,
    )
    status = models.CharField(
        _("status"), max_length=16, choices=BackfillStatus.choices, default=BackfillStatus.RUNNING
    )
    planned_until = models.DateTimeField(_("planned until"))
    total = models.PositiveIntegerField(_("instants"))
    planned = models.PositiveIntegerField(_("instants planned"), default=0)
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
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
                condition=Q(completed_at__isnull=False) ^ Q(status__in=("running", "paused")),
                name="backfill_completed_at_iff_ended",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(status="running"), name="backfill_running"),
            models.Index(fields=["namespace", "-id"], name="backfill_by_namespace"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"
