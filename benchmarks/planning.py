"""A tick of planning against a bare INSERT of as many rows, and whether it cares for schedules not due.

Databases of one cluster with few and with many enabled schedules, a process for each, asked in turn: what
disturbs one disturbs the other. Right after each tick one statement, in a transaction of its own, inserts its
rows once more, for other instants: it has nothing to look up, to compute or to send.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from benchmarks.installation import Installation
from benchmarks.table import Row, quantile
from benchmarks.workers import Worker, answer_questions

DUE: Final = 1_000
JOBS: Final = 100
STEP: Final = timedelta(minutes=5)

# The first are due every five minutes by various rules, the others once a year.
_SCHEDULES: Final = """
INSERT INTO scheduling_schedule
    (job_id, name, description, kind, cron_expression, interval_secs, timezone, interval_mode,
     calendar_policy, parameters, seed, run_count, jitter_secs, status, planned_until, next_run_at, problem,
     created_at, updated_at)
SELECT j.id, '', '', rule.kind,
       CASE rule.kind WHEN 'cron' THEN CASE WHEN is_due THEN '*/5 * * * *' ELSE n %% 60 || ' 4 1 1 *' END END,
       CASE rule.kind WHEN 'interval' THEN CASE WHEN is_due THEN 300 ELSE 31536000 END END,
       (ARRAY['UTC', 'Europe/Berlin', 'Asia/Shanghai', 'America/New_York'])[1 + n / 4 %% 4], 'rate', 'skip',
       '{}', n, 0, 0, 'enabled', %(now)s,
       %(now)s + CASE WHEN is_due THEN interval '5 minutes' ELSE interval '300 days' END, '', now(), now()
FROM generate_series(0, %(count)s - 1) n
CROSS JOIN LATERAL (SELECT n < %(due)s AS is_due,
                           (ARRAY['cron', 'cron', 'cron', 'interval'])[1 + n %% 4] AS kind) rule
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM scheduling_job) j
  ON j.place = n %% %(jobs)s
"""
# The same rows again, under instants of which planning has none.
_BARE: Final = """
INSERT INTO scheduling_task
    (job_id, namespace, schedule_id, schedule_kind, route_id, priority, status, outcome, reason, scheduled_at,
     instants, due_at, completed_at, parameters, environment, config, attempt_count, retry_count, max_retries,
     manual_retries, dependencies, lock_version, created_by, created_at, updated_at)
SELECT job_id, namespace, schedule_id, schedule_kind, route_id, priority, status, outcome, reason,
       scheduled_at - interval '30 years', instants, due_at, completed_at, parameters, environment, config,
       attempt_count, retry_count, max_retries, manual_retries, dependencies, lock_version, created_by,
       created_at, updated_at
FROM scheduling_task WHERE id > %(last)s
"""


def measure(place: Installation, quick: bool) -> list[Row]:
    """Let ticks and bare INSERTs take turns, among few and among many schedules."""
    sizes, rounds = ((1_000, 2_000), 3) if quick else ((1_000, 10_000, 100_000), 60)
    workers = {size: Worker(place, "benchmarks.planning", str(size)) for size in sizes}
    try:
        for worker in workers.values():
            worker.ask()  # loading, vacuum
        times: dict[int, list[list[float]]] = {size: [] for size in sizes}
        for number in range(rounds + rounds // 10):
            for size in sizes if number % 2 else reversed(sizes):
                sample = workers[size].ask()
                if number >= rounds // 10:
                    times[size].append(sample)
    finally:
        for worker in workers.values():
            worker.stop()
    rows = []
    for size in sizes:
        tick, bare = ([sample[which] * 1000 for sample in times[size]] for which in (0, 1))
        ratios = [own / other for own, other in zip(tick, bare, strict=True)]
        rows.append(
            Row(
                f"tick with {DUE:,} due of {size:,} against the bare INSERT",
                f"{quantile(ratios, 0.5):.2f} times"
                f" (p50 {quantile(tick, 0.5):.1f} and {quantile(bare, 0.5):.1f} ms)",
                "≤ 4",
            )
        )
    small, large = (quantile([sample[0] for sample in times[size]], 0.5) for size in (sizes[0], sizes[-1]))
    rows.append(Row(f"tick among {sizes[-1]:,} against {sizes[0]:,}", f"{large / small:.2f}", "flat"))
    return rows


class _Ticks:
    """The process that plans and inserts on a database of its own."""

    def __init__(self, size: int) -> None:
        from django.core.management import call_command  # noqa: PLC0415
        from django.db import connection  # noqa: PLC0415

        from benchmarks import tasks  # noqa: PLC0415

        self._connection = connection
        self._now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        call_command("migrate", verbosity=0)
        for _ in range(JOBS):
            tasks.make_job(cmd="exec", args=["true"])
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute(_SCHEDULES, {"count": size, "due": DUE, "now": self._now, "jobs": JOBS})
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")

    def answer(self, _question: Any) -> list[float]:
        """Return the seconds of a tick and of a bare INSERT."""
        from scheduling.services import planning  # noqa: PLC0415

        self._now += STEP
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(id), 0) FROM scheduling_task")
            last = cursor.fetchone()[0]
            begin = time.perf_counter()
            written = planning.run_once(now=self._now, horizon_secs=15, catch_up_secs=86_400)
            planned = time.perf_counter()
            cursor.execute(_BARE, {"last": last})
            inserted = time.perf_counter()
            assert (written, cursor.rowcount) == (DUE, DUE)
        return [planned - begin, inserted - planned]


if __name__ == "__main__":
    import django

    django.setup()
    answer_questions(_Ticks(int(sys.argv[1])).answer)
