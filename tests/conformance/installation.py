"""Two servers, a scheduler and agents, set up as an operator would, on a database of their own."""

import os
import secrets
import signal
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from tests.conformance.client import Answer, Client
from tests.databases import create_database, drop_database
from tests.e2e import oracle
from tests.processes import ROOT, Program, free_port

LIMIT_SECS = 60.0
PERSON = "root"
PASSWORD = secrets.token_urlsafe(16)
# A server keeps five for itself.
POOL_SIZE = 9

until = partial(oracle.until, limit_secs=LIMIT_SECS)


class Server(Program):
    """A server that keeps its port when it is started again."""

    port: int

    def first_answer(self) -> Answer:
        """Wait until the server listens, and return what it says of its health."""

        def ask() -> Answer | None:
            assert self.is_running, self.log and self.log.read_text()
            try:
                return Client(self.port).send("GET", "/health")
            except OSError:
                return None

        answer: Answer = until(ask, "the server listens")
        return answer


class Agent(Program):
    """A daemon with the identity that a client created for it."""

    id: str
    token: str
    folder: Path


class Installation:
    """Everything that outside clients talk to; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: list[Program] = []
        self._ended: set[Agent] = set()
        self._name = f"hetuflow_conformance_{uuid.uuid4().hex[:12]}"
        self.database = create_database(self._name)
        self.environment = {**os.environ, "DATABASE_URL": self.database}
        self.token = self._make_superuser()

    def client(self, server: Server) -> Client:
        """Return a client with the token of a superuser."""
        return Client(server.port, {"Authorization": f"Bearer {self.token}"})

    def server(self, **environment: str) -> Server:
        """Start a server, without waiting for it."""
        port = free_port()
        server = Server(
            [sys.executable, "-W", "ignore", "manage.py", "server", "--port", str(port)],
            environment={**self.environment, **environment},
            log=self._log("server"),
        )
        server.port = port
        self.programs.append(server)
        server.start()
        return server

    def lonely_server(self) -> Server:
        """Start a server whose database nobody can reach, without waiting for it."""
        port = free_port()
        server = Server(
            [sys.executable, "-W", "ignore", "manage.py", "server", "--port", str(port)],
            environment={**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"},
            log=self._log("lonely"),
        )
        server.port = port
        self.programs.append(server)
        server.start()
        return server

    def scheduler(self) -> Program:
        scheduler = Program(
            [sys.executable, "-W", "ignore", "manage.py", "scheduler"],
            environment=self.environment,
            log=self._log("scheduler"),
        )
        self.programs.append(scheduler)
        scheduler.start()
        return scheduler

    def agent(self, client: Client, *, slots: int = 4, **fields: Any) -> Agent:
        """Create an agent by REST, start its daemon on that client's server, and wait for it."""
        made = client.create("/agents/create", {"name": f"agent-{uuid.uuid4().hex[:8]}", **fields})
        folder = self.folder / f"agent-{made['id']}"
        agent = Agent(
            [sys.executable, "-m", "agents.daemon"],
            environment={
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "HETUFLOW_SERVER": f"ws://127.0.0.1:{client.port}",
                "HETUFLOW_AGENT_TOKEN": made["token"],
                "HETUFLOW_AGENT_DIR": str(folder),
                "HETUFLOW_AGENT_SLOTS": str(slots),
                "HETUFLOW_AGENT_LABELS": "machine=yes",
            },
            log=self._log("agent"),
        )
        agent.id, agent.token, agent.folder = made["id"], made["token"], folder
        self.programs.append(agent)
        agent.start()
        self.wait_for(agent, client)
        return agent

    def wait_for(self, agent: Agent, client: Client) -> None:
        """Return when the agent has a session."""

        def is_there() -> bool:
            assert agent.is_running, agent.log and agent.log.read_text()
            return bool(client.post(f"/agents/{agent.id}/status")["connected"])

        until(is_there, "the agent connects")

    def execute(self, statement: str, *values: Any) -> None:
        """Change the database behind the servers' backs: for the passing of time, and for great numbers."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            assert connection.execute(statement, values).rowcount, statement

    def end(self, agent: Agent) -> None:
        """End a daemon at once, with whatever it was running."""
        agent.kill()
        oracle.kill(oracle.processes_of(agent.folder))
        self._ended.add(agent)

    def close(self) -> None:
        """End everything; a traceback in the log of any process is an error."""
        for program in self.programs:
            if not isinstance(program, Agent):
                program.send(signal.SIGTERM)
            elif program not in self._ended:
                self.end(program)
        for program in self.programs:
            if program.is_running:
                program.stop()
        drop_database(self._name)
        for program in self.programs:
            assert program.log is not None
            text = program.log.read_text(errors="replace")
            assert "Traceback" not in text, text

    def _make_superuser(self) -> str:
        """Make one as an operator would, with both commands in one process, and return a token."""
        program = """
from django.core.management import call_command
call_command("createsuperuser", interactive=False, verbosity=0)
call_command("api_token", "root")
"""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", "shell", "--no-imports", "-c", program],
            cwd=ROOT,
            env={
                **self.environment,
                "DJANGO_SUPERUSER_USERNAME": PERSON,
                "DJANGO_SUPERUSER_EMAIL": "root@example.com",
                "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}-{uuid.uuid4().hex[:6]}.log"
