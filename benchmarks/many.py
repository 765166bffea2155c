"""Definitions in the numbers that a history of tasks has, written by the database itself.

Each list of the admin is as long as the others then. Names end in what is searched for: `alpha` is in every
sixth, five digits of a checksum are in some sixteen of a million.
"""

from typing import Final

from django.db import connection

from benchmarks.history import built_afterwards
from scheduling.models import Job

_TABLES: Final = (
    "scheduling_job",
    "scheduling_schedule",
    "scheduling_calendar",
    "scheduling_alert",
    "scheduling_backfill",
    "scheduling_bulkaction",
    "scheduling_bulktarget",
    "agents_agent",
)
_NUMBERED: Final = """
CREATE TEMPORARY TABLE numbered ON COMMIT PRESERVE ROWS AS
SELECT n, 'space-' || lpad(mod(n * 7919, 50)::text, 2, '0') AS namespace,
       (ARRAY['alpha', 'bravo', 'charlie', 'delta', 'echo', 'foxtrot'])[1 + mod(n * 104729 / 7, 6)]
           || '-' || substr(md5(n::text), 1, 5) AS word
FROM generate_series(1, %(rows)s::bigint) n
"""
# Every thousandth job is of a team, every tenth disabled.
_JOBS: Final = """
INSERT INTO scheduling_job
    (namespace, name, description, command, environment, config, task_config, route_id, enabled, tags,
     created_by, updated_by, created_at, updated_at)
SELECT numbered.namespace, 'job-' || n || '-' || word, 'What job ' || n || ' does.', '', '{}', m.config,
       m.task_config,
       CASE WHEN mod(n * 7919, 1000) = 0 THEN %(rare_route)s ELSE m.route_id END, mod(n, 10) <> 0,
       CASE WHEN mod(n * 7919, 1000) = 1 THEN '["payroll"]'::jsonb ELSE '["hourly"]'::jsonb END,
       '', '', now(), now()
FROM numbered, scheduling_job m WHERE m.id = %(model_id)s
"""
_SCHEDULES: Final = """
INSERT INTO scheduling_schedule
    (job_id, name, description, kind, cron_expression, interval_secs, timezone, interval_mode,
     calendar_policy, parameters, seed, run_count, jitter_secs, status, planned_until, next_run_at, problem,
     pause_after_failures, created_at, updated_at)
SELECT j.id, 'of ' || j.name, '', CASE WHEN odd THEN 'cron' ELSE 'interval' END,
       CASE WHEN odd THEN '*/5 * * * *' END, CASE WHEN NOT odd THEN 300 END, 'UTC', 'rate', 'skip', '{}', 1,
       0, 0, CASE WHEN mod(j.id * 7919, 1000) = 0 THEN 'disabled' ELSE 'enabled' END, now(),
       now() + mod(j.id * 104729, 86400) * interval '1 second',
       CASE WHEN mod(j.id * 7919, 1000) = 0 THEN 'paused after 3 failures in a row' ELSE '' END, 3,
       now(), now()
FROM scheduling_job j, LATERAL (SELECT mod(j.id, 2) = 1 AS odd) parity
WHERE j.id > %(first_job)s
"""
_CALENDARS: Final = """
INSERT INTO scheduling_calendar
    (namespace, name, description, country, subdivision, dates, ics, ics_dates, windows, blackouts,
     created_by, updated_by, created_at, updated_at)
SELECT namespace, 'calendar-' || n || '-' || word, '', '', '', '[]', '', '[]', '[]', '[]', '', '', now(),
       now()
FROM numbered
"""
_ALERTS: Final = """
INSERT INTO scheduling_alert
    (kind, namespace, job_id, schedule_id, at, text, instants, acknowledged_at, acknowledged_by)
SELECT CASE WHEN mod(j.id * 7919, 1000) = 0 THEN 'paused' ELSE 'missed' END, j.namespace, j.id, s.id, now(),
       'Something was missed.', 1, CASE WHEN mod(j.id * 7919, 100) <> 1 THEN now() END, ''
FROM scheduling_schedule s JOIN scheduling_job j ON j.id = s.job_id WHERE j.id > %(first_job)s ORDER BY s.id
"""
_BACKFILLS: Final = """
INSERT INTO scheduling_backfill
    (schedule_id, rule, range_from, range_to, parallel, overlap, on_failure, only_missing, status, problem,
     planned_until, total, planned, left_out, created_by, created_at, completed_at, updated_at)
SELECT s.id, '{}', now() - interval '1 day', now(), 1, %(overlap)s, %(on_failure)s, false,
       CASE WHEN mod(s.id * 7919, 1000) = 0 THEN 'paused' ELSE 'completed' END, '', now(), 10, 10, 0,
       'user-' || mod(s.id * 7919, 20), now(), CASE WHEN mod(s.id * 7919, 1000) <> 0 THEN now() END, now()
FROM scheduling_schedule s WHERE s.job_id > %(first_job)s ORDER BY s.id
"""
_BULK_ACTIONS: Final = """
INSERT INTO scheduling_bulkaction (verb, status, total, user_id, address, created_at, completed_at)
SELECT CASE WHEN mod(n * 7919, 1000) = 0 THEN 'job.disable' ELSE 'task.cancel' END,
       CASE WHEN mod(n * 7919, 1000) = 1 THEN 'cancelled' ELSE 'completed' END, 1, NULL, '', now(), now()
FROM numbered
"""
_BULK_TARGETS: Final = """
INSERT INTO scheduling_bulktarget (action_id, target_id, state, problem)
SELECT id, id, 'done', '' FROM scheduling_bulkaction ORDER BY id
"""
_AGENTS: Final = """
INSERT INTO agents_agent
    (id, name, description, address, hostname, version, enabled, status, assigned_labels, reported_labels,
     capabilities, metrics, running_tasks, success_tasks, failure_tasks, response_ms_total,
     consecutive_failures, last_heartbeat_at, created_at, updated_at)
SELECT md5('agent' || n)::uuid, 'worker-' || n || '-' || word, '', '10.0.0.1', 'host-' || n || '.example',
       CASE WHEN mod(n * 7919, 1000) = 0 THEN '0.0.1' ELSE '0.1.0' END, true,
       CASE WHEN mod(n * 7919, 1000) = 1 THEN 'draining' ELSE 'idle' END, '{}',
       jsonb_build_object('zone', 'z' || mod(n, 10), 'rack', 'r' || mod(n * 7919, 1000)),
       '{"max_concurrent_tasks": 8, "commands": ["bash"], "metadata": {}}', '{}', 0, 0, 0, 0, 0,
       now() - mod(n * 104729, 86400) * interval '1 second', now(), now()
FROM numbered
"""
_ALL: Final = (
    *(_NUMBERED, _JOBS, _SCHEDULES, _CALENDARS, _ALERTS, _BACKFILLS),
    *(_BULK_ACTIONS, _BULK_TARGETS, _AGENTS),
)


def fill(*, rows: int, model: Job, rare_route: int) -> None:
    """Add so many rows of each kind; all jobs are copies of `model`, a thousandth with another route."""
    first_job = Job.objects.order_by("-pk").values_list("pk", flat=True)[0]
    values = {
        "rows": rows,
        "model_id": model.pk,
        "rare_route": rare_route,
        "first_job": first_job,
        "overlap": "allow",
        "on_failure": "continue",
    }
    with connection.cursor() as cursor, built_afterwards(cursor, _TABLES):
        for statement in _ALL:
            cursor.execute(statement, values)
