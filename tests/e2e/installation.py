"""A whole installation of real processes on a database of its own: servers, schedulers and agents."""

import contextlib
import importlib.metadata
import os
import re
import shutil
import uuid
import venv
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection

from agents.models import Agent
from agents.tokens import issue_agent_token
from gateway.models import Connection
from scheduling.clock import database_now
from scheduling.models import Job, Task, TaskInstance
from tests import factories
from tests.databases import create_database, drop_database, query
from tests.e2e import oracle
from tests.e2e.clusters import Cluster
from tests.e2e.oracle import Ledger, until
from tests.processes import ROOT, Program, free_port, manage_program, wait_for_http

# Workers that run tests at the same time share the cluster.


class AgentProgram(Program):
    """An agent daemon with a folder of its own, in an environment that holds only what agents require."""

    def __init__(self, *, agent: Agent, folder: Path, environment: dict[str, str], log: Path) -> None:
        super().__init__(
            [agent_python(folder.parent / "venv"), "-m", "agents.daemon"], environment=environment, log=log
        )
        self.row = agent
        self.folder = folder

    @property
    def is_online(self) -> bool:
        return Connection.objects.filter(agent=self.row, server__isnull=False).exists()

    def holds(self, instance: TaskInstance) -> bool:
        """Whether the agent still keeps anything of an attempt: something is not acknowledged."""
        return (self.folder / "spool" / str(instance.pk)).exists()

    def start_and_register(self) -> None:
        """Start and wait for the session of this very start."""
        before = set(Connection.objects.filter(agent=self.row).values_list("epoch", flat=True))
        self.start()
        until(lambda: self._has_another_epoch(before), "the agent registers")

    def _has_another_epoch(self, before: set[uuid.UUID]) -> bool:
        assert self.is_running, self.log and self.log.read_text()
        return (
            Connection.objects.filter(agent=self.row, server__isnull=False).exclude(epoch__in=before).exists()
        )


class ServerProgram(Program):
    """A server that keeps its port over restarts."""

    port: int

    def start_and_listen(self) -> None:
        self.start()
        wait_for_http(self.port, still=lambda: self.is_running)
        assert self.is_running, self.log and self.log.read_text()


