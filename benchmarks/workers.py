"""Processes with a database of their own, which are asked in turn: what disturbs one disturbs the other."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.installation import EMPTY, ROOT, Installation


class Worker:
    """A benchmark run as a process on a database of its own, or `beside` another one on that one's.

    It answers a line of JSON with another.
    """

    def __init__(
        self,
        place: Installation,
        module: str,
        *arguments: str,
        beside: "Worker | None" = None,
        **environment: str,
    ) -> None:
        self._place = place
        self._own_database = "" if beside else "_".join([module.rpartition(".")[2], *arguments])
        self.database_url = beside.database_url if beside else place.address_of(self._own_database)
        if self._own_database:
            place.administer(f'CREATE DATABASE "{self._own_database}" TEMPLATE "{EMPTY}"')
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": self.database_url, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question: Any = None) -> Any:
        """Send a question and return the answer."""
        self.tell(question)
        return self.hear()

    def tell(self, question: Any) -> None:
        """Send a question whose answer is heard later."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """Return the answer to what was told."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait(60)}")
        return json.loads(line)

    def stop(self) -> None:
        """Let it end, and drop the database that was made for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        if self._own_database:
            self._place.administer(f'DROP DATABASE "{self._own_database}" WITH (FORCE)')


def backend_pid() -> int:
    """Return the process of this one's database session."""
    from django.db import connection  # noqa: PLC0415 (after the settings are known)

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def answer_questions(answer: Callable[[Any], Any]) -> None:
    """Answer what comes in until there is nothing more: the other end of `ask`."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
