"""A past of Hetuflow in bulk: jobs, tasks, attempts with output and audit entries of the last days.

The many are made by the database itself, without indexes and triggers, which come back afterwards. What a
benchmark asks for is equally frequent in any size, and enough of it in 10,000 tasks to fill an answer.
"""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import connection
from django.utils import timezone

from agents.models import Agent
from scheduling.models import Job, Schedule

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

# A fifth of all tasks are of the first job, in `space-00`; those of the last one, in `retired`, are old.
JOBS: Final = 200
NAMESPACES: Final = 50
# A seventh of all attempts are on the first one.
AGENTS: Final = 1000
_TABLES: Final = (
    "scheduling_task",
    "scheduling_taskinstance",
    "scheduling_outputchunk",
    "access_auditentry",
)

# The large factors are primes: they scatter without a random generator.
_TASKS: Final = """
INSERT INTO scheduling_task
    (job_id, namespace, schedule_id, schedule_kind, route_id, priority, status, outcome, reason, scheduled_at,
     due_at, completed_at, parameters, environment, config, attempt_count, retry_count, max_retries,
     manual_retries, dependencies, locked_at, lock_version, created_by, created_at, updated_at)
SELECT j.id, j.namespace, s.id, 'interval', j.route_id, CASE mod(t.mix, 10) WHEN 0 THEN 5 ELSE 0 END,
       t.status, 'fired', '', t.at, t.at,
       CASE WHEN t.status IN ('completed', 'failed', 'cancelled') THEN t.ended_at END,
       jsonb_build_object('day', t.at::date), j.environment, j.task_config,
       CASE WHEN t.status IN ('pending', 'cancelled') THEN 0 ELSE 1 END,
       CASE mod(t.mix, 50) WHEN 0 THEN 2 ELSE 0 END, 3, 0, '[]',
       CASE WHEN t.status NOT IN ('pending', 'cancelled') THEN t.at END, 3,
       CASE mod(t.mix, 50) WHEN 1 THEN 'ann' ELSE 'schedule' END, t.at - interval '15 seconds', t.ended_at
FROM (
    SELECT n, mix, at, at + (1 + mod(mix, 60)) * interval '1 second' AS ended_at,
           CASE WHEN n <= %(tasks)s / 50 AND mod(n, 2) = 0 THEN %(jobs)s
                WHEN mix < 200 THEN 1 ELSE 2 + mod(n * 7919, %(jobs)s - 2) END AS job,
           CASE WHEN n > %(tasks)s - 200 AND mod(n, 5) = 0 THEN 'running'
                WHEN n > %(tasks)s - %(waiting)s THEN 'pending'
                WHEN mod(mix, 100) < 4 THEN 'failed' WHEN mod(mix, 100) < 6 THEN 'cancelled'
                ELSE 'completed' END AS status
    FROM (
        SELECT n, mod(n * 104729 / 7, 1000) AS mix,
               now() - %(span)s + n * (%(span)s / %(tasks)s) AS at
        FROM generate_series(1, %(tasks)s::bigint) n
    ) numbered
) t
JOIN (SELECT row_number() OVER (ORDER BY id) AS number, * FROM scheduling_job WHERE id <> %(model_id)s) j
  ON j.number = t.job
JOIN scheduling_schedule s ON s.job_id = j.id
ORDER BY t.n
"""
_ATTEMPTS: Final = """
INSERT INTO scheduling_taskinstance
    (id, task_id, job_id, agent_id, namespace, attempt, token, status, last_seq, start_at, dispatched_at,
     started_at, completed_at, start_delay_ms, exit_code, error_message, metrics, stdout_bytes, stderr_bytes,
     output_truncated, created_at, updated_at)
SELECT (lpad(to_hex((extract(epoch FROM t.due_at) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(t.id::text), 1, 3) || '8' || substr(md5(t.id::text), 4, 15))::uuid,
       t.id, t.job_id,
       lpad(to_hex(CASE WHEN mod(t.id * 7919, 100) < 15 THEN 1 ELSE 2 + mod(t.id * 6151, %(agents)s - 1) END),
            32, '0')::uuid,
       t.namespace, 1, nextval('scheduling_fencing_token'), t.status, 2, t.due_at,
       t.due_at - interval '2 seconds', t.due_at, t.completed_at, 3.5,
       CASE t.status WHEN 'completed' THEN 0 WHEN 'failed' THEN 1 END, '',
       '{"cpu_time": 0.01, "memory_peak": 1000000}', 200, 0, false, t.due_at - interval '2 seconds',
       t.updated_at
FROM scheduling_task t WHERE t.attempt_count > 0 ORDER BY t.id
"""
_OUTPUT: Final = """
INSERT INTO scheduling_outputchunk (instance_id, stream, "offset", data, at)
SELECT id, 1, 0, convert_to(repeat('so it goes; ', 16) || task_id, 'UTF8'), started_at
FROM scheduling_taskinstance ORDER BY task_id
"""
_AUDIT: Final = """
INSERT INTO access_auditentry
    (at, actor_kind, actor, token, address, action, subject_type, subject_id, subject, namespace, before,
     after)
SELECT now() - %(span)s + n * (%(span)s / %(changes)s),
       'token', 'user-' || mod(n * 7919, 20), 'ci', '10.0.0.1',
       CASE mod(n, 10) WHEN 0 THEN 'job.update' WHEN 1 THEN 'job.create' ELSE 'task.create' END,
       CASE WHEN mod(n, 10) < 2 THEN 'job' ELSE 'task' END, (n / 20)::text, 'job ' || n,
       CASE mod(n, 100) WHEN 0 THEN '' ELSE 'space-' || lpad(mod(n * 104729, 50)::text, 2, '0') END,
       '{"priority": 0}', '{"priority": 5}'
FROM generate_series(1, %(changes)s::bigint) n
"""


