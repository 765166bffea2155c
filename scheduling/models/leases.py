"""Duties that one process has for a while."""

from django.db import models
from django.utils.translation import gettext_lazy as _


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
