"""Real servers, schedulers and agents for tests: child processes that end when the test ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_SECS = 30
STOP_LIMIT_SECS = 30


class Program:
    """A program as a process of its own, which can be killed and started again."""

    def __init__(
        self, arguments: Sequence[str | Path], *, environment: dict[str, str], log: Path | None = None
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.environment = environment
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.is_running
        with contextlib.ExitStack() as stack:
            # Without a log, what the program says goes where the test's own output goes.
            output = stack.enter_context(self.log.open("ab")) if self.log else None
            self._process = subprocess.Popen(
                self.arguments,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def send(self, number: signal.Signals) -> None:
        if self.is_running and self._process is not None:
            self._process.send_signal(number)

    def wait(self, limit_secs: float = STOP_LIMIT_SECS) -> int:
        """Wait for the end of the process and return its exit status."""
        assert self._process is not None
        return self._process.wait(limit_secs)

    def kill(self) -> None:
        """Let the process be gone at once, as if its machine had lost it."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the process to end and return its exit status; one that does not is killed, and an error.

        With PYTHONFAULTHANDLER in its environment, it says in its log what it was at.
        """
        self.send(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)
            self.wait()
            raise


def database_url() -> str:
    """Return the address of the database that this test sees."""
    settings = connection.settings_dict
    host = settings["HOST"] or settings["OPTIONS"]["host"]
    return f"postgresql://{settings['USER']}@/{settings['NAME']}?host={quote(host, safe='')}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def manage_program(*arguments: str, log: Path | None = None, **environment: str) -> Program:
    """Return a management command, not yet started, on the database that this test sees."""
    return Program(
        [sys.executable, "-W", "ignore", "manage.py", *arguments],
        environment={**os.environ, "DATABASE_URL": database_url(), **environment},
        log=log,
    )


def run_manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a management command to its end, and return what it said."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a refused command said, having checked that it said one line and nothing else."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("hetuflow: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@contextlib.contextmanager
def manage(*arguments: str, **environment: str) -> Iterator[Program]:
    """Run a management command as a process for the length of a `with` block."""
    program = manage_program(*arguments, **environment)
    program.start()
    try:
        yield program
    finally:
        program.stop()


@contextlib.contextmanager
def server(**environment: str) -> Iterator[int]:
    """Run a server for the length of a `with` block, which gets its port."""
    port = free_port()
    with manage("server", "--port", str(port), **environment) as program:
        wait_for_http(port, still=lambda: program.is_running)
        yield port


def wait_for_http(port: int, *, still: Callable[[], bool]) -> None:
    """Return when something answers on `port`, or `still` no longer holds, or after the limit."""
    deadline = time.monotonic() + START_LIMIT_SECS
    while still() and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
