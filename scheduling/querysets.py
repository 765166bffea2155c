"""Named subsets of the scheduling tables; adjectives, so that queries read as sentences."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce

from scheduling.states import INSTANCE_LIVE, TASK_CLAIMABLE, TASK_TERMINAL

if TYPE_CHECKING:
    from scheduling.models import Job, Schedule, Task, TaskInstance  # noqa: F401 (named in the quotes below)


class JobQuerySet(models.QuerySet["Job"]):
    def present(self) -> "JobQuerySet":
        """Jobs that are not archived."""
        return self.filter(archived_at__isnull=True)


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def present(self) -> "ScheduleQuerySet":
        """Schedules that are not archived."""
        return self.filter(archived_at__isnull=True)

    def due(self, *, now: datetime, horizon_secs: float) -> "ScheduleQuerySet":
        """Enabled schedules with an instant to plan by `now + horizon_secs`."""
        return self.filter(status="enabled", next_run_at__lte=now + timedelta(seconds=horizon_secs))


class TaskQuerySet(models.QuerySet["Task"]):
    def claimable(self) -> "TaskQuerySet":
        """Tasks that wait for an agent, whether due or not."""
        return self.filter(status__in=TASK_CLAIMABLE)

    def terminal(self) -> "TaskQuerySet":
        return self.filter(status__in=TASK_TERMINAL)


class InstanceQuerySet(models.QuerySet["TaskInstance"]):
    def live(self) -> "InstanceQuerySet":
        """Attempts that have not ended."""
        return self.filter(status__in=INSTANCE_LIVE)

    def count_live_of_agent(self) -> Coalesce:
        """Return an expression for querysets of agents: how many live attempts each has, by the index."""
        of_agent = self.live().filter(agent=OuterRef("pk")).order_by().values("agent")
        return Coalesce(Subquery(of_agent.annotate(count=Count("pk")).values("count")), 0)