class Installation:
    """Processes on one database, all in one folder; `close` ends them and looks for what is left.

    The database is one of the run's PostgreSQL, or that of a `cluster` of the installation's own.
    """

    def __init__(self, folder: Path, *, cluster: Cluster | None = None) -> None:
        self.folder = folder
        self.cluster = cluster
        self.database = f"hetuflow_e2e_{uuid.uuid4().hex[:12]}"
        self.ledger = Ledger(folder / "ledger")
        self.programs: list[Program] = []
        self.address = cluster.url if cluster is not None else create_database(self.database)

    def enter(self) -> None:
        """Let this test's own queries go to the installation's database."""
        query(self.address)

    def server(self, *, port: int | None = None, **environment: str) -> ServerProgram:
        port = port or free_port()
        made = manage_program("server", "--port", str(port), log=self._log("server"), **environment)
        server = ServerProgram(made.arguments, environment=made.environment, log=made.log)
        server.port = port
        self.programs.append(server)
        server.start_and_listen()
        return server

    def scheduler(self, **environment: str) -> Program:
        scheduler = manage_program("scheduler", log=self._log("scheduler"), **environment)
        self.programs.append(scheduler)
        scheduler.start()
        return scheduler

    def wait_for_planning(self) -> None:
        """Return when a scheduler is at work."""
        now = database_now()
        schedule = factories.schedule(now=now, kind="once", start_time=now)
        until(lambda: Task.objects.filter(schedule=schedule).exists(), "the scheduler plans")

    def agent(
        self,
        *,
        port: int,
        name: str = "",
        slots: int = 4,
        labels: dict[str, str] | None = None,
        **environment: str,
    ) -> AgentProgram:
        """Start an agent of its own identity, and return it when it has registered."""
        row, token = issue_agent_token(name=name or f"agent-{uuid.uuid4().hex[:8]}")
        folder = self.folder / f"agent-{row.pk}"
        agent = AgentProgram(
            agent=row,
            folder=folder,
            environment={
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "HETUFLOW_SERVER": f"ws://127.0.0.1:{port}",
                "HETUFLOW_AGENT_TOKEN": token,
                "HETUFLOW_AGENT_DIR": str(folder),
                "HETUFLOW_AGENT_SLOTS": str(slots),
                "HETUFLOW_AGENT_LABELS": ",".join(f"{k}={v}" for k, v in (labels or {}).items()),
                "DATABASE_URL": "postgresql://never/for/commands",
                **environment,
            },
            log=self._log("agent"),
        )
        self.programs.append(agent)
        agent.start_and_register()
        return agent

    def clone(self, agent: AgentProgram) -> AgentProgram:
        """Start the same agent once more, as if its machine had been copied."""
        clone = self.copy_of(agent)
        clone.start_and_register()
        return clone

    def copy_of(self, agent: AgentProgram) -> AgentProgram:
        """Return the same agent once more, not started yet."""
        folder = self.folder / f"clone-{uuid.uuid4().hex[:6]}"
        environment = agent.environment | {"HETUFLOW_AGENT_DIR": str(folder)}
        clone = AgentProgram(agent=agent.row, folder=folder, environment=environment, log=self._log("agent"))
        self.programs.append(clone)
        return clone

    def running_agents(self) -> list[Path]:
        """Return the folders of the agents that run."""
        return [
            program.folder
            for program in self.programs
            if isinstance(program, AgentProgram) and program.is_running
        ]

    def cut_database_connections(self) -> int:
        """Break every connection to this installation's database; return how many there were."""
        with psycopg.connect(self.address, autocommit=True) as administrator:
            rows = administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        connection.close()
        return len(rows)

    def close(self) -> None:
        """Check what must always be true, and end everything; a traceback in any log fails the test."""
        try:
            if self.cluster is not None:
                self.cluster.make_whole()
            oracle.check_always(self)
        finally:
            try:
                self._end()
            finally:
                self._remove_database()
        self.check_logs()

    def check_logs(self) -> None:
        """Check that no program met with what its author did not think of."""
        for program in self.programs:
            assert program.log is not None
            _, found, details = program.log.read_text(errors="replace").partition("Traceback")
            assert not found, f"{program.log.name}: {details[:4000]}"

    def _end(self) -> None:
        agents = [program for program in self.programs if isinstance(program, AgentProgram)]
        with contextlib.ExitStack() as stack:
            stack.callback(self._end_agents, agents)
            for program in self.programs:
                # One that does not stop is an error, but no reason to leave the others.
                if program.is_running and program not in agents:
                    stack.callback(program.stop)

    def _end_agents(self, agents: list[AgentProgram]) -> None:
        for agent in agents:
            if agent.is_running:
                agent.kill()
        oracle.kill(pid for agent in agents for pid in oracle.processes_of(agent.folder))
        oracle.kill(oracle.processes_of_attempts(TaskInstance.objects.values_list("pk", flat=True)))

    def _remove_database(self) -> None:
        connection.close()
        if self.cluster is not None:
            self.cluster.remove()
        else:
            drop_database(self.database)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}-{uuid.uuid4().hex[:6]}.log"


def agent_python(folder: Path) -> Path:
    """Return the interpreter of a virtual environment that has only what `requirements-agent.txt` names."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=False, symlinks=True)
        (site_packages,) = folder.glob("lib/python*/site-packages")
        for line in (ROOT / "requirements-agent.txt").read_text().splitlines():
            if requirement := re.match(r"[\w.-]+", line):
                _copy_distribution(requirement[0], site_packages)
    return python


def _copy_distribution(name: str, site_packages: Path) -> None:
    distribution = importlib.metadata.distribution(name)
    assert not [need for need in distribution.requires or [] if "extra ==" not in need], name
    for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        source = Path(str(distribution.locate_file(top)))
        if source.is_dir():
            shutil.copytree(source, site_packages / top, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(source, site_packages / top)


def attempts_of(job: Job) -> list[TaskInstance]:
    return list(TaskInstance.objects.filter(job=job).order_by("task_id", "attempt"))


def tasks_of(job: Job, **more: Any) -> list[Task]:
    return list(Task.objects.filter(job=job, **more).order_by("scheduled_at"))
