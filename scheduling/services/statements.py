"""The SQL of the hot paths, and the arrays that feed it.

One statement handles any number of rows (`unnest`): measured on two cores, that is about thirty times the
rate of one statement for each row. Parameters are psycopg's named ones; JSON travels as text.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from scheduling.attempts import Attempt, Change
from scheduling.states import InstanceStatus

_LIVE: Final = "('pending', 'dispatched', 'running')"
_CLAIMABLE: Final = "('pending', 'waiting_retry')"

# The attempts that three parallel arrays name, matched by all of agent, instance and token, and locked in
# one order everywhere, so that batches of several servers wait for each other instead of deadlocking.
_NAMED: Final = """
    named AS (
        SELECT i.id, i.task_id
        FROM unnest(%(agent_ids)s::uuid[], %(instance_ids)s::uuid[], %(tokens)s::bigint[])
             AS k(agent_id, instance_id, token)
        JOIN scheduling_taskinstance i
          ON i.id = k.instance_id AND i.token = k.token AND i.agent_id = k.agent_id
    )"""

ATTEMPT_COLUMNS: Final = """
    i.agent_id, i.id, i.token, t.id, t.job_id, j.name, i.attempt, i.start_at, t.scheduled_at,
    t.config, t.environment, t.parameters"""

BEGIN_ATTEMPTS: Final = f"""
WITH assigned AS (
    SELECT * FROM unnest(%(task_ids)s::bigint[], %(agent_ids)s::uuid[], %(places)s::int[],
                         %(instance_ids)s::uuid[])
           AS a(task_id, agent_id, place, instance_id)
), t AS (
    UPDATE scheduling_task AS task
    SET status = 'locked', locked_at = %(now)s, updated_at = %(now)s, lock_version = lock_version + 1,
        attempt_count = attempt_count + 1
    FROM assigned WHERE task.id = assigned.task_id AND task.status IN {_CLAIMABLE}
    RETURNING task.*, assigned.agent_id, assigned.place, assigned.instance_id
), i AS (
    INSERT INTO scheduling_taskinstance
        (id, task_id, job_id, agent_id, namespace, attempt, token, status, place, last_seq, lease_expires_at,
         start_at, error_message, metrics, stdout_bytes, stderr_bytes, output_truncated, created_at,
         updated_at)
    SELECT instance_id, id, job_id, agent_id, namespace, attempt_count, nextval('scheduling_fencing_token'),
           'pending', place, 0, %(lease_expires_at)s, due_at, '', '{{}}', 0, 0, false, %(now)s, %(now)s
    FROM t ORDER BY due_at, id
    RETURNING *
)
SELECT {ATTEMPT_COLUMNS} FROM i JOIN t ON t.id = i.task_id JOIN scheduling_job j ON j.id = t.job_id
ORDER BY i.start_at, t.id
"""

RESENDABLE: Final = f"""
SELECT {ATTEMPT_COLUMNS}
FROM scheduling_taskinstance i
JOIN scheduling_task t ON t.id = i.task_id JOIN scheduling_job j ON j.id = t.job_id
WHERE i.agent_id = %(agent_id)s AND i.status IN ('pending', 'dispatched') AND i.cancel_requested_at IS NULL
  AND NOT i.by_hand AND i.id <> ALL(%(held)s::uuid[])
