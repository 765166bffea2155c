"""One attempt from waiting for its instant to `exit.json`, in the process that supervises it.

Output goes to the spool; time-out, output cap and lost lease are enforced; the whole tree is ended. The work
is done whether a daemon listens or not. Standard library only, and of that what is cheap after a fork.
"""

from __future__ import annotations

import os
import select
import signal
import time

from agents.daemon import cgroups, command, processes, spool
from agents.daemon.link import DaemonLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

DRAIN_SECS: Final = 5.0
# An attempt that waits or runs longer than this gets a socket and a control group.
LASTS_SECS: Final = 0.2

_READ_BYTES: Final = 64 * 1024
_LONG_OUTPUT_BYTES: Final = 64 * 1024
_ROOM_BYTES: Final = 16 * 1024
_SPIN_SECS: Final = 0.002
_CLOCKS_IN_STEP_SECS: Final = 0.05
_TICK_SECS: Final = 0.02
_COUNT_SECS: Final = 0.5
_RETRY_EXIT_SECS: Final = 1.0
_MAX_CAUSE_CHARS: Final = 200
_NEVER: Final = float("inf")


class Attempt:
    """One command from waiting for its instant to `exit.json`."""

    def __init__(self, folder: str, locked: int, spec: dict[str, Any]) -> None:
        self._folder = folder
        self._locked = locked
        self._spec = spec
        self._poller = select.poll()
        self._handlers: dict[int, Any] = {}
        self._link = DaemonLink(folder, self)
        self._pid: int | None = None
        self._pidfd = -1
        self._group: str | None = None
        self._pipes: dict[int, str] = {}
        self._files: dict[str, int] = {}
        self._room = int(spec["max_output_size"])
        self._waited: Any = None  # the status and the usage of the command, once it has ended
        self._ended_at: float | None = None
        self._is_childless = True
        self._stop_status: str | None = None
        self._kill_at = _NEVER
        self._stopped_at: float | None = None
        self._count_at = _NEVER
        self._told_count = 0
        self._times_out_at = _NEVER
        self._lasts_at = _NEVER
        self._lease_until = float(spec["lease_until"] or _NEVER)
        # An agent of before did not write it.
        self._start_by = float(spec.get("start_by") or _NEVER)
        self.grace_secs = float(spec["kill_grace_secs"])
        self._outcome: dict[str, Any] = {
            "status": "failed",
            "exit_code": None,
            "signal": None,
            "error_message": "",
            "metrics": {},
            "started_at_ms": None,
            "start_delay_ms": None,
            "output_truncated": False,
        }

    # --- what the daemon sees and asks -----------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """What the daemon is told when it is found."""
        return {
            "id": self._spec["instance_id"],
            "started_at_ms": self._outcome["started_at_ms"],
            "start_delay_ms": self._outcome["start_delay_ms"],
        }

    def stop(self, status: str, message: str, grace_secs: float) -> None:
        """End the tree: ask, and kill after `grace_secs`; `status` is what the attempt becomes."""
        if self._stop_status is None and self._ended_at is None:
            self._stop_status = status
            self._outcome["error_message"] = message
        now = time.monotonic()
        self._kill_at = min(self._kill_at, now + grace_secs)
        if self._pid is not None:
            tree = self._tree()
            processes.send_signal(tree, signal.SIGTERM)
            processes.send_signal(self._tree(), signal.SIGCONT)
            if self._stopped_at is None:
                self._stopped_at, self._count_at, self._told_count = now, now + _COUNT_SECS, len(tree)
                cause = message[:_MAX_CAUSE_CHARS] or "the command has ended"
                self._tell(f"{cause}: SIGTERM to {_processes(tree)}, SIGKILL in {self._kill_at - now:.3g} s")

    def renew_lease(self, until: float) -> None:
        """Begin until that moment of the steady clock, and run on where losing the lease ends the attempt."""
        self._start_by = until
        if self._lease_until != _NEVER:
            self._lease_until = until

    def fail(self, message: str) -> None:
        """End whatever runs at once, and let the attempt have failed for that reason."""
        self._outcome |= {"status": "failed", "error_message": message}
        self._kill_tree()

    # --- life ------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Wait, start, supervise: afterwards no process of the tree is left, and the outcome is known.

        Returns False, having done nothing, where the attempt was started before.
        """
        self._wait_for_instant()
        if time.monotonic() >= self._start_by:
            # Others may have it by now: it came late, and its instant was counted from then.
            self.stop("declined", "its lease ran out before it began", 0)
        if self._stop_status is not None:
            self._outcome["status"] = self._stop_status
            return True
        if not spool.claim_start(self._locked):
            return False
        if self._start():
            self._link.say(self.state)
            self._supervise()
            self._settle_outcome()
        return True

    def write_exit(self) -> None:
        """Put the outcome on disk, however long it takes until there is room for it, and say so (I6)."""
        self._outcome["ended_at_ms"] = time.time_ns() // 1_000_000
        while True:
            try:
                spool.write_exit(self._folder, self._outcome)
            except FileNotFoundError:
                break  # somebody removed the folder, and with it the attempt
            except OSError:
                time.sleep(_RETRY_EXIT_SECS)
            else:
                break
        if self._group is not None:
            cgroups.remove(self._group, limit_secs=1)

    def close(self, *, is_fit: bool) -> None:
        """Let go of everything, and tell the daemon that it ended, and whether this process takes another."""
        for descriptor in self._files.values():
            os.close(descriptor)
        os.close(self._locked)
        self._link.say({"id": self._spec["instance_id"], "ended": True, "is_fit": is_fit})
        self._link.close()

    def _wait_for_instant(self) -> None:
        start_at = self._spec["start_at"]
        if start_at - time.monotonic() > LASTS_SECS:
            self._link.connect()
        while self._stop_status is None:
            left = start_at - time.monotonic()
            if left <= 0:
                self._wait_for_wall_clock()
                return
            if left > _SPIN_SECS:
                self._poll(min(left - _SPIN_SECS, self._link.next_try_in))
                self._link.tend()
            else:
                time.sleep(left)

    def _wait_for_wall_clock(self) -> None:
        """Never begin a little before the instant by the machine's own clock, where that is in step.

        The way of a dispatch is known to a few milliseconds, and a command that asks for the date at midnight
        must not see yesterday. Clocks that are far apart are not waited for.
        """
        early = (self._spec["scheduled_at"] or 0.0) - time.time()
        if 0 < early < _CLOCKS_IN_STEP_SECS:
            time.sleep(early)

    def _start(self) -> bool:
        """Execute the command; False where that cannot be, which the outcome then says."""
        ends = {stream: os.pipe() for stream in (spool.STREAMS if self._room > 0 else ())}
        try:
            self._pid, self._group, started = command.start(
                self._spec, {stream: writer for stream, (_, writer) in ends.items()}
            )
        except (OSError, ValueError) as error:
            self._outcome |= command.failure(error, self._spec)
            for reader, writer in ends.values():
                os.close(reader)
                os.close(writer)
            return False
        self._outcome |= started
        for stream, (reader, writer) in ends.items():
            os.close(writer)
            os.set_blocking(reader, False)
            self._pipes[reader] = stream
            self.watch(reader, self._on_output)
        self._is_childless = False
        self._pidfd = os.pidfd_open(self._pid)
        self.watch(self._pidfd, self._on_end)
        now = time.monotonic()
        self._lasts_at = now + LASTS_SECS
        self._times_out_at = now + float(self._spec["timeout_secs"])
        return True

    def _settle_in(self) -> None:
        """The attempt lasts: let the daemon reach it, and the kernel hold its tree together."""
        self._lasts_at = _NEVER
        signal.signal(signal.SIGCHLD, self._reap)
        self._reap()
        self._link.connect()
        if self._group is None and self._spec["cgroup_parent"] and self._ended_at is None:
            self._group = cgroups.make(self._spec["cgroup_parent"], self._spec["instance_id"], {})
            if self._group is not None:
                cgroups.move_tree(self._group, self._tree)

    def _supervise(self) -> None:
        while self._ended_at is None or not self._is_childless or self._pipes:
            now = time.monotonic()
            self._enforce(now)
            self._poll(self._next_moment(now) - now)
            self._link.tend()
            if self._ended_at is not None and not self._is_childless:
                self._reap()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if self._stopped_at is not None:
            self._tell(f"all processes have ended, {time.monotonic() - self._stopped_at:.3g} s after SIGTERM")

    def _enforce(self, now: float) -> None:
        """Do what is due by now."""
        if now >= self._lasts_at:
            self._settle_in()
        if self._ended_at is None:
            if now >= self._times_out_at:
                self._times_out_at = _NEVER
                self.stop("timeout", f"timed out after {self._spec['timeout_secs']:g} s", self.grace_secs)
            if now >= self._lease_until:
                self._lease_until = _NEVER
                self.stop("failed", "the lease ran out and the job asks to be stopped then", self.grace_secs)
        elif not self._pipes or now >= self._ended_at + DRAIN_SECS:
            # The command has ended. What it left behind may finish its output for a while, then has to go.
            self._close_pipes()
            if not self._is_childless and self._kill_at == _NEVER:
                self.stop("", "", min(self.grace_secs, DRAIN_SECS))
        if not self._is_childless:
            self._end_tree(now)

    def _end_tree(self, now: float) -> None:
        """Kill what is left where the grace is over; until then say how much that is."""
        if now >= self._kill_at:
            if self._count_at != _NEVER:
                self._count_at = _NEVER
                self._tell(f"SIGKILL to {_processes(self._tree())}")
            self._kill_tree()
            self._kill_at = now + _TICK_SECS
        elif now >= self._count_at:
            self._count_at = now + _COUNT_SECS
            tree = self._tree()
            if len(tree) != self._told_count:
                self._told_count = len(tree)
                self._tell(f"{_processes(tree)} left")

    def _next_moment(self, now: float) -> float:
        if self._ended_at is not None or self._kill_at != _NEVER:
            return now + _TICK_SECS
        return min(self._lasts_at, self._times_out_at, self._lease_until, now + self._link.next_try_in)

    def _poll(self, secs: float) -> None:
        timeout_ms = None if secs == _NEVER else max(0, int(secs * 1000) + (secs > 0))
        for descriptor, _event in self._poller.poll(timeout_ms):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(descriptor)

    def watch(self, descriptor: int, handler: Any) -> None:
        """Call `handler` when there is something to read."""
        self._handlers[descriptor] = handler
        self._poller.register(descriptor, select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Stop listening to a descriptor and close it."""
        del self._handlers[descriptor]
        self._poller.unregister(descriptor)
        os.close(descriptor)

    # --- output ----------------------------------------------------------------------------------------

    def _on_output(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            del self._pipes[descriptor]
            self.unwatch(descriptor)
            return
        if len(data) > self._room:
            self._outcome["output_truncated"] = True
            data = data[: self._room]
        if data:
            self._store(self._pipes[descriptor], data)

    def _store(self, stream: str, data: bytes) -> None:
        try:
            if stream not in self._files:
                self._files[stream] = os.open(
                    f"{self._folder}/{stream}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
                )
            self._room -= len(data)
            while data:
                data = data[os.write(self._files[stream], data) :]
        except OSError:
            # A full disk must not hang the command; what is stored ends here, and says so.
            self._outcome["output_truncated"] = True
            self._room = 0
            self._make_room(stream)
        self._link.note_output()

    def _make_room(self, stream: str) -> None:
        """Give back the end of a long output, which may be what filled the disk: results need some room."""
        if stream in self._files:
            size = os.fstat(self._files[stream]).st_size
            if size >= _LONG_OUTPUT_BYTES:
                os.ftruncate(self._files[stream], size - _ROOM_BYTES)

    def _close_pipes(self) -> None:
        for descriptor in list(self._pipes):
            self._outcome["output_truncated"] = True
            del self._pipes[descriptor]
            self.unwatch(descriptor)

    # --- the end ---------------------------------------------------------------------------------------

    def _on_end(self, descriptor: int) -> None:
        self.unwatch(descriptor)
        self._reap()
        assert self._waited is not None  # noqa: S101
        status, usage = self._waited
        self._ended_at = time.monotonic()
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            self._outcome["signal"] = -code
        else:
            self._outcome["exit_code"] = code
        self._outcome["metrics"] = {
            "cpu_time": round(usage.ru_utime + usage.ru_stime, 6),
            "memory_peak": usage.ru_maxrss * 1024,
            "disk_read": usage.ru_inblock * 512,
            "disk_write": usage.ru_oublock * 512,
        }

    def _reap(self, *_signal: object) -> None:
        """Collect what has ended, and see whether any of the tree is left.

        Of an attempt that lasts this is done by a signal, in the middle of whatever is under way: a tree that
        forks as fast as it can leaves thousands of orphans a second, and they would fill the process table.
        """
        try:
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid and self._waited is None:
                    self._waited = ended[1:]
        except ChildProcessError:
            self._is_childless = True

    def _settle_outcome(self) -> None:
        number = self._outcome["signal"]
        if self._stop_status:
            # Only what never began can be given back.
            self._outcome["status"] = "failed" if self._stop_status == "declined" else self._stop_status
        elif self._outcome["exit_code"] == 0:
            self._outcome["status"] = "completed"
        elif number is not None:
            self._outcome["error_message"] = f"ended by signal {number} ({command.signal_name(number)})"
        else:
            self._outcome["error_message"] = f"ended with exit code {self._outcome['exit_code']}"

    def _tell(self, text: str) -> None:
        """Say in the agent's log how the end of the tree goes."""
        self._link.say({**self.state, "log": text})

    def _tree(self) -> list[int]:
        return processes.descendants(os.getpid())

    def _kill_tree(self) -> None:
        if self._group is not None:
            cgroups.kill(self._group)
        processes.kill(self._tree)


def _processes(tree: list[int]) -> str:
    return "1 process" if len(tree) == 1 else f"{len(tree)} processes"
