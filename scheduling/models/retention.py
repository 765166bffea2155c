"""How long the history of jobs is kept."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from scheduling.models.definitions import Job


class RetentionRule(models.Model):
    """What is kept of a job's ended tasks, or of those of every job in a namespace (`*`: in all).

    The job's own rule counts before its namespace's, that before the one for all; a field that is null is
    left to the next of them. 0 keeps for ever.
    """

    # Of a rule for a job: the job's.
    namespace = models.CharField(_("namespace"), max_length=255)
    job = models.OneToOneField(
        Job,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="retention_rule",
        verbose_name=_("job"),
    )
    keep_days = models.PositiveIntegerField(_("keep for days"), null=True, blank=True)
    keep_last = models.PositiveIntegerField(_("keep the last"), null=True, blank=True)
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_by = models.CharField(_("updated by"), max_length=255, blank=True, default="")
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("retention rule")
        verbose_name_plural = _("retention rules")
        constraints = [
            models.UniqueConstraint(
                fields=["namespace"], condition=Q(job__isnull=True), name="retentionrule_one_per_namespace"
            ),
            models.CheckConstraint(condition=~Q(namespace=""), name="retentionrule_namespace_not_empty"),
            models.CheckConstraint(
                condition=~Q(namespace="*") | Q(job__isnull=True), name="retentionrule_for_all_names_no_job"
            ),
            models.CheckConstraint(
                condition=Q(keep_days__isnull=False) | Q(keep_last__isnull=False),
                name="retentionrule_says_something",
            ),
        ]

    def __str__(self) -> str:
        return str(self.job) if self.job_id else self.namespace