ORDER BY i.start_at, t.id
"""

ACCEPT_ATTEMPTS: Final = f"""
WITH {_NAMED}, locked AS (
    SELECT i.id, i.task_id FROM scheduling_taskinstance i JOIN named ON named.id = i.id
    JOIN scheduling_task t ON t.id = i.task_id
    WHERE i.status = 'pending' ORDER BY i.id FOR UPDATE OF t, i
), accepted AS (
    UPDATE scheduling_taskinstance i
    SET status = 'dispatched', dispatched_at = %(now)s, updated_at = %(now)s
    FROM locked WHERE i.id = locked.id AND i.status = 'pending'
    RETURNING i.task_id
)
UPDATE scheduling_task t SET status = 'dispatched', updated_at = %(now)s
FROM accepted WHERE t.id = accepted.task_id AND t.status = 'locked'
"""

DECLINE_ATTEMPTS: Final = f"""
WITH {_NAMED}, reasons AS (
    SELECT * FROM unnest(%(instance_ids)s::uuid[], %(reasons)s::text[]) AS r(instance_id, reason)
), locked AS (
    SELECT i.id, i.task_id FROM scheduling_taskinstance i JOIN named ON named.id = i.id
    JOIN scheduling_task t ON t.id = i.task_id
    WHERE i.status IN ('pending', 'dispatched') ORDER BY i.id FOR UPDATE OF t, i
), skipped AS (
    UPDATE scheduling_taskinstance i
    SET status = 'skipped', completed_at = %(now)s, updated_at = %(now)s,
        error_message = 'declined by the agent: ' || reasons.reason
    FROM locked JOIN reasons ON reasons.instance_id = locked.id
    WHERE i.id = locked.id AND i.status IN ('pending', 'dispatched')
    RETURNING i.task_id
)
UPDATE scheduling_task t
SET status = CASE WHEN t.cancel_requested_at IS NULL THEN 'pending' ELSE 'cancelled' END,
    completed_at = CASE WHEN t.cancel_requested_at IS NULL THEN NULL ELSE %(now)s END,
    updated_at = %(now)s
FROM skipped WHERE t.id = skipped.task_id AND t.status IN ('locked', 'dispatched')
"""

RENEW_LEASES: Final = f"""
WITH {_NAMED}, locked AS (
    SELECT i.id FROM scheduling_taskinstance i JOIN named ON named.id = i.id
    WHERE i.status IN {_LIVE} ORDER BY i.id FOR UPDATE OF i
)
UPDATE scheduling_taskinstance i SET lease_expires_at = %(lease_expires_at)s
FROM locked WHERE i.id = locked.id AND i.status IN {_LIVE}
RETURNING i.id, i.cancel_requested_at IS NOT NULL
"""

_DECISION_COLUMNS: Final = """
    i.id, i.task_id, i.status, i.last_seq, i.started_at, i.completed_at, t.status, t.cancel_requested_at,
    t.retry_count, t.max_retries, (t.config->>'retry_interval_secs')::int, t.config->>'retry_backoff',
    i.token, i.agent_id"""

LOCK_ATTEMPTS: Final = f"""
WITH {_NAMED}
SELECT {_DECISION_COLUMNS}
FROM named JOIN scheduling_taskinstance i ON i.id = named.id JOIN scheduling_task t ON t.id = i.task_id
ORDER BY i.id FOR UPDATE OF t, i
"""

LOCK_ATTEMPTS_BY_ID: Final = f"""
SELECT {_DECISION_COLUMNS}
FROM scheduling_taskinstance i JOIN scheduling_task t ON t.id = i.task_id
WHERE i.id = ANY(%(instance_ids)s::uuid[])
ORDER BY i.id FOR UPDATE OF t, i
"""

# A command that is stopped when its lease runs out has its grace to go; nothing may take its place before.
LOCK_EXPIRED_ATTEMPTS: Final = f"""
SELECT {_DECISION_COLUMNS}
FROM scheduling_taskinstance i JOIN scheduling_task t ON t.id = i.task_id
WHERE i.status IN {_LIVE} AND i.lease_expires_at < %(now)s
  AND (t.config->>'on_lease_lost' IS DISTINCT FROM 'kill' OR i.by_hand OR i.lease_expires_at
       < %(now)s - COALESCE((t.config->>'kill_grace_secs')::int, 10) * interval '1 second')
