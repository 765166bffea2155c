"""What the overview costs on the busiest day: a million tasks in it, as many before, a million that wait.

In CPU time of the process and of its database session, through Django's test client, each time as for one who
looks when all that is shared has to be made anew.
"""

import sys
from typing import Any, Final

from benchmarks.accounting import cost_of, ran_ns
from benchmarks.installation import Installation
from benchmarks.table import Row, quantile
from benchmarks.workers import Worker, answer_questions, backend_pid

LARGE: Final = ("scheduling_task", "scheduling_taskinstance", "scheduling_outputchunk")
# So many looks more, once all is counted.
LOOKS: Final = 40


def measure(place: Installation, quick: bool) -> list[Row]:
    """Look until two days are counted, and then again and again."""
    tasks = 20_000 if quick else 1_000_000
    worker = Worker(place, "benchmarks.overview", str(tasks))
    try:
        looks = [worker.ask("look")]
        while looks[-1]["is_part"]:
            looks.append(worker.ask("look"))
        first = len(looks)
        later = [worker.ask("look") for _ in range(5 if quick else LOOKS)]
        found = worker.ask("plans")
    finally:
        worker.stop()
    page = [look["cpu"] for look in later]
    worst = {
        name: quantile([look["statements"][name] for look in later if name in look["statements"]], 0.5)
        for name in {name for look in later for name in look["statements"]}
    }
    name, costs = max(worst.items(), key=lambda item: item[1])
    return [
        Row(f"looks until both days of {tasks:,} are counted", f"{first}"),
        Row("the page meanwhile, CPU", f"p50 {quantile([look['cpu'] for look in looks], 0.5):.0f} ms"),
        Row(
            "the page from then on, CPU",
            f"p50 {quantile(page, 0.5):.0f}, p95 {quantile(page, 0.95):.0f} ms",
            "< 150 ms",
        ),
        Row(f"its most costly statement, CPU of the database ({name})", f"p50 {costs:.0f} ms", "< 50 ms"),
        Row(
            "statements that read a large table from end to end",
            f"{found['scans']} of {found['statements']}",
            "0",
        ),
        Row(
            "counted of the day, and exactly",
            f"{found['counted']:,} and {found['exactly']:,}",
            "the same",
        ),
    ]


class _Overview:
    """The process that looks."""

    def __init__(self, tasks: int) -> None:
        from datetime import timedelta  # noqa: PLC0415

        from django.contrib.auth.models import User  # noqa: PLC0415
        from django.db import connection  # noqa: PLC0415
        from django.test import Client  # noqa: PLC0415

        from benchmarks import history  # noqa: PLC0415
        from benchmarks.tasks import insert_tasks, make_job  # noqa: PLC0415
        from scheduling.clock import database_now  # noqa: PLC0415
        from scheduling.models import Job  # noqa: PLC0415

        history.fill(
            tasks=2 * tasks, model=make_job(cmd="bash", args=["-c", "date"]), days=2, waiting=0, changes=1
        )
        jobs = Job.objects.filter(pk__in=history.some_jobs()[:100])
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            for job in jobs:
                # Half of them are due.
                begin = database_now() - timedelta(hours=12)
                insert_tasks(job=job, count=tasks // 100, first=begin, step_secs=86_400 * 100 / tasks)
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("RESET statement_timeout")
        self._connection, self._client = connection, Client(SERVER_NAME="localhost")
        self._client.force_login(User.objects.create(username="root", is_superuser=True, is_staff=True))
        self._backend = backend_pid()

    def answer(self, question: str) -> Any:
        """Look once, or tell how the statements are planned and what is counted at once."""
        return self._look() if question == "look" else self._plans()

    def _look(self) -> dict[str, Any]:
        from scheduling.admin import overview  # noqa: PLC0415

        statements: dict[str, float] = {}

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            begin = ran_ns(self._backend)
            result = execute(sql, params, many, context)
            name = " ".join(sql.split())[:40]
            statements[name] = max(statements.get(name, 0.0), (ran_ns(self._backend) - begin) / 1e6)
            return result

        overview.look_again()
        with self._connection.execute_wrapper(note):
            response, cost = cost_of(lambda: self._client.get("/admin/overview/"), backend=self._backend)
        assert response.status_code == 200
        days = overview.days()
        return {
            **cost,
            "statements": statements,
            "is_part": days.last(None).is_part or days.before(None).is_part,
        }

    def _plans(self) -> dict[str, int]:
        from scheduling.admin import overview  # noqa: PLC0415
        from scheduling.models import Task  # noqa: PLC0415
        from scheduling.services.run_counts import DAY  # noqa: PLC0415

        statements: list[tuple[str, Any]] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            statements.append((sql, params))
            return execute(sql, params, many, context)

        overview.look_again()
        with self._connection.execute_wrapper(note):
            self._client.get("/admin/overview/")
        scans = 0
        with self._connection.cursor() as cursor:
            for sql, params in statements:
                cursor.execute(f"EXPLAIN {sql}", params)
                plan = " ".join(line for (line,) in cursor.fetchall())
                scans += any(f"Seq Scan on {table} " in plan for table in LARGE)
            days = overview.days()
            now = days.now
            exactly = Task.objects.filter(scheduled_at__gt=now - DAY, scheduled_at__lte=now).count()
        return {
            "statements": len(statements),
            "scans": scans,
            "exactly": exactly,
            "counted": sum(days.last(None).counts.values()),
        }


if __name__ == "__main__":
    import django

    django.setup()
    answer_questions(_Overview(int(sys.argv[1])).answer)
