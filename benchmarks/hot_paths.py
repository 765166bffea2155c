"""What an installation does all the time, once round: planned, claimed, reported, stored, cleared away."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from django.db import connection, transaction
from django.db.models import Max

from benchmarks import history, tasks
from benchmarks.accounting import cost_of
from benchmarks.lives import live
from benchmarks.shapes import BUSY_AGENT
from benchmarks.workers import backend_pid
from scheduling.clock import database_now
from scheduling.models import Schedule, Task
from scheduling.services import backfilling, lifecycle, planning, rescue
from scheduling.services.retention import TASKS_PER_BATCH, Retention

AT_ONCE: Final = 10
MINUTE: Final = timedelta(minutes=1)
LONG_AGO: Final = timedelta(days=1000)
Costs: TypeAlias = dict[str, dict[str, float]]


class HotPaths:
    """Goes round, in a database that `history` filled."""

    def __init__(self) -> None:
        self._now = Schedule.objects.aggregate(Max("planned_until"))["planned_until__max"]
        Schedule.objects.update(planned_until=self._now, next_run_at=self._now + MINUTE)
        by_end = Task.objects.terminal().order_by("completed_at").values_list("completed_at", flat=True)
        self._ends = dict.fromkeys(history.some_jobs(), (by_end[TASKS_PER_BATCH], 0))
        self._backend = backend_pid()

    def round(self) -> Costs:
        """Return what each step took."""
        costs: Costs = {}
        self._now += MINUTE
        planned = self._step(costs, f"a tick of planning that makes {history.JOBS} tasks", self._plan)
        assert planned == history.JOBS, planned
        costs |= self.lives()
        self._step(costs, "the other duties of a scheduler's tick", self._other_duties)
        assert self._step(costs, f"a batch of retention, {TASKS_PER_BATCH} tasks", self._retain)
        return costs

    def lives(self) -> Costs:
        """Return what each step of ten lives took."""
        costs: Costs = {}
        live(agent_id=uuid.UUID(BUSY_AGENT), count=AT_ONCE, step=partial(self._step, costs))
        return costs

    @staticmethod
    def wear(lives: int) -> None:
        """Leave the dead rows of so many lives ahead of what waits, and let nobody clear them away."""
        job = tasks.make_job(cmd="bash", args=["-c", "date"])
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE scheduling_task SET (autovacuum_enabled = off)")
        tasks.insert_tasks(job=job, count=lives, first=database_now() - LONG_AGO, step_secs=0.001)
        tasks.live_in_bulk(job=job)

    def _step(self, costs: Costs, name: str, action: Callable[[], Any]) -> Any:
        result, costs[name] = cost_of(action, backend=self._backend)
        return result

    def _plan(self) -> int:
        return planning.run_once(now=self._now, horizon_secs=0, catch_up_secs=86_400)

    def _other_duties(self) -> None:
        now = database_now()
        backfilling.run_once(now=now)
        lifecycle.skip_overlapping_tasks(now=now)
        lifecycle.replace_overlapping_attempts(now=now)
        rescue.run_once(now=now)

    def _retain(self) -> int:
        """Delete the oldest tasks with all that a commit would check, and take it back for the next round."""
        with transaction.atomic(), connection.cursor() as cursor:
            deleted = Retention().delete_batch(dict(self._ends))
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            transaction.set_rollback(True)
        return deleted
