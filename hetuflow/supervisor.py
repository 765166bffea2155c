"""Keeps the processes of one machine going, and ends them in order."""

import signal
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from hetuflow.child_process import ChildProcess
from hetuflow.signal_queue import SignalQueue

STOP_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_HURRY_SECS: Final = 2.0
_TICK_SECS: Final = 0.25
_LOOK_AT_LOGS_SECS: Final = 1.0


class Watched(Protocol):
    """Something beside the children that is looked after: returns a line when there is something to say."""

    def look_after(self) -> str | None: ...


class Supervisor:
    """Looks after children until a signal says stop; `say` prints a line for a person."""

    def __init__(
        self,
        children: Sequence[ChildProcess],
        *,
        also: Sequence[Watched] = (),
        signals: SignalQueue,
        say: Callable[[str], None],
    ) -> None:
        self._children = list(children)
        self._watched: list[Watched] = [*also, *self._children]
        self._signals = signals
        self._say = say
        self._in_a_hurry = False
        self._next_look_at = 0.0

    def start(self) -> None:
        """Start all children."""
        for child in self._children:
            child.start()

    def step(self, timeout_secs: float = _TICK_SECS) -> bool:
        """Look after everything once, waiting for news at most so long; return whether to go on."""
        arrived = self._signals.wait(timeout_secs)
        for watched in self._watched:
            if line := watched.look_after():
                self._say(line)
        if time.monotonic() >= self._next_look_at:
            self._next_look_at = time.monotonic() + _LOOK_AT_LOGS_SECS
            self._show_errors()
        return STOP_SIGNALS.isdisjoint(arrived)

    def stop(self) -> None:
        """End the children, the last one first, each when the one before has ended.

        Another stop signal meanwhile leaves each two more seconds.
        """
        for child in reversed(self._children):
            self._end(child)
        self._show_errors()

    def _show_errors(self) -> None:
        for child in self._children:
            for line in child.log.new_errors():
                self._say(f"{child.name}: {line}")

    def _end(self, child: ChildProcess) -> None:
        child.signal(child.stop_signal)
        deadline = time.monotonic() + (_HURRY_SECS if self._in_a_hurry else child.stop_secs)
        while child.is_alive:
            if not STOP_SIGNALS.isdisjoint(self._signals.wait(_TICK_SECS)):
                self._in_a_hurry = True
                deadline = min(deadline, time.monotonic() + _HURRY_SECS)
                child.signal(child.stop_signal)
            if child.is_alive and time.monotonic() > deadline:
                self._say(f"{child.name} does not stop and is killed")
                child.signal(signal.SIGKILL)
                deadline += child.stop_secs
