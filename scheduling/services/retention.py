"""Delete what is older than anybody wants to keep: ended tasks, their attempts and output, seen alerts.

Little by little: each batch is a short transaction over rows that nobody has locked, so that it stands in
nobody's way. The oldest tasks of a job are found by the index of tasks by job, whatever the table's size.
Planning's cursors lie behind everything that is deleted, so nothing of it is planned again.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from scheduling.models import Alert

JOBS_PER_STEP: Final = 200
# Of each job so many of its oldest tasks are looked at in a step.
LOOKED_AT: Final = 200
TASKS_PER_BATCH: Final = 500
BYTES_PER_BATCH: Final = 32 * 1024 * 1024
# After so long a call leaves the rest to the next one.
BUDGET_SECS: Final = 0.5
ALERTS_PER_BATCH: Final = 1000

_JOBS: Final = """
SELECT j.id, COALESCE(own.keep_days, ns.keep_days, every.keep_days, %(keep_days)s),
       COALESCE(own.keep_last, ns.keep_last, every.keep_last, 0)
FROM scheduling_job j
LEFT JOIN scheduling_retentionrule own ON own.job_id = j.id
LEFT JOIN scheduling_retentionrule ns ON ns.namespace = j.namespace AND ns.job_id IS NULL
LEFT JOIN scheduling_retentionrule every ON every.namespace = '*' AND every.job_id IS NULL
WHERE j.id > %(after)s ORDER BY j.id LIMIT %(limit)s
"""
# With the oldest of the last that are kept.
_OLDEST_KEPT: Final = f"""
SELECT rule.job_id, rule.days, (
    SELECT min(latest.created_at) FROM (
        SELECT t.created_at FROM scheduling_task t
        WHERE t.job_id = rule.job_id AND t.status IN ('completed', 'failed', 'cancelled')
        ORDER BY t.id DESC LIMIT rule.keep_last) latest)
FROM ({_JOBS.split("WHERE j.id")[0]} WHERE j.id = ANY(%(ids)s::bigint[])) AS rule(job_id, days, keep_last)
"""
_TOO_OLD: Final = """
SELECT oldest.id
FROM unnest(%(job_ids)s::bigint[], %(cutoffs)s::timestamptz[], %(keep_last)s::int[])
     AS rule(job_id, cutoff, keep_last)
LEFT JOIN LATERAL (
    SELECT t.id FROM scheduling_task t
    WHERE t.job_id = rule.job_id AND t.status IN ('completed', 'failed', 'cancelled')
    ORDER BY t.id DESC OFFSET rule.keep_last LIMIT 1
) beyond ON rule.keep_last > 0
CROSS JOIN LATERAL (
    SELECT t.id, t.status, t.completed_at FROM scheduling_task t
    WHERE t.job_id = rule.job_id ORDER BY t.id LIMIT %(looked_at)s
) oldest
WHERE oldest.status IN ('completed', 'failed', 'cancelled')
  AND (oldest.completed_at < rule.cutoff OR oldest.id <= beyond.id)
ORDER BY oldest.id LIMIT %(limit)s
"""
# As many of the oldest as their output allows, one at least; what somebody has locked is left for later.
_TAKE: Final = """
WITH locked AS (
    SELECT id FROM scheduling_task WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT locked.id, COALESCE(sum(i.stdout_bytes + i.stderr_bytes), 0) AS size
    FROM locked LEFT JOIN scheduling_taskinstance i ON i.task_id = locked.id GROUP BY locked.id
)
SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM sized) taken
WHERE before < %(bytes)s
"""
_DELETE: Final = (
    """DELETE FROM scheduling_outputchunk c USING scheduling_taskinstance i
       WHERE c.instance_id = i.id AND i.task_id = ANY(%(ids)s::bigint[])""",
    "DELETE FROM scheduling_taskinstance WHERE task_id = ANY(%(ids)s::bigint[])",
    "DELETE FROM scheduling_task WHERE id = ANY(%(ids)s::bigint[])",
)


@dataclass(slots=True)
class Retention:
    """Goes round the jobs, a few in each call; where it stands is remembered in the process alone."""

    after_job: int = field(default=0)

    def run_once(self, *, now: datetime) -> int:
        """Delete what is too old of the next jobs; return how many tasks that were.

        Any number of processes may do so at once. Raises what the database raises; what is committed stays.
        """
        give_up_at = time.monotonic() + BUDGET_SECS
        deleted = 0
        while True:
            jobs = _next_jobs(self.after_job)
            if not jobs:
                self.after_job = 0
                _forget_seen_alerts(now=now)
                return deleted
            while count := _delete_batch(jobs, now=now):
                deleted += count
                if time.monotonic() > give_up_at:
                    return deleted
            self.after_job = jobs[-1][0]
            if time.monotonic() > give_up_at:
                return deleted


def kept_since(job_ids: Collection[int], *, now: datetime) -> dict[int, datetime]:
    """Return for each of these jobs whose tasks are deleted some day: what was created later is there.

    Holds for the rules as they are now.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_KEPT, {"ids": list(job_ids), "keep_days": settings.HETUFLOW_KEEP_DAYS})
        rows = cursor.fetchall()
    kept: dict[int, datetime] = {}
    for job_id, days, oldest in rows:
        bounds = [now - timedelta(days=days)] if days else []
        bounds += [oldest] if oldest is not None else []
        if bounds:
            kept[job_id] = max(bounds)
    return kept


def _next_jobs(after: int) -> list[tuple[int, int, int]]:
    """Return the next jobs, each with the days and the number of tasks that are kept; 0 is no limit."""
    bounds = {"after": after, "limit": JOBS_PER_STEP, "keep_days": settings.HETUFLOW_KEEP_DAYS}
    with connection.cursor() as cursor:
        cursor.execute(_JOBS, bounds)
        jobs: list[tuple[int, int, int]] = cursor.fetchall()
        return jobs


def _delete_batch(jobs: Sequence[tuple[int, int, int]], *, now: datetime) -> int:
    limited = [(job_id, days, last) for job_id, days, last in jobs if days or last]
    if not limited:
        return 0
    rules: dict[str, Any] = {
        "job_ids": [job_id for job_id, _days, _last in limited],
        "cutoffs": [now - timedelta(days=days) if days else None for _job, days, _last in limited],
        "keep_last": [last for _job, _days, last in limited],
        "looked_at": LOOKED_AT,
        "limit": TASKS_PER_BATCH,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_TOO_OLD, rules)
        found = [task_id for (task_id,) in cursor.fetchall()]
        if not found:
            return 0
        cursor.execute(_TAKE, {"ids": found, "bytes": BYTES_PER_BATCH})
        ids = [task_id for (task_id,) in cursor.fetchall()]
        for statement in _DELETE:
            cursor.execute(statement, {"ids": ids})
    return len(ids)


def _forget_seen_alerts(*, now: datetime) -> None:
    if not settings.HETUFLOW_KEEP_DAYS:
        return
    seen_before = now - timedelta(days=settings.HETUFLOW_KEEP_DAYS)
    old = Alert.objects.filter(acknowledged_at__lt=seen_before).order_by("pk").values("pk")[:ALERTS_PER_BATCH]
    Alert.objects.filter(pk__in=old).delete()
