"""A tick of planning against a bare INSERT of as many rows, and whether it cares for schedules not due.

Databases of one cluster with few and with many enabled schedules, a process for each, asked in turn: what
disturbs one disturbs the other. Right after each tick one statement, in a transaction of its own, inserts its
rows once more, for other instants: it sends all their values, looks nothing up and computes nothing. Another
one copies them within the database and does not even send them.
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
THIRTY_YEARS: Final = timedelta(days=10_957)

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
_COLUMNS: Final = {
    "job_id": "bigint",
    "namespace": "text",
    "schedule_id": "bigint",
    "schedule_kind": "text",
    "route_id": "bigint",
    "priority": "int",
    "status": "text",
    "outcome": "text",
    "reason": "text",
    "scheduled_at": "timestamptz",
    "instants": "bigint",
    "due_at": "timestamptz",
    "completed_at": "timestamptz",
    "parameters": "jsonb",
    "environment": "jsonb",
    "config": "jsonb",
    "attempt_count": "int",
    "retry_count": "int",
    "max_retries": "int",
    "manual_retries": "int",
    "dependencies": "jsonb",
    "lock_version": "int",
    "created_by": "text",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
_NAMES: Final = ", ".join(_COLUMNS)
_BARE: Final = f"""
INSERT INTO scheduling_task ({_NAMES})
SELECT * FROM unnest({", ".join(f"%({name})s::{kind}[]" for name, kind in _COLUMNS.items())})
"""  # noqa: S608
_READ: Final = f"""
SELECT {", ".join(f"{name}::text" if kind == "jsonb" else name for name, kind in _COLUMNS.items())}
FROM scheduling_task WHERE id > %(last)s
"""  # noqa: S608
_COPY: Final = f"""
INSERT INTO scheduling_task ({_NAMES})
SELECT {_NAMES.replace("scheduled_at", "scheduled_at - interval '60 years'")}
FROM scheduling_task WHERE id > %(last)s AND id <= %(until)s
"""  # noqa: S608


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
        tick, bare, copy = ([sample[which] * 1000 for sample in times[size]] for which in (0, 1, 2))
        ratios, harsher = (
            [own / other for own, other in zip(tick, others, strict=True)] for others in (bare, copy)
        )
        rows.append(
            Row(
                f"tick with {DUE:,} due of {size:,} against the bare INSERT",
                f"{quantile(ratios, 0.5):.2f} times"
                f" (p50 {quantile(tick, 0.5):.1f} and {quantile(bare, 0.5):.1f} ms;"
                f" {quantile(harsher, 0.5):.2f} times a copy within the database)",
                "≤ 4",
            )
        )
    small, large = (quantile([sample[0] for sample in times[size]], 0.5) for size in (sizes[0], sizes[-1]))
    rows.append(Row(f"tick among {sizes[-1]:,} against {sizes[0]:,}", f"{large / small:.2f}", "flat"))
    return rows


class _Ticks:
    """The process that plans and inserts on a database of its own."""

    def __init__(self, size: int) -> None:
        from django.db import connection  # noqa: PLC0415

        from benchmarks import tasks  # noqa: PLC0415

        self._connection = connection
        self._now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        for _ in range(JOBS):
            tasks.make_job(cmd="exec", args=["true"])
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute(_SCHEDULES, {"count": size, "due": DUE, "now": self._now, "jobs": JOBS})
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")

    def answer(self, _question: Any) -> list[float]:
        """Return the seconds of a tick, of a bare INSERT and of a copy within the database."""
        from scheduling.services import planning  # noqa: PLC0415

        self._now += STEP
        with self._connection.cursor() as cursor:
            last = _newest(cursor)
            begin = time.perf_counter()
            written = planning.run_once(now=self._now, horizon_secs=15, catch_up_secs=86_400)
            planned = time.perf_counter()
            until = _newest(cursor)
            cursor.execute(_READ, {"last": last})
            values = dict(zip(_COLUMNS, map(list, zip(*cursor.fetchall(), strict=True)), strict=True))
            values["scheduled_at"] = [at - THIRTY_YEARS for at in values["scheduled_at"]]
            sending = time.perf_counter()
            cursor.execute(_BARE, values)
            sent = time.perf_counter()
            assert (written, cursor.rowcount) == (DUE, DUE)
            cursor.execute(_COPY, {"last": last, "until": until})
            copied = time.perf_counter()
            assert cursor.rowcount == DUE
        return [planned - begin, sent - sending, copied - sent]


def _newest(cursor: Any) -> int:
    cursor.execute("SELECT coalesce(max(id), 0) FROM scheduling_task")
    return int(cursor.fetchone()[0])


if __name__ == "__main__":
    import django

    django.setup()
    answer_questions(_Ticks(int(sys.argv[1])).answer)
