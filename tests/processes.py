"""Real servers and schedulers for tests: child processes on the test database, ended when the test ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from django.db import connection

ROOT = Path(__file__).resolve().parent.parent


def database_url() -> str:
    """Return the address of the database that this test sees."""
    settings = connection.settings_dict
    host = settings["HOST"] or settings["OPTIONS"]["host"]
    return f"postgresql://{settings['USER']}@/{settings['NAME']}?host={quote(host, safe='')}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def manage(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a management command as a process for the length of a `with` block."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url(), **environment},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextlib.contextmanager
def server(**environment: str) -> Iterator[int]:
    """Run a server for the length of a `with` block, which gets its port."""
    port = free_port()
    with manage("server", "--port", str(port), **environment) as process:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/health", timeout=5)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
        yield port
