"""When schedules may not run: calendars, and namespaces that are frozen."""

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _


class Calendar(models.Model):
    """Days off, hours in which runs are allowed, and times in which nothing runs, for schedules to share.

    Days off are the holidays of a country (`holidays` library), the all-day events of an iCalendar file, and
    `dates` by hand: `{"date": "2026-05-01", "until": "2026-05-05", "name": "Labour Day"}`, `until` included
    and optional. Windows, if there are any, are the only times at which runs are allowed:
    `{"weekdays": [1, 2, 3, 4, 5], "from": "09:00", "to": "18:00"}`, Monday is 1, `to` excluded, both in the
    schedule's zone. Blackouts are instants: `{"from": "…Z", "to": "…Z", "reason": ""}`, and win over all.
    """

    namespace = models.CharField(_("namespace"), max_length=255, default="default")
    name = models.CharField(_("name"), max_length=255)
    description = models.TextField(_("description"), blank=True, default="")
    country = models.CharField(_("country"), max_length=8, blank=True, default="")
    subdivision = models.CharField(_("subdivision"), max_length=16, blank=True, default="")
    dates = models.JSONField(_("days off"), default=list, blank=True)
    ics = models.TextField(_("iCalendar file"), blank=True, default="")
    # The days of `ics`, read once when it is stored, in the shape of `dates`.
    ics_dates = models.JSONField(default=list, editable=False)
    windows = models.JSONField(_("allowed times"), default=list, blank=True)
    blackouts = models.JSONField(_("blackouts"), default=list, blank=True)
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")
    updated_by = models.CharField(_("updated by"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("calendar")
        verbose_name_plural = _("calendars")
        constraints = [
            models.UniqueConstraint(fields=["namespace", "name"], name="calendar_name_unique_in_namespace"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(namespace=""), name="calendar_name_not_empty"),
            models.CheckConstraint(
                condition=~Q(country="") | Q(subdivision=""), name="calendar_subdivision_has_country"
            ),
        ]
        indexes = [
            GinIndex(
                Func("name", "namespace", "description", function="hetuflow_parts"), name="calendar_by_parts"
            ),
            models.Index(fields=["name", "id"], name="calendar_by_name"),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Freeze(models.Model):
    """Nothing is planned in a namespace from `since` on, up to `until` or until it is lifted."""

    namespace = models.CharField(_("namespace"), max_length=255, unique=True)
    since = models.DateTimeField(_("since"))
    until = models.DateTimeField(_("until"), null=True, blank=True)
    reason = models.TextField(_("reason"), blank=True, default="")
    created_by = models.CharField(_("created by"), max_length=255, blank=True, default="")

    class Meta:
        verbose_name = _("freeze")
        verbose_name_plural = _("freezes")
        constraints = [
            models.CheckConstraint(
                condition=Q(until__isnull=True) | Q(until__gt=F("since")), name="freeze_ends_after_start"
            ),
            models.CheckConstraint(condition=~Q(namespace=""), name="freeze_namespace_not_empty"),
        ]

    def __str__(self) -> str:
        return self.namespace
