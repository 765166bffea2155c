"""A real `manage.py standalone` in a folder of its own, for tests."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.processes import ROOT, free_port

LIMIT_SECS = 90.0
_MARK = "HETUFLOW_TEST_RUN"


class StandaloneProcess:
    """One run. Every process of it carries a mark in its environment, by which those left over are found."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self.data_dir = data_dir
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.mark = uuid.uuid4().hex
        self._output = data_dir.parent / f"output-{self.mark}"
        started_at = time.monotonic()
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "manage.py", "standalone"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.wait_for("is running", process_lives=True)
        self.start_secs = time.monotonic() - started_at

    @property
    def environment(self) -> dict[str, str]:
        """What this run, and a terminal beside it, has in its environment."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HETUFLOW_", "DATABASE_URL"))}
        return inherited | {
            "HETUFLOW_DATA_DIR": str(self.data_dir),
            "HETUFLOW_PORT": str(self.port),
            _MARK: self.mark,
        }

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def wait_for(self, text: str, *, process_lives: bool = False) -> None:
        """Wait until it has printed `text`."""
        deadline = time.monotonic() + LIMIT_SECS
        while text not in self.output:
            assert time.monotonic() < deadline, f"{text!r} was never printed:\n{self.output}"
            assert not process_lives or self.process.poll() is None, self.output
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(LIMIT_SECS)

    def processes(self) -> dict[int, str]:
        """Return the command lines of all live processes of this run, by their ids."""
        mark = f"{_MARK}={self.mark}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def wait_until_all_are_gone(self) -> None:
        """Wait until no process of this run is left."""
        deadline = time.monotonic() + LIMIT_SECS
        while left := self.processes():
            assert time.monotonic() < deadline, f"left over: {left}"
            time.sleep(0.02)

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a management command as from another terminal."""
        return self.run([sys.executable, "-W", "ignore", "manage.py", *arguments], environment)

    def run(
        self, command: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as from another terminal."""
        without_mark = {k: v for k, v in self.environment.items() if k != _MARK}
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**without_mark, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECS,
            check=False,
        )


@contextlib.contextmanager
def standalone(data_dir: Path, port: int | None = None) -> Iterator[StandaloneProcess]:
    """Run it for the length of a `with` block; nothing of it survives the block."""
    run = StandaloneProcess(data_dir, port or free_port())
    try:
        yield run
    finally:
        try:
            run.stop()
        finally:
            for pid in run.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
