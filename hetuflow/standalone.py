"""Everything on one machine: database, server, scheduler and agent, under one Ctrl-C."""

import contextlib
import http.client
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command
from django.db import connections

from hetuflow import __version__, provisioning, sample_jobs
from hetuflow.child_process import ChildProcess, end_with_parent
from hetuflow.data_folder import DataFolder, DataFolderError
from hetuflow.database import UnusableDatabase, check_reachable, has_unapplied_migrations, use_database
from hetuflow.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from hetuflow.listening import CannotListen, check_can_listen
from hetuflow.log_file import LogFile
from hetuflow.signal_queue import SignalQueue
from hetuflow.supervisor import STOP_SIGNALS, Supervisor
from scheduling.clock import database_now

ROOT: Final = Path(__file__).resolve().parent.parent
HEALTH_PATH: Final = "/api/v1/health"
_READY_SECS: Final = 60.0
_LEFT_OVER_SECS: Final = 15.0
_POSTGRES_PAUSE_SECS: Final = 5.0
_WAIT_TICK_SECS: Final = 0.05
_TICK_SECS: Final = 0.5
# What the agent, and with it the commands it runs, has no business to know.
_NOT_FOR_AGENT: Final = frozenset(
    {
        "DATABASE_URL",
        "HETUFLOW_SECRET_KEY",
        "HETUFLOW_ADMIN_PASSWORD",
        "HETUFLOW_AGENT_TOKEN",
        "HETUFLOW_ENROLLMENT_TOKEN",
    }
)
_FROM_MAKE: Final = frozenset({"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKE_TERMOUT", "MAKE_TERMERR"})


class StandaloneError(Exception):
    """Hetuflow cannot start; the message is one line for a person."""


class _StopRequested(Exception):
    """Somebody asked to stop before everything ran."""


@dataclass(frozen=True)
class Options:
    """What the environment says; `database_url` and `admin_password` may be empty."""

    data_dir: Path
    host: str
    port: int
    database_url: str
    admin_password: str

    @property
    def reachable_host(self) -> str:
        """The address under which this machine reaches the server."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104

    @property
    def authority(self) -> str:
        """Host and port, as in an address."""
        host = self.reachable_host
        return f"{f'[{host}]' if ':' in host else host}:{self.port}"


class PostgresGuard:
    """Starts the embedded PostgreSQL again should it end."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._not_before = 0.0

    def look_after(self) -> str | None:
        """Start it again where it has ended and return a line that says so."""
        status = self._postgres.poll()
        if status is None or time.monotonic() < self._not_before:
            return None
        self._not_before = time.monotonic() + _POSTGRES_PAUSE_SECS
        try:
            self._postgres.start()
        except EmbeddedPostgresError as error:
            return f"PostgreSQL ended with status {status} and does not start: {error}"
        return f"PostgreSQL ended with status {status} and was started again"


