"""Delete what is older than anybody wants to keep: ended tasks, their attempts and output, seen alerts.

Little by little: each batch is a short transaction over rows that nobody has locked, so that it stands in
nobody's way. It walks along one index, of ended tasks by job and by when they ended, whatever the table's
size. Planning's cursors lie behind everything that is deleted, so nothing of it is planned again.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Final, TypeAlias

from django.conf import settings
from django.db import connection, transaction

from scheduling.models import Alert

JOBS_PER_STEP: Final = 200
# As many tasks as the jobs of a step keep by number are counted in it; one job may keep more.
COUNTED_PER_STEP: Final = 100_000
TASKS_PER_BATCH: Final = 500
BYTES_PER_BATCH: Final = 32 * 1024 * 1024
# After so long a call leaves the rest to the next one.
BUDGET_SECS: Final = 0.5
ALERTS_PER_BATCH: Final = 1000

# What holds for a job: its id, days, number; 0 is no limit.
_Rule: TypeAlias = tuple[int, int, int]
# Where an ended task stands among those of its job: when it ended, and its id.
_Place: TypeAlias = tuple[datetime, int]
_FIRST_PLACE: Final[_Place] = (datetime.min.replace(tzinfo=UTC), 0)

_RULES: Final = """
SELECT j.id, COALESCE(own.keep_days, ns.keep_days, every.keep_days, %(keep_days)s),
       COALESCE(own.keep_last, ns.keep_last, every.keep_last, 0)
FROM scheduling_job j
LEFT JOIN scheduling_retentionrule own ON own.job_id = j.id
LEFT JOIN scheduling_retentionrule ns ON ns.namespace = j.namespace AND ns.job_id IS NULL
LEFT JOIN scheduling_retentionrule every ON every.namespace = '*' AND every.job_id IS NULL
"""
_NEXT_RULES: Final = f"{_RULES} WHERE j.id >= %(job_id)s ORDER BY j.id LIMIT %(limit)s"
_KEPT_SINCE: Final = f"""
SELECT rule.job_id, rule.days, (
    SELECT min(latest.completed_at) FROM (
        SELECT t.completed_at FROM scheduling_task t
        WHERE t.job_id = rule.job_id AND t.status IN ('completed', 'failed', 'cancelled')
        ORDER BY t.completed_at DESC, t.id DESC LIMIT rule.keep_last) latest)
FROM ({_RULES} WHERE j.id = ANY(%(ids)s::bigint[])) AS rule(job_id, days, keep_last)
"""
_OLDEST_KEPT: Final = """
SELECT rule.job_id, oldest.completed_at, oldest.id
FROM unnest(%(job_ids)s::bigint[], %(keep_last)s::int[]) AS rule(job_id, keep_last)
CROSS JOIN LATERAL (
    SELECT t.completed_at, t.id FROM scheduling_task t
    WHERE t.job_id = rule.job_id AND t.status IN ('completed', 'failed', 'cancelled')
    ORDER BY t.completed_at DESC, t.id DESC OFFSET rule.keep_last - 1 LIMIT 1
) oldest
"""
# Job by job and from the oldest on, which is the order of the index: it is walked no further than needed.
_LOCK_TASKS: Final = """
SELECT old.job_id, old.completed_at, old.id
FROM unnest(%(job_ids)s::bigint[], %(after_at)s::timestamptz[], %(after_ids)s::bigint[],
            %(before_at)s::timestamptz[], %(before_ids)s::bigint[])
     AS part(job_id, after_at, after_id, before_at, before_id)
CROSS JOIN LATERAL (
    SELECT t.job_id, t.completed_at, t.id FROM scheduling_task t
    WHERE t.job_id = part.job_id AND t.status IN ('completed', 'failed', 'cancelled')
      AND (t.completed_at, t.id) > (part.after_at, part.after_id)
      AND (t.completed_at, t.id) < (part.before_at, part.before_id)
    ORDER BY t.completed_at, t.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) old
