"""Answers that were given to requests with an idempotency key."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class IdempotencyKey(models.Model):
    """One key of one caller, with what it was used for and what was answered."""

    caller = models.CharField(max_length=255)
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("idempotency key")
        constraints = [
            models.UniqueConstraint(fields=["caller", "key"], name="idempotencykey_once_per_caller"),
        ]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"
