"""What attempts printed."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from scheduling.models.tasks import TaskInstance


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