LIMIT %(limit)s
"""
# Of tasks with attempts the bytes of their output; null where somebody has locked an attempt.
_LOCK_ATTEMPTS: Final = """
WITH locked AS (
    SELECT id, stdout_bytes + stderr_bytes AS bytes FROM scheduling_taskinstance
    WHERE task_id = ANY(%(ids)s::bigint[]) FOR UPDATE SKIP LOCKED
)
SELECT i.task_id, CASE WHEN count(locked.id) = count(*) THEN sum(locked.bytes) END
FROM scheduling_taskinstance i LEFT JOIN locked ON locked.id = i.id
WHERE i.task_id = ANY(%(ids)s::bigint[]) GROUP BY i.task_id
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

    job_id: int = 0
    place: _Place = _FIRST_PLACE

    def run_once(self, *, now: datetime) -> int:
        """Delete what is too old of the next jobs; return how many tasks that were.

        Any number of processes may do so at once. Raises what the database raises; what is committed stays.
        """
        give_up_at = time.monotonic() + BUDGET_SECS
        deleted = 0
        while True:
            rules = _next_rules(self.job_id)
            if not rules:
                self._go_to(0)
                _forget_seen_alerts(now=now)
                return deleted
            ends = _ends(rules, now=now)
            while ends:
                deleted += self.delete_batch(ends)
                if ends and time.monotonic() > give_up_at:
                    return deleted
            self._go_to(rules[-1][0] + 1)
            if time.monotonic() > give_up_at:
                return deleted

    def delete_batch(self, ends: dict[int, _Place]) -> int:
        """Delete the next tasks that stand before the `ends` of their jobs; return how many those were.

        One transaction that waits for no task and no attempt: what is locked is left for the next round.
        Takes the jobs that are done out of `ends`.
        """
        with transaction.atomic(), connection.cursor() as cursor:
            found = self._lock_tasks(ends)
            if not found:
                ends.clear()
                return 0
            cursor.execute(_LOCK_ATTEMPTS, {"ids": [task_id for _job, _at, task_id in found]})
            sizes = dict(cursor.fetchall())
            ids, size, passed = [], 0, 0
            for _job, _at, task_id in found:
                if size >= BYTES_PER_BATCH:
                    break
                passed += 1
                if (output := sizes.get(task_id, 0)) is not None:
                    ids.append(task_id)
                    size += output
            for statement in _DELETE:
                cursor.execute(statement, {"ids": ids})
        if passed < TASKS_PER_BATCH and passed == len(found):
            ends.clear()
        else:
            job_id, ended_at, task_id = found[passed - 1]
            self._go_to(job_id, after=(ended_at, task_id))
            for done in [other for other in ends if other < job_id]:
                del ends[done]
        return len(ids)

    def _lock_tasks(self, ends: dict[int, _Place]) -> list[tuple[int, datetime, int]]:
        after = [self.place if job_id == self.job_id else _FIRST_PLACE for job_id in ends]
        with connection.cursor() as cursor:
            cursor.execute(
                _LOCK_TASKS,
                {
                    "job_ids": list(ends),
                    "after_at": [at for at, _id in after],
                    "after_ids": [task_id for _at, task_id in after],
                    "before_at": [at for at, _id in ends.values()],
                    "before_ids": [task_id for _at, task_id in ends.values()],
                    "limit": TASKS_PER_BATCH,
                },
            )
            found: list[tuple[int, datetime, int]] = cursor.fetchall()
        return found

    def _go_to(self, job_id: int, *, after: _Place = _FIRST_PLACE) -> None:
        self.job_id, self.place = job_id, after


def kept_since(job_ids: Collection[int], *, now: datetime) -> dict[int, datetime]:
    """Return for each of these jobs whose tasks are deleted some day: what was created later is there.

    Holds for the rules as they are now.
    """
    with connection.cursor() as cursor:
        cursor.execute(_KEPT_SINCE, {"ids": list(job_ids), "keep_days": settings.HETUFLOW_KEEP_DAYS})
        rows = cursor.fetchall()
    kept: dict[int, datetime] = {}
    for job_id, days, oldest in rows:
        bounds = [now - timedelta(days=days)] if days else []
        bounds += [oldest] if oldest is not None else []
        if bounds:
            kept[job_id] = max(bounds)
    return kept


def _next_rules(job_id: int) -> list[_Rule]:
    """Return what holds for the next jobs, this one the first; none where there are no more."""
    bounds = {"job_id": job_id, "limit": JOBS_PER_STEP, "keep_days": settings.HETUFLOW_KEEP_DAYS}
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_RULES, bounds)
        rules: list[_Rule] = cursor.fetchall()
    counted = accumulate(last for _job, _days, last in rules)
    few = [rule for rule, count in zip(rules, counted, strict=True) if count <= COUNTED_PER_STEP]
    return few or rules[:1]


def _ends(rules: Sequence[_Rule], *, now: datetime) -> dict[int, _Place]:
    """Return for each job with a limit where to end: what stands before that is too old, or too much."""
    ends = {job_id: (now - timedelta(days=days), 0) for job_id, days, _last in rules if days}
    counted = {job_id: last for job_id, _days, last in rules if last}
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_KEPT, {"job_ids": list(counted), "keep_last": list(counted.values())})
        for job_id, completed_at, task_id in cursor.fetchall():
            ends[job_id] = max(ends.get(job_id, _FIRST_PLACE), (completed_at, task_id))
    return dict(sorted(ends.items()))


def _forget_seen_alerts(*, now: datetime) -> None:
    if not settings.HETUFLOW_KEEP_DAYS:
        return
    seen_before = now - timedelta(days=settings.HETUFLOW_KEEP_DAYS)
    old = Alert.objects.filter(acknowledged_at__lt=seen_before).order_by("pk").values("pk")[:ALERTS_PER_BATCH]
    Alert.objects.filter(pk__in=old).delete()
