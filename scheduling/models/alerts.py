"""What somebody should hear of."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from scheduling.kinds import AlertKind
from scheduling.models.definitions import Job, Schedule


class Alert(models.Model):
    """Something that went wrong without anybody watching; it stays until somebody says that it was seen."""

    kind = models.CharField(_("kind"), max_length=32, choices=AlertKind.choices)
    namespace = models.CharField(_("namespace"), max_length=255)
    job = models.ForeignKey(Job, null=True, on_delete=models.CASCADE, related_name="+", verbose_name=_("job"))
    schedule = models.ForeignKey(
        Schedule, null=True, on_delete=models.CASCADE, related_name="alerts", verbose_name=_("schedule")
    )
    at = models.DateTimeField(_("time"), db_default=Now())
    text = models.TextField(_("text"))
    instants = models.PositiveBigIntegerField(_("instants"), default=1)
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True, blank=True)
    acknowledged_by = models.CharField(_("acknowledged by"), max_length=255, blank=True, default="")

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=AlertKind.values), name="alert_kind_known"),
        ]
        indexes = [
            models.Index(fields=["namespace", "-id"], name="alert_by_namespace"),
            models.Index(fields=["kind", "-id"], name="alert_by_kind"),
            models.Index(fields=["-id"], condition=Q(acknowledged_at__isnull=True), name="alert_open"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}"
