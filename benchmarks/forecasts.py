"""A forecast over few and over many schedules: how long it takes, and how much memory.

Each size in a process and a database of its own. Schedules draw their minutes, as a fleet does, in four
zones; one in ten has a calendar, one in five a limited job. Each job has one schedule and twenty attempts.
"""

import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, Final

import psutil

from benchmarks.installation import Installation
from benchmarks.table import Row
from benchmarks.workers import Worker, answer_questions

HOURS: Final = 24

_JOBS: Final = """
INSERT INTO scheduling_job
    (namespace, name, description, command, environment, config, task_config, route_id, max_concurrency,
     enabled, tags, created_by, updated_by, created_at, updated_at)
SELECT 'default', 'job-' || n, '', '', '{}',
       jsonb_set(j.config, '{concurrency_policy}',
                 CASE n %% 5 WHEN 0 THEN '"forbid"' ELSE '"allow"' END::jsonb),
       j.task_config, j.route_id, CASE n %% 5 WHEN 0 THEN 1 END, true, '[]', '', '', now(), now()
FROM generate_series(1, %(count)s) n, (SELECT * FROM scheduling_job ORDER BY id LIMIT 1) j
"""
_SCHEDULES: Final = """
INSERT INTO scheduling_schedule
    (job_id, name, description, kind, cron_expression, interval_secs, timezone, interval_mode, calendar_id,
     calendar_policy, parameters, seed, run_count, jitter_secs, status, planned_until, next_run_at, problem,
     created_at, updated_at)
SELECT j.id, '', '', CASE j.id %% 8 WHEN 0 THEN 'interval' ELSE 'cron' END,
       (ARRAY['~ * * * *', '~ 0-5 * * *', '*/5 * * * *', '~ ~ * * MON-FRI', '~ */6 * * *', '~ 9-17 * * *',
              '0 ~ * * *'])[1 + j.id %% 7],
       CASE j.id %% 8 WHEN 0 THEN 60 + j.id %% 7200 END,
       (ARRAY['UTC', 'Europe/Berlin', 'Asia/Shanghai', 'America/New_York'])[1 + j.id / 8 %% 4], 'rate',
       CASE j.id %% 10 WHEN 0 THEN (SELECT id FROM scheduling_calendar LIMIT 1) END, 'skip', '{}', j.id, 0, 0,
       'enabled', %(now)s, %(now)s, '', now(), now()
FROM scheduling_job j WHERE j.name LIKE 'job-%%'
"""
_TASKS: Final = """
INSERT INTO scheduling_task
    (job_id, namespace, schedule_kind, route_id, priority, status, reason, scheduled_at, due_at, completed_at,
     parameters, environment, config, attempt_count, retry_count, max_retries, manual_retries, dependencies,
     lock_version, created_by, created_at, updated_at)
SELECT id, namespace, '', route_id, 0, 'completed', '', now(), now(), now(), '{}', '{}', '{}', 1, 0, 0, 0,
       '[]', 0, '', now(), now()
FROM scheduling_job WHERE name LIKE 'job-%%'
"""
_ATTEMPTS: Final = """
INSERT INTO scheduling_taskinstance
    (id, task_id, job_id, namespace, attempt, token, status, last_seq, error_message, metrics, stdout_bytes,
     stderr_bytes, output_truncated, started_at, completed_at, created_at, updated_at)
SELECT gen_random_uuid(), t.id, t.job_id, t.namespace, n, t.id * 20 + n, 'completed', 1, '', '{}', 0, 0,
       false, now(), now() + (1 + t.job_id %% 300) * interval '1 second', now(), now()
FROM scheduling_task t, generate_series(1, 20) n
"""


def measure(place: Installation, quick: bool) -> list[Row]:
    """Look 24 hours ahead, three times for each size, and tell of the best."""
    sizes = (100, 1_000) if quick else (1_000, 10_000, 100_000)
    rows = []
    for size in sizes:
        worker = Worker(place, "benchmarks.forecasts", str(size))
        try:
            answers = [worker.ask() for _ in range(3)]
        finally:
            worker.stop()
        secs = min(answer["secs"] for answer in answers)
        grown = max(answer["grown_bytes"] for answer in answers) / 2**20
        runs = answers[0]["runs"]
        what = f"{secs:.2f} s for {runs:,} runs, {grown:.0f} MiB more memory at most"
        rows.append(Row(f"{HOURS} hours of {size:,} schedules", what, "bounded memory"))
    return rows


class _Forecasts:
    """The process that looks ahead, on a database of its own."""

    def __init__(self, size: int) -> None:
        from django.db import connection  # noqa: PLC0415

        from benchmarks import tasks  # noqa: PLC0415
        from scheduling.services.calendars import create_calendar  # noqa: PLC0415

        self._now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        tasks.make_job(cmd="exec", args=["true"])
        create_calendar(name="holidays", country="CN")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            for statement in (_JOBS, _SCHEDULES, _TASKS, _ATTEMPTS):
                cursor.execute(statement, {"count": size, "now": self._now})
            cursor.execute("VACUUM ANALYZE")

    def answer(self, _question: Any) -> dict[str, float]:
        """Return the seconds that a forecast takes, and by how much the process grows meanwhile."""
        from scheduling.services.forecast import forecast  # noqa: PLC0415

        process = psutil.Process()
        before, seen, done = process.memory_info().rss, [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                seen.append(process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        begin = time.perf_counter()
        found = forecast(now=self._now, hours=HOURS, budget_secs=600)
        secs = time.perf_counter() - begin
        done.set()
        watcher.join()
        assert found.is_complete
        return {"secs": secs, "grown_bytes": max(seen) - before, "runs": sum(found.load.runs)}


if __name__ == "__main__":
    import django

    django.setup()
    answer_questions(_Forecasts(int(sys.argv[1])).answer)
