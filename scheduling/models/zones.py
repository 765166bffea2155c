"""Which data about time zones the stored instants were computed with."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ZoneData(models.Model):
    """A time zone that schedules use, and the SHA-256 of the data that their next instants follow."""

    zone = models.CharField(max_length=64, primary_key=True)
    digest = models.CharField(max_length=64)
    noted_at = models.DateTimeField()

    class Meta:
        verbose_name = _("time zone data")

    def __str__(self) -> str:
        return self.zone
