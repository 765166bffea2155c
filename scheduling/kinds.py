"""What kinds of schedules there are, and what they may say about the clocks."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ScheduleKind(models.TextChoices):
    CRON = "cron", _("cron")
    INTERVAL = "interval", _("interval")
    ONCE = "once", _("once")
    EVENT = "event", _("event")
    DAEMON = "daemon", _("daemon")
    FLOW = "flow", _("flow")


class ScheduleStatus(models.TextChoices):
    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")
    EXPIRED = "expired", _("expired")


class DaylightGap(models.TextChoices):
    """What becomes of a local time that the clocks skip."""

    SKIP = "skip", _("skip the run")
    NEXT_VALID = "next_valid", _("run when the clocks have moved")


class DaylightOverlap(models.TextChoices):
    """What becomes of a local time that comes twice."""

    FIRST = "first", _("run the first time")
    SECOND = "second", _("run the second time")
    BOTH = "both", _("run both times")
