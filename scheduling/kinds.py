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


class CalendarPolicy(models.TextChoices):
    """What becomes of an instant that the calendar forbids."""

    SKIP = "skip", _("skip the run")
    NEXT_DAY = "next_day", _("run on the next allowed day")


class IntervalMode(models.TextChoices):
    """What an interval is counted from."""

    RATE = "rate", _("from the start, at a fixed rate")
    DELAY = "delay", _("from the end of the run before")


class BackfillStatus(models.TextChoices):
    RUNNING = "running", _("running")
    PAUSED = "paused", _("paused")
    COMPLETED = "completed", _("completed")
    CANCELLED = "cancelled", _("cancelled")


class BackfillOverlap(models.TextChoices):
    """How a backfill goes with the schedule's own runs."""

    ALLOW = "allow", _("run beside them")
    QUEUE = "queue", _("wait while one is going on")


class BackfillFailure(models.TextChoices):
    """What becomes of a backfill when one of its runs fails for good."""

    CONTINUE = "continue", _("go on")
    PAUSE = "pause", _("pause")


class AlertKind(models.TextChoices):
    MISSED = "missed", _("instants were missed")
    PAUSED = "paused", _("paused after failures")


class BulkVerb(models.TextChoices):
    """What can be done to many at once: the subject and what is done to it, as in the audit log."""

    RUN_JOBS = "job.run", _("run jobs")
    ENABLE_JOBS = "job.enable", _("enable jobs")
    DISABLE_JOBS = "job.disable", _("disable jobs")
    ARCHIVE_JOBS = "job.archive", _("archive jobs")
    ENABLE_SCHEDULES = "schedule.enable", _("enable schedules")
    DISABLE_SCHEDULES = "schedule.disable", _("disable schedules")
    ARCHIVE_SCHEDULES = "schedule.archive", _("archive schedules")
    CANCEL_TASKS = "task.cancel", _("cancel tasks")
    RETRY_TASKS = "task.retry", _("retry tasks")
    ACKNOWLEDGE_ALERTS = "alert.acknowledge", _("acknowledge alerts")
    CHECK_DEFINITIONS = "definition.check", _("check an import")
    IMPORT_DEFINITIONS = "definition.import", _("import definitions")


class BulkStatus(models.TextChoices):
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    CANCELLED = "cancelled", _("cancelled")


class BulkState(models.TextChoices):
    """What became of one object of a bulk action."""

    WAITING = "waiting", _("to do")
    DONE = "done", _("done")
    REFUSED = "refused", _("refused")
