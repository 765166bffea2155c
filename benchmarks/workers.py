"""Processes with a database of their own, which are asked in turn: what disturbs one disturbs the other."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.installation import ROOT, Installation


class Worker:
    """A benchmark run as a process on a database of its own; it answers a line of JSON with another."""

    def __init__(self, place: Installation, module: str, *arguments: str, **environment: str) -> None:
        name = "_".join([module.rpartition(".")[2], *arguments])
        self.database_url = place.database_url.replace("/hetuflow?", f"/{name}?")
        with psycopg.connect(place.database_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
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
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait(60)}")
        return json.loads(line)

    def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def answer_questions(answer: Callable[[Any], Any]) -> None:
    """Answer what comes in until there is nothing more: the other end of `ask`."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
