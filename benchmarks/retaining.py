"""The processes of the benchmark of retention: one that writes, one that deletes, and one that does both."""

import os
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import django

from benchmarks.accounting import cost_of
from benchmarks.workers import answer_questions, backend_pid

django.setup()

from django.db import connection, transaction  # noqa: E402

from agents.services import create_agent  # noqa: E402
from benchmarks import history, tasks  # noqa: E402
from benchmarks.lives import live  # noqa: E402
from scheduling.clock import database_now  # noqa: E402
from scheduling.models import RetentionRule, Task  # noqa: E402
from scheduling.services.retention import Retention  # noqa: E402

AT_ONCE: Final = 10
# Tasks that come and go live in larger crowds.
CROWD: Final = 250
JOBS: Final = 10
# So many bytes are stored aside from the row, and cannot be compressed.
OUTPUT_BYTES: Final = 4096
_LOCKS: Final = """
SELECT DISTINCT mode FROM pg_locks
WHERE pid = pg_backend_pid() AND relation::regclass::text LIKE 'scheduling_%' ORDER BY mode
"""
_SIZES: Final = """
SELECT relname, pg_total_relation_size(relid) / 1e6, autovacuum_count, n_tup_upd, n_tup_hot_upd
FROM pg_stat_user_tables
WHERE relname IN ('scheduling_task', 'scheduling_taskinstance', 'scheduling_outputchunk') ORDER BY relname
"""


class Writer:
    """Lives the lives of tasks of a job of its own, in a database with a history."""

    def __init__(self, tasks_behind: int) -> None:
        self._job = tasks.make_job(cmd="exec", args=["true"])
        history.fill(tasks=tasks_behind, model=self._job, waiting=0, changes=1)
        self._agent = _agent()
        self._backend = backend_pid()

    def answer(self, question: Any) -> Any:
        """Tell which session is its own, or work for so many seconds and tell what each ten lives took."""
        if question == "backend":
            return self._backend
        costs = []
        end = time.monotonic() + question
        while time.monotonic() < end:
            tasks.insert_due_tasks(job=self._job, count=AT_ONCE)
            costs.append(cost_of(self._live, backend=self._backend)[1])
        return costs

    def _live(self) -> None:
        live(agent_id=self._agent, count=AT_ONCE, step=_just_do)


class Keeper:
    """Deletes the history, from the oldest tasks on."""

    def __init__(self) -> None:
        self._backend = backend_pid()
        self._retention = Retention()
        self._ends: dict[int, Any] = {}

    def answer(self, question: Any) -> Any:
        """Tell which locks a batch holds, or delete for so many seconds and tell what each batch took."""
        if question == "locks":
            with transaction.atomic(), connection.cursor() as cursor:
                self._delete()
                cursor.execute(_LOCKS)
                return [mode for (mode,) in cursor.fetchall()]
        batches = []
        end = time.monotonic() + question
        while time.monotonic() < end:
            deleted, cost = cost_of(self._delete, backend=self._backend)
            if deleted:
                batches.append({"deleted": deleted, **cost})
        return batches

    def _delete(self) -> int:
        if not self._ends:
            self._retention = Retention()
            self._ends = dict.fromkeys(history.some_jobs(), (database_now() - timedelta(hours=1), 0))
        return self._retention.delete_batch(self._ends)


class Turnover:
    """Lets tasks come and go where a fixed number is kept."""

    def __init__(self, kept: int) -> None:
        self._jobs = [tasks.make_job(cmd="exec", args=["true"]) for _ in range(JOBS)]
        RetentionRule.objects.create(namespace="*", keep_last=kept // JOBS)
        self._agent = _agent()
        self._backend = backend_pid()
        # Here days go by within a second.
        self._alter("SET autovacuum_naptime = '1s'")

    def answer(self, count: int) -> Any:
        """Let so many come and live, and those go that are too many now; tell how large the tables are."""
        for job in self._jobs:
            tasks.insert_due_tasks(job=job, count=count // JOBS)
        while left := Task.objects.claimable().count():
            crowd, output = min(left, CROWD), os.urandom(OUTPUT_BYTES)
            live(agent_id=self._agent, count=crowd, step=_just_do, output=output)
        deleted, cost = cost_of(self._clear_away, backend=self._backend)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute(_SIZES)
            tables = {
                name: {"mb": float(mb), "vacuums": vacuums, "hot": hot / (updates or 1)}
                for name, mb, vacuums, updates, hot in cursor.fetchall()
            }
        return {"deleted": deleted, **cost, "tables": tables}

    @staticmethod
    def _clear_away() -> int:
        total, retention = 0, Retention()
        while deleted := retention.run_once(now=database_now()):
            total += deleted
        return total

    def stop(self) -> None:
        """Leave the cluster as it was."""
        self._alter("RESET autovacuum_naptime")

    @staticmethod
    def _alter(setting: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER SYSTEM {setting}")
            cursor.execute("SELECT pg_reload_conf()")


def _just_do(_name: str, action: Callable[[], Any]) -> Any:
    return action()


def _agent() -> uuid.UUID:
    capabilities: dict[str, Any] = {"max_concurrent_tasks": 1000, "commands": ["exec"], "metadata": {}}
    agent_id: uuid.UUID = create_agent(name="bench", status="idle", capabilities=capabilities).pk
    return agent_id


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["writer", number]:
            answer_questions(Writer(int(number)).answer)
        case ["turnover", number]:
            turnover = Turnover(int(number))
            answer_questions(turnover.answer)
            turnover.stop()
        case _:
            answer_questions(Keeper().answer)
