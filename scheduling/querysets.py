"""Named subsets of the scheduling tables; adjectives, so that queries read as sentences."""

from datetime import datetime, timedelta

from django.db import models

from scheduling.states import INSTANCE_LIVE, TASK_CLAIMABLE, TASK_TERMINAL


class JobQuerySet(models.QuerySet["Job"]):  # type: ignore[name-defined]
    def present(self) -> "JobQuerySet":
        """Jobs that are not archived."""
        return self.filter(archived_at__isnull=True)


class ScheduleQuerySet(models.QuerySet["Schedule"]):  # type: ignore[name-defined]
    def present(self) -> "ScheduleQuerySet":
        """Schedules that are not archived."""
        return self.filter(archived_at__isnull=True)

    def due(self, *, now: datetime, horizon_secs: float) -> "ScheduleQuerySet":
        """Enabled schedules with an instant to plan by `now + horizon_secs`."""
        return self.filter(status="enabled", next_run_at__lte=now + timedelta(seconds=horizon_secs))


class TaskQuerySet(models.QuerySet["Task"]):  # type: ignore[name-defined]
    def claimable(self) -> "TaskQuerySet":
        """Tasks that wait for an agent, whether due or not."""
        return self.filter(status__in=TASK_CLAIMABLE)

    def terminal(self) -> "TaskQuerySet":
        return self.filter(status__in=TASK_TERMINAL)


class InstanceQuerySet(models.QuerySet["TaskInstance"]):  # type: ignore[name-defined]
    def live(self) -> "InstanceQuerySet":
        """Attempts that have not ended."""
        return self.filter(status__in=INSTANCE_LIVE)