ORDER BY i.id LIMIT %(limit)s FOR UPDATE OF t, i SKIP LOCKED
"""

WRITE_INSTANCES: Final = """
UPDATE scheduling_taskinstance i
SET status = c.status, last_seq = c.last_seq, started_at = c.started_at,
    dispatched_at = COALESCE(i.dispatched_at, c.started_at),
    completed_at = COALESCE(c.completed_at, i.completed_at),
    start_delay_ms = COALESCE(c.start_delay_ms, i.start_delay_ms),
    exit_code = COALESCE(c.exit_code, i.exit_code), signal = COALESCE(c.signal, i.signal),
    result = COALESCE(c.result::jsonb, i.result),
    error_message = CASE WHEN c.error_message = '' THEN i.error_message ELSE c.error_message END,
    metrics = COALESCE(c.metrics::jsonb, i.metrics),
    output_truncated = i.output_truncated OR c.output_truncated,
    updated_at = %(now)s
FROM unnest(%(ids)s::uuid[], %(statuses)s::text[], %(seqs)s::int[], %(started)s::timestamptz[],
            %(completed)s::timestamptz[], %(delays)s::float8[], %(exit_codes)s::int[], %(signals)s::int[],
            %(results)s::text[], %(messages)s::text[], %(metrics)s::text[], %(truncated)s::bool[])
     AS c(id, status, last_seq, started_at, completed_at, start_delay_ms, exit_code, signal, result,
          error_message, metrics, output_truncated)
WHERE i.id = c.id
"""

WRITE_TASKS: Final = """
UPDATE scheduling_task t
SET status = c.status, retry_count = c.retry_count, due_at = COALESCE(c.due_at, t.due_at),
    completed_at = c.completed_at, updated_at = %(now)s, lock_version = t.lock_version + 1
FROM unnest(%(ids)s::bigint[], %(statuses)s::text[], %(retries)s::int[], %(due)s::timestamptz[],
            %(completed)s::timestamptz[])
     AS c(id, status, retry_count, due_at, completed_at)
WHERE t.id = c.id AND t.status IN ('locked', 'dispatched', 'running') AND t.status <> c.status
RETURNING t.backfill_id
"""

# Locked in the order of the ids, as heartbeats lock them, so that the two never deadlock.
COUNT_FOR_AGENTS: Final = """
WITH locked AS (
    SELECT id FROM agents_agent WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR NO KEY UPDATE
)
UPDATE agents_agent a
SET success_tasks = a.success_tasks + c.successes, failure_tasks = a.failure_tasks + c.failures,
    response_ms_total = a.response_ms_total + c.duration_ms,
    consecutive_failures =
        CASE WHEN c.successes = 0 THEN a.consecutive_failures + c.failures ELSE c.trailing_failures END,
    last_failure_at = COALESCE(c.last_failure_at, a.last_failure_at)
FROM unnest(%(ids)s::uuid[], %(successes)s::int[], %(failures)s::int[], %(trailing)s::int[],
            %(durations)s::float8[], %(last_failures)s::timestamptz[])
     AS c(id, successes, failures, trailing_failures, duration_ms, last_failure_at)
WHERE a.id = c.id AND a.id IN (SELECT id FROM locked)
"""

# From the attempts that run to their jobs and on to the queues of these, whatever else waits: how many tasks
# wait at all, PostgreSQL cannot know, being few among millions that have ended.
_FULL_JOBS: Final = f"""
full_jobs AS MATERIALIZED (
    SELECT j.id, j.archived_at, j.config->>'concurrency_policy' AS policy FROM (
        SELECT job_id, count(*) AS number FROM scheduling_taskinstance WHERE status IN {_LIVE} GROUP BY job_id
    ) live JOIN scheduling_job j ON j.id = live.job_id
    WHERE live.number >= j.max_concurrency
)"""

SKIP_OVERLAPPING: Final = f"""
WITH {_FULL_JOBS}, due AS (
    SELECT waiting.id FROM full_jobs JOIN scheduling_route r ON r.job_id = full_jobs.id
    CROSS JOIN LATERAL (
        SELECT t.id FROM scheduling_task t
        WHERE t.route_id = r.id AND t.status = 'pending' AND t.due_at <= %(now)s
          AND t.schedule_id IS NOT NULL AND t.attempt_count = 0
        ORDER BY t.priority, t.due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    ) waiting
    WHERE full_jobs.policy = 'forbid' AND full_jobs.archived_at IS NULL
)
UPDATE scheduling_task t
SET status = 'cancelled', outcome = 'skipped_overlap', completed_at = %(now)s, updated_at = %(now)s,
    reason = 'an earlier run of the job was still going'
