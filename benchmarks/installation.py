"""A Hetuflow of the benchmark's own: private PostgreSQL with durable settings, real processes."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import django
import psutil
import psycopg
from django.core.management import call_command
from django.db import connection

from hetuflow.embedded_postgres import EmbeddedPostgres

ROOT: Final = Path(__file__).resolve().parent.parent
LIMIT_SECS: Final = 600.0
# What databases for a question of its own are copies of.
EMPTY: Final = "hetuflow_empty"


@dataclass
class Installation:
    """Where it is; the database is migrated and this process's Django talks to it."""

    folder: Path
    database_url: str

    def administer(self, statement: str) -> None:
        """Execute a statement that makes, copies or drops databases."""
        with psycopg.connect(self.address_of("postgres"), autocommit=True) as session:
            session.execute(statement)  # type: ignore[arg-type]

    def address_of(self, database: str) -> str:
        """Return the address of another database of this cluster."""
        return self.database_url.replace("/hetuflow?", f"/{database}?")

    def postgres_version(self) -> str:
        """Return the version of the running server."""
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            return str(cursor.fetchone()[0])

    def postmaster(self) -> psutil.Process:
        """Return PostgreSQL's main process, the parent of all the others."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend = psutil.Process(cursor.fetchone()[0])
        postmaster = backend.parent()
        assert postmaster is not None
        return postmaster

    @contextlib.contextmanager
    def server(self, **environment: str) -> Iterator[tuple[psutil.Process, int]]:
        """Run a server; gives its process and port."""
        port = free_port()
        with self._process("manage.py", "server", "--port", str(port), **environment) as process:
            wait_until(lambda: _answers(port), "the server answers")
            yield process, port

    @contextlib.contextmanager
    def scheduler(self) -> Iterator[psutil.Process]:
        """Run a scheduler."""
        with self._process("manage.py", "scheduler") as process:
            yield process

    @contextlib.contextmanager
    def agent(self, port: int, *, slots: int) -> Iterator[psutil.Process]:
        """Run an agent daemon, connected."""
        from agents.models import Agent, AgentStatus  # noqa: PLC0415
        from agents.tokens import issue_agent_token  # noqa: PLC0415

        agent, token = issue_agent_token(name="bench")
        environment = {
            "HETUFLOW_SERVER": f"ws://127.0.0.1:{port}",
            "HETUFLOW_AGENT_TOKEN": token,
            "HETUFLOW_AGENT_DIR": str(self.folder / "agent"),
            "HETUFLOW_AGENT_SLOTS": str(slots),
            "HETUFLOW_AGENT_LOG_LEVEL": "warning",
        }
        with self._process("-m", "agents.daemon", **environment) as process:
            present = Agent.objects.filter(pk=agent.pk, status__in=(AgentStatus.IDLE, AgentStatus.BUSY))
            wait_until(present.exists, "the agent is connected")
            yield process
        Agent.objects.filter(pk=agent.pk).update(status=AgentStatus.OFFLINE)

    @contextlib.contextmanager
    def _process(self, *arguments: str, **environment: str) -> Iterator[psutil.Process]:
        log = (self.folder / "processes.log").open("ab")
        started = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={
                **{k: v for k, v in os.environ.items() if k != "HETUFLOW_DATABASE_POOL_SIZE"},
                "HETUFLOW_LOG_LEVEL": "WARNING",
                **environment,
            },
        )
        try:
            yield psutil.Process(started.pid)
        finally:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
            log.close()


@contextlib.contextmanager
def installation() -> Iterator[Installation]:
    """Make an installation and set up Django for it, for the length of a `with` block."""
    folder = Path(tempfile.mkdtemp(prefix="hetuflow-bench-"))
    folder.chmod(0o711)
    postgres = EmbeddedPostgres(folder / "cluster")
    try:
        url = postgres.start()
        os.environ |= {
            "DATABASE_URL": url,
            "HETUFLOW_DATA_DIR": str(folder / "data"),
            "HETUFLOW_DATABASE_POOL_SIZE": "0",
            "DJANGO_SETTINGS_MODULE": "hetuflow.settings",
        }
        django.setup()
        call_command("migrate", verbosity=0)
        connection.close()
        place = Installation(folder=folder, database_url=url)
        place.administer(f'CREATE DATABASE "{EMPTY}" TEMPLATE hetuflow')
        yield place
    except BaseException:
        for log in (folder / "processes.log", folder / "cluster" / "postgres.log"):
            if log.exists():
                sys.stderr.write(log.read_text(errors="replace")[-4000:])
        raise
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], bool], what: str, *, every_secs: float = 0.05) -> None:
    """Wait until `condition` is true; raise TimeoutError, naming `what`, after LIMIT_SECS."""
    deadline = time.monotonic() + LIMIT_SECS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(every_secs)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/health", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