def fill(
    *,
    tasks: int,
    model: Job,
    extra_jobs: int = 0,
    days: float = 30,
    waiting: int | None = None,
    changes: int | None = None,
) -> None:
    """Fill an empty database with tasks of so many days; all jobs are copies of `model`.

    `waiting` of them are pending, a hundredth unless said; of `changes` the audit log tells, of one for each
    task unless said.
    """
    Agent.objects.bulk_create(_agents())
    jobs = Job.objects.bulk_create(_jobs(model, JOBS + extra_jobs))
    Schedule.objects.bulk_create(_schedules(jobs))
    values = {
        "tasks": tasks,
        "jobs": JOBS,
        "agents": AGENTS,
        "model_id": model.pk,
        "span": timedelta(days=days),
        "waiting": max(tasks // 100, 60) if waiting is None else waiting,
        "changes": tasks if changes is None else changes,
    }
    with connection.cursor() as cursor, built_afterwards(cursor, _TABLES):
        for statement in (_TASKS, _ATTEMPTS, _OUTPUT, _AUDIT):
            cursor.execute(statement, values)


@contextlib.contextmanager
def built_afterwards(cursor: "CursorWrapper", tables: Sequence[str]) -> Iterator[None]:
    """Fill tables at full speed within: their indexes are built and their statistics taken afterwards."""
    cursor.execute("SET statement_timeout = 0")
    cursor.execute("SET session_replication_role = replica")
    cursor.execute("SET maintenance_work_mem = '512MB'")
    for table in tables:
        cursor.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    indexes = _drop_indexes(cursor, tables)
    yield
    for index in indexes:
        cursor.execute(index)
    cursor.execute("SET session_replication_role = origin")
    for table in tables:
        cursor.execute(f"ALTER TABLE {table} RESET (autovacuum_enabled)")
    cursor.execute("VACUUM ANALYZE")
    cursor.execute("CHECKPOINT")
    cursor.execute("RESET maintenance_work_mem")
    cursor.execute("RESET statement_timeout")


def some_jobs() -> list[int]:
    """Return the ids of the jobs that have tasks, the busy one first."""
    return list(Job.objects.order_by("id").values_list("id", flat=True)[1 : JOBS + 1])


def _agents() -> Iterator[Agent]:
    for number in range(1, AGENTS + 1):
        yield Agent(
            id=uuid.UUID(int=number),
            name=f"agent-{number}",
            status="offline" if number % 20 == 0 else "idle",
            reported_labels={"zone": f"z{number % 10}", "os": "linux"},
            capabilities={"max_concurrent_tasks": 8, "commands": ["bash"], "metadata": {}},
        )


def _jobs(model: Job, count: int) -> Iterator[Job]:
    for number in range(1, count + 1):
        special = {1: "space-00", JOBS: "retired"}
        yield Job(
            namespace=special.get(number, f"space-{number % NAMESPACES:02}"),
            name=f"job-{number}",
            description=f"What job {number} does.",
            environment={"LANG": "C.UTF-8"},
            config=model.config,
            task_config=model.task_config,
            route_id=model.route_id,
            enabled=number % 10 != 0,
            tags=[f"team-{number % 40}", "nightly" if number % 3 == 0 else "hourly"],
        )


def _schedules(jobs: list[Job]) -> Iterator[Schedule]:
    now = timezone.now()
    for job in jobs:
        yield Schedule(
            job=job,
            name="every minute",
            kind="interval",
            interval_secs=60,
            planned_until=now,
            next_run_at=now + timedelta(days=1),
        )


def _drop_indexes(cursor: "CursorWrapper", tables: Sequence[str]) -> list[str]:
    """Drop all indexes that no constraint needs; return the statements that make them again."""
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) "
        "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
        [list(tables)],
    )
    found = cursor.fetchall()
    for name, _definition in found:
        cursor.execute(f'DROP INDEX "{name}"')
    return [definition for _name, definition in found]
