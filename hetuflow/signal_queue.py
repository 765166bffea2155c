"""Signals as something to wait for, instead of code that runs in the middle of other code."""

import os
import select
import signal
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Self


class SignalQueue:
    """While entered, the given signals are collected and read with `wait`. For the main thread."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._before: dict[signal.Signals, Any] = {}
        self._reader, self._writer = -1, -1

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self._reader, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, _collected)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, timeout_secs: float) -> list[signal.Signals]:
        """Return the signals that came since the last call, waiting for the first one at most so long."""
        if not select.select([self._reader], [], [], timeout_secs)[0]:
            return []
        wanted = set(self._numbers)
        return [signal.Signals(byte) for byte in os.read(self._reader, 4096) if byte in wanted]


def _collected(number: int, frame: FrameType | None) -> None:
    """Do nothing: the interpreter has written the number into the pipe already."""
