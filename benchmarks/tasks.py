"""Tasks in bulk, as planning would have made them."""

import itertools
import uuid
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Q

from scheduling import hints
from scheduling.clock import database_now
from scheduling.models import Job, Task
from scheduling.services.definitions import create_job
from scheduling.states import TASK_TERMINAL

_INSERT = """
INSERT INTO scheduling_task
    (job_id, namespace, schedule_kind, route_id, priority, status, reason, scheduled_at, due_at, parameters,
     environment, config, attempt_count, retry_count, max_retries, manual_retries, dependencies, lock_version,
     created_by, created_at, updated_at)
SELECT j.id, j.namespace, '', j.route_id, 0, 'pending', '', due.at, due.at, '{}', j.environment,
       j.task_config, 0, 0, 0, 0, '[]', 0, '', now(), now()
FROM scheduling_job j,
     LATERAL (SELECT %(first)s::timestamptz + n * make_interval(secs => %(step)s) AS at
              FROM generate_series(0, %(count)s - 1) n) due
WHERE j.id = %(job_id)s
"""
_STEP = """
UPDATE scheduling_task SET status = %(after)s, completed_at = CASE %(after)s WHEN 'completed' THEN now() END
WHERE job_id = %(job_id)s AND status = %(before)s
"""


def make_job(*, cmd: str, args: list[str]) -> Job:
    """Create a job with a name of its own."""
    return create_job(name=f"bench-{uuid.uuid4().hex[:8]}", config={"cmd": cmd, "args": args})


def insert_tasks(*, job: Job, count: int, first: datetime, step_secs: float = 0.0) -> None:
    """Insert tasks due from `first` on, `step_secs` apart, in one transaction, and hint at them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_INSERT, {"job_id": job.pk, "count": count, "first": first, "step": step_secs})
        hints.tasks_became_claimable()


def insert_due_tasks(*, job: Job, count: int) -> None:
    """Insert tasks that are due now."""
    insert_tasks(job=job, count=count, first=database_now())


def live_in_bulk(*, job: Job) -> None:
    """Let all tasks of the job end without an agent, each row as often written as of one that ran."""
    with connection.cursor() as cursor:
        for before, after in itertools.pairwise(("pending", "locked", "dispatched", "running", "completed")):
            cursor.execute(_STEP, {"job_id": job.pk, "before": before, "after": after})


def unfinished(job: Job) -> int:
    """Return how many tasks of the job have not ended."""
    return Task.objects.filter(~Q(status__in=TASK_TERMINAL), job=job).count()