FROM due WHERE t.id = due.id
"""

REPLACE_OVERLAPPED: Final = f"""
WITH {_FULL_JOBS}, due_jobs AS (
    SELECT DISTINCT full_jobs.id FROM full_jobs JOIN scheduling_route r ON r.job_id = full_jobs.id
    CROSS JOIN LATERAL (
        SELECT FROM scheduling_task t
        WHERE t.route_id = r.id AND t.status = 'pending' AND t.due_at <= %(now)s AND t.backfill_id IS NULL
        ORDER BY t.priority, t.due_at LIMIT 1
    ) waiting
    WHERE full_jobs.policy = 'replace'
), oldest AS (
    SELECT DISTINCT ON (i.job_id) i.id, i.task_id FROM scheduling_taskinstance i
    JOIN due_jobs ON due_jobs.id = i.job_id
    WHERE i.status IN {_LIVE} AND i.cancel_requested_at IS NULL ORDER BY i.job_id, i.id
), tasks AS (
    UPDATE scheduling_task t SET cancel_requested_at = %(now)s, updated_at = %(now)s,
        reason = 'replaced by a newer run of the job'
    FROM oldest WHERE t.id = oldest.task_id AND t.status IN ('locked', 'dispatched', 'running')
    RETURNING t.id
)
UPDATE scheduling_taskinstance i SET cancel_requested_at = %(now)s, updated_at = %(now)s
FROM oldest JOIN tasks ON tasks.id = oldest.task_id WHERE i.id = oldest.id
RETURNING i.agent_id
"""


# The last runs of a schedule, as many as it allows to fail, since somebody last enabled it: all failed.
PAUSE_FAILING: Final = """
WITH failing AS (
    SELECT DISTINCT s.id, s.pause_after_failures AS allowed, s.enabled_at FROM scheduling_task t
    JOIN scheduling_schedule s ON s.id = t.schedule_id
    WHERE t.id = ANY(%(task_ids)s::bigint[]) AND s.pause_after_failures IS NOT NULL AND s.status = 'enabled'
), spent AS (
    SELECT failing.id FROM failing, LATERAL (
        SELECT count(*) AS runs, bool_and(run.status = 'failed') AS all_failed FROM (
            SELECT t.status FROM scheduling_task t
            WHERE t.schedule_id = failing.id AND t.status IN ('completed', 'failed')
              AND t.completed_at >= failing.enabled_at
            ORDER BY t.scheduled_at DESC LIMIT failing.allowed
        ) run
    ) latest
    WHERE latest.runs = failing.allowed AND latest.all_failed
), paused AS (
    UPDATE scheduling_schedule s
    SET status = 'disabled', next_run_at = NULL, updated_at = %(now)s,
        problem = 'paused after ' || s.pause_after_failures || ' failures in a row'
    FROM spent WHERE s.id = spent.id
    RETURNING s.id, s.job_id, s.problem
), withdrawn AS (
    UPDATE scheduling_task t
    SET status = 'cancelled', outcome = 'skipped_disabled', reason = paused.problem, completed_at = %(now)s,
        updated_at = %(now)s
    FROM paused WHERE t.schedule_id = paused.id AND t.status = 'pending' AND t.attempt_count = 0
)
INSERT INTO scheduling_alert (kind, namespace, job_id, schedule_id, at, text, instants, acknowledged_by)
SELECT 'paused', j.namespace, paused.job_id, paused.id, %(now)s, 'The schedule was ' || paused.problem, 1, ''
FROM paused JOIN scheduling_job j ON j.id = paused.job_id
"""


def load_json(document: Any) -> Any:
    """Return a jsonb column's value; Django's cursor hands it over as text."""
    return json.loads(document) if isinstance(document, str) else document


def instance_arrays(changes: Sequence[tuple[Attempt, Change, uuid.UUID | None]]) -> dict[str, list[Any]]:
    """Return the arrays of WRITE_INSTANCES."""
    facts = [change.fact for _, change, _ in changes]
    return {
        "ids": [attempt.instance_id for attempt, _, _ in changes],
        "statuses": [change.status.value for _, change, _ in changes],
        "seqs": [change.last_seq for _, change, _ in changes],
        "started": [change.started_at for _, change, _ in changes],
        "completed": [change.completed_at for _, change, _ in changes],
        "delays": [change.start_delay_ms for _, change, _ in changes],
        "exit_codes": [fact.exit_code if fact else None for fact in facts],
        "signals": [fact.signal if fact else None for fact in facts],
        "results": [json.dumps(fact.result) if fact and fact.result is not None else None for fact in facts],
        "messages": [_message(change) for _, change, _ in changes],
        "metrics": [json.dumps(fact.metrics) if fact and fact.metrics else None for fact in facts],
        "truncated": [bool(fact and fact.output_truncated) for fact in facts],
    }


def task_arrays(changes: Sequence[tuple[Attempt, Change]]) -> dict[str, list[Any]]:
    """Return the arrays of WRITE_TASKS."""
    return {
        "ids": [attempt.task_id for attempt, _ in changes],
        "statuses": [change.task_status.value if change.task_status else None for _, change in changes],
        "retries": [change.retry_count for _, change in changes],
        "due": [change.due_at for _, change in changes],
        "completed": [None if change.due_at is not None else change.completed_at for _, change in changes],
    }


def counter_arrays(ended: Sequence[tuple[Change, uuid.UUID]], *, now: datetime) -> dict[str, list[Any]]:
    """Return the arrays of COUNT_FOR_AGENTS: one row for each agent, in the order of its id."""
    by_agent: dict[uuid.UUID, list[Change]] = {}
    for change, agent_id in ended:
        by_agent.setdefault(agent_id, []).append(change)
    arrays: dict[str, list[Any]] = {
        name: [] for name in ("ids", "successes", "failures", "trailing", "durations", "last_failures")
    }
    for agent_id in sorted(by_agent):
        changes = by_agent[agent_id]
        succeeded = [change.status == InstanceStatus.COMPLETED for change in changes]
        trailing = next((n for n, success in enumerate(reversed(succeeded)) if success), len(succeeded))
        arrays["ids"].append(agent_id)
        arrays["successes"].append(sum(succeeded))
        arrays["failures"].append(len(succeeded) - sum(succeeded))
        arrays["trailing"].append(trailing)
        arrays["durations"].append(sum(_duration_ms(change) for change in changes))
        arrays["last_failures"].append(None if all(succeeded) else now)
    return arrays


def _duration_ms(change: Change) -> float:
    if change.started_at is None or change.completed_at is None:
        return 0.0
    return (change.completed_at - change.started_at).total_seconds() * 1000


def _message(change: Change) -> str:
    if change.fact is None:
        return ""
    if change.status == InstanceStatus.LOST and change.fact.status != InstanceStatus.LOST:
        code = "" if change.fact.exit_code is None else f" with exit code {change.fact.exit_code}"
        return f"The lease ran out; the agent reported later that it {change.fact.status.label}{code}."
    return change.fact.error_message