class Standalone:
    """One run of it. `say` prints to the terminal, `complain` to its error stream."""

    def __init__(
        self, options: Options, *, say: Callable[[str], None], complain: Callable[[str], None]
    ) -> None:
        self._options = options
        self._folder = DataFolder(options.data_dir)
        self._say = say
        self._complain = complain
        self._started_at = time.monotonic()

    def run(self) -> None:
        """Run until a signal says stop, and end everything in order. Raises StandaloneError."""
        # make waits for us, but when it is killed, nobody would end us.
        if "MAKELEVEL" in os.environ:
            end_with_parent()
        numbers = [n for n in STOP_SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
        try:
            with (
                SignalQueue([*numbers, signal.SIGCHLD]) as signals,
                self._folder.locked() as ended_badly,
            ):
                self._run(signals, wait_for_port=ended_badly)
        except _StopRequested:
            self._say("Stopped before everything ran.")
        except (DataFolderError, EmbeddedPostgresError, UnusableDatabase, CannotListen) as error:
            raise StandaloneError(str(error)) from error
        except OSError as error:
            raise StandaloneError(str(self._folder.unusable(error))) from error

    def _run(self, signals: SignalQueue, *, wait_for_port: bool) -> None:
        self._check_port(patience_secs=_LEFT_OVER_SECS if wait_for_port else 0.0)
        with self._database() as (url, postgres), self._folder.published_address(url):
            self._go_on_unless_stopped(signals)
            password = self._provision(signals)
            supervisor = Supervisor(
                self._children(url),
                also=[PostgresGuard(postgres)] if postgres else [],
                signals=signals,
                say=self._complain,
            )
            try:
                supervisor.start()
                self._supervise(supervisor, password)
            finally:
                self._say("\nStopping: agent, scheduler, server, database … (Ctrl-C again to hurry)")
                supervisor.stop()
        self._say(f"Stopped. Your data stays in {_short(self._folder.path)}.")

    def _check_port(self, *, patience_secs: float) -> None:
        """Make sure that the server can listen; processes of a run that was killed get time to end."""
        deadline = time.monotonic() + patience_secs
        while True:
            try:
                check_can_listen(self._options.host, self._options.port)
            except CannotListen:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_WAIT_TICK_SECS)
            else:
                return

    @contextlib.contextmanager
    def _database(self) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
        """Give the database's address for a `with` block, and the embedded server where it is that."""
        if self._options.database_url:
            check_reachable()
            yield self._options.database_url, None
            return
        self._say("Starting PostgreSQL …")
        postgres = EmbeddedPostgres(self._folder.path)
        try:
            url = postgres.start()
            use_database(url)
            yield url, postgres
        finally:
            postgres.stop()

    def _provision(self, signals: SignalQueue) -> str:
        """Prepare the database; return a new admin password to show, "" if there is none."""
        try:
            if has_unapplied_migrations():
                self._say("Preparing the database …")
                call_command("migrate", interactive=False, verbosity=0)
            self._go_on_unless_stopped(signals)
            password = provisioning.ensure_admin(self._folder, password=self._options.admin_password)
            provisioning.ensure_agent_token(self._folder, now=database_now())
            if sample_jobs.load_once(self._folder, now=database_now()):
                self._say("Loaded a few sample jobs.")
            return password
        finally:
            connections.close_all()

    def _children(self, url: str) -> list[ChildProcess]:
        shared = {name: value for name, value in os.environ.items() if name not in _FROM_MAKE}
        shared |= {"PYTHONUNBUFFERED": "1", "HETUFLOW_DATA_DIR": str(self._folder.path)}
        django = {**shared, "DATABASE_URL": url}
        django.pop("HETUFLOW_ADMIN_PASSWORD", None)
        agent = {name: value for name, value in shared.items() if name not in _NOT_FOR_AGENT} | {
            "HETUFLOW_SERVER": f"ws://{self._options.authority}",
            "HETUFLOW_AGENT_TOKEN_FILE": str(self._folder.path / provisioning.AGENT_TOKEN_FILE),
            "HETUFLOW_AGENT_DIR": str(self._folder.path / "agent"),
        }
        agent.setdefault("HETUFLOW_AGENT_NAME", provisioning.AGENT_NAME)
        manage = [sys.executable, str(ROOT / "manage.py")]
        listen = ["--host", self._options.host, "--port", str(self._options.port)]

        # SIGINT tells the agent to stop what it runs; SIGTERM would leave that to its next start.
        stop_agent: dict[str, Any] = {"stop_signal": signal.SIGINT, "stop_secs": 30.0}
        return [
            self._child("server", [*manage, "server", *listen], django),
            self._child("scheduler", [*manage, "scheduler"], django),
            self._child("agent", [sys.executable, "-m", "agents.daemon"], agent, **stop_agent),
        ]

    def _child(
        self, name: str, command: list[str], environment: dict[str, str], **ending: Any
    ) -> ChildProcess:
        log = LogFile(self._folder.logs / f"{name}.log")
        return ChildProcess(name, command, log=log, environment=environment, folder=ROOT, **ending)

    def _supervise(self, supervisor: Supervisor, password: str) -> None:
        give_up_at: float | None = time.monotonic() + _READY_SECS
        pause_secs = _WAIT_TICK_SECS
        while supervisor.step(pause_secs if give_up_at else _TICK_SECS):
            if give_up_at is None:
                continue
            pause_secs = min(pause_secs * 1.1, _TICK_SECS)
            if _is_healthy(self._options.reachable_host, self._options.port):
                give_up_at = None
                self._say(self._welcome(password))
            elif time.monotonic() > give_up_at:
                give_up_at = None
                self._complain(f"The server does not answer; its log: {_short(self._folder.logs)}/server.log")

    def _welcome(self, password: str) -> str:
        url = f"http://{self._options.authority}"
        login = _login_line(self._folder, password, given=bool(self._options.admin_password))
        manage = f"{_short(Path(sys.executable))} manage.py"
        if self._folder.path != ROOT / ".hetuflow":
            manage = f"HETUFLOW_DATA_DIR={shlex.quote(str(self._folder.path))} {manage}"
        database = "PostgreSQL at DATABASE_URL" if self._options.database_url else "embedded PostgreSQL"
        return f"""
  Hetuflow {__version__} is running, {time.monotonic() - self._started_at:.1f} s after its start.

    Admin     {url}/admin/
    Login     {login}
    API       {url}/api/docs
    Data      {_short(self._folder.path)} ({database})
    Logs      {_short(self._folder.logs)}

  What to try next
    1. Log in and watch the sample jobs run; press "Run now" on the job "countdown" and follow its output.
    2. Ask the API, from another terminal:
         TOKEN=$({manage} api_token {provisioning.ADMIN_NAME})
         curl -H "Authorization: Bearer $TOKEN" {url}/api/v1/jobs
    3. Write a job of your own: README.md, "Your first job".

  Ctrl-C stops everything; your data stays.
"""

    def _go_on_unless_stopped(self, signals: SignalQueue) -> None:
        if not STOP_SIGNALS.isdisjoint(signals.wait(0)):
            raise _StopRequested


def _login_line(folder: DataFolder, new_password: str, *, given: bool) -> str:
    kept_in = _short(folder.path / provisioning.PASSWORD_FILE)
    if new_password:
        return f"{provisioning.ADMIN_NAME} / {new_password}   (kept in {kept_in})"
    if given:
        return f"{provisioning.ADMIN_NAME}, password as in HETUFLOW_ADMIN_PASSWORD"
    if provisioning.kept_password_is_valid(folder):
        connections.close_all()
        return f"{provisioning.ADMIN_NAME}, password in {kept_in}"
    return (
        f"{provisioning.ADMIN_NAME}, with the password that you set (manage.py changepassword sets another)"
    )


def _is_healthy(host: str, port: int) -> bool:
    client = http.client.HTTPConnection(host, port, timeout=2)
    try:
        client.request("GET", HEALTH_PATH)
        # 400: our name for it is not among HETUFLOW_ALLOWED_HOSTS, but it works.
        return client.getresponse().status in (200, 400)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def _short(path: Path) -> str:
    """Return a path as a person here would write it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
