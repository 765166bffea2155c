"""Programs that we start and that must not outlive us."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hetuflow.log_file import LogFile

_PR_SET_PDEATHSIG: Final = 1
_FIRST_PAUSE_SECS: Final = 0.5
_LONGEST_PAUSE_SECS: Final = 30.0
_HEALTHY_SECS: Final = 60.0


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return what makes a child get that signal when we are killed, where the kernel offers it (Linux).

    For `preexec_fn` of subprocess. The kernel watches the thread that starts the child: use the main one.
    """
    parent = os.getpid()
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return None

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)

    return arm


def end_with_parent() -> None:
    """Ask for SIGTERM when the process that started us is killed, where the kernel offers that (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class ChildProcess:
    """One program with its log, started again when it ends, after a pause that doubles each time.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches only us.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: LogFile,
        environment: Mapping[str, str],
        folder: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_secs: float = 10.0,
    ) -> None:
        self.name = name
        self.log = log
        self.stop_signal = stop_signal
        self.stop_secs = stop_secs
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_secs = _FIRST_PAUSE_SECS
        self._start_after: float | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program."""
        self._start_after = None
        self._started_at = time.monotonic()
        options: dict[str, Any] = {"preexec_fn": die_with_parent(self.stop_signal)}
        with self.log.open() as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )

    def look_after(self) -> str | None:
        """Start the program again when its pause is over; return a line to print when it has just ended."""
        now = time.monotonic()
        if self._start_after is not None:
            if now >= self._start_after:
                self.start()
            return None
        if self._process is None or self._process.poll() is None:
            return None
        if now - self._started_at > _HEALTHY_SECS:
            self._pause_secs = _FIRST_PAUSE_SECS
        pause, self._pause_secs = self._pause_secs, min(self._pause_secs * 2, _LONGEST_PAUSE_SECS)
        self._start_after = now + pause
        status = self._process.returncode
        last = self.log.last_line() if status > 0 else ""
        why = f" ({last})" if last else ""
        return f"{self.name} {_how_it_ended(status)}{why}; starting it again in {pause:g} s"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program if it runs, and do not start it again."""
        self._start_after = None
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
