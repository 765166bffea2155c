"""The supervisor of one attempt: a process of its own, forked by the launcher, that outlives the daemon.

It waits for the instant, starts the command in a new session (and control group, where it may), writes its
output to the spool, enforces timeout, output cap and lost lease, ends the whole tree, and writes `exit.json`
last. Standard library only. It talks to the daemon over a socket in the agent's folder, one JSON object
in a message, and does its work whether anybody listens or not.
"""

import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any, Final

from agents.daemon import cgroups, processes, spool

SOCKET: Final = "daemon.sock"
DRAIN_SECS: Final = 5.0

_READ_BYTES: Final = 64 * 1024
_SPIN_SECS: Final = 0.002
_NOTIFY_SECS: Final = 0.05
_RECONNECT_SECS: Final = 0.25
_TICK_SECS: Final = 0.02
_RETRY_EXIT_SECS: Final = 1.0
_NEVER: Final = float("inf")
# Python ignores the first two, the shim handles or ignores the rest; a command starts with the defaults.
_DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(folder: str) -> None:
    """Supervise the attempt in `folder` to its end; does nothing where it has a supervisor or began once."""
    spec = spool.read_json(folder, spool.SPEC)
    if spec is None:
        return
    descriptor = spool.lock(folder)  # held until this process ends
    if descriptor is None or spool.has_started(folder) or spool.read_json(folder, spool.EXIT):
        return
    attempt = Attempt(folder, spec)
    try:
        attempt.run()
    except Exception as error:  # noqa: BLE001 (whatever it is, the outcome has to be written)
        traceback.print_exc(file=sys.stderr)
        attempt.fail(f"the supervisor of the attempt failed: {type(error).__name__}: {error}")
    attempt.write_exit()
    attempt.say_goodbye()


class Attempt:
    """One command from waiting for its instant to `exit.json`."""

    def __init__(self, folder: str, spec: dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
        self._poller = select.poll()
        self._handlers: dict[int, Any] = {}
        self._link = _DaemonLink(folder, self)
        self._pid: int | None = None
        self._pidfd = -1
        self._group: str | None = None
        self._pipes: dict[int, str] = {}
        self._files: dict[str, int] = {}
        self._room = int(spec["max_output_size"])
        self._ended_at: float | None = None
        self._is_childless = True
        self._stop_status: str | None = None
        self._kill_at = _NEVER
        self._times_out_at = _NEVER
        self._lease_until = float(spec.get("lease_until") or _NEVER)
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
        kill_at = time.monotonic() + grace_secs
        if kill_at < self._kill_at:
            self._kill_at = kill_at
        if self._pid is not None:
            processes.send_signal(self._tree(), signal.SIGTERM)
            processes.send_signal(self._tree(), signal.SIGCONT)

    def renew_lease(self, until: float) -> None:
        """Run on until that moment of the monotonic clock, where losing the lease ends the attempt."""
        if self._lease_until != _NEVER:
            self._lease_until = until

    def fail(self, message: str) -> None:
        """End whatever runs at once, and let the attempt have failed for that reason."""
        self._outcome |= {"status": "failed", "error_message": message}
        self._kill_tree()

    # --- life ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Wait, start, supervise; afterwards no process of the tree is left and the outcome is known."""
        processes.become_subreaper()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(
            signal.SIGTERM, lambda *_: self.stop("failed", "the machine of the agent stops", self._grace_secs)
        )
        if self._spec["start_at"] - time.monotonic() > _SPIN_SECS:
            self._link.connect()
        self._wait_for_instant()
        if self._stop_status is not None:
            self._outcome["status"] = self._stop_status
            return
        if not spool.mark_started(self._folder):
            raise RuntimeError("the attempt was started before")
        if self._start():
            self._link.announce_start()
            self._supervise()
            self._settle_outcome()

    def write_exit(self) -> None:
        """Put the outcome on disk, however long it takes until there is room for it (I6)."""
        self._outcome |= {"ended_at_ms": time.time_ns() // 1_000_000}
        self._close_files()
        while True:
            try:
                spool.write_exit(self._folder, self._outcome)
            except OSError:
                time.sleep(_RETRY_EXIT_SECS)
            else:
                return

    def say_goodbye(self) -> None:
        """Let the daemon see that this attempt has ended: the socket to it closes with the process."""
        self._link.connect_at_last()

    @property
    def _grace_secs(self) -> float:
        return float(self._spec["kill_grace_secs"])

    def _wait_for_instant(self) -> None:
        start_at = self._spec["start_at"]
        while self._stop_status is None:
            left = start_at - time.monotonic()
            if left <= 0:
                return
            if left > _SPIN_SECS:
                self._poll(min(left - _SPIN_SECS, self._link.next_try_in))
                self._link.tend()
            else:
                time.sleep(left)

    def _start(self) -> bool:
        spec = self._spec
        environment: dict[str, str] = spec["environment"]
        streams = spool.STREAMS if self._room > 0 else ()
        ends = {stream: os.pipe() for stream in streams}
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        ]
        for number, stream in enumerate(spool.STREAMS, start=1):
            if stream in ends:
                actions.append((os.POSIX_SPAWN_DUP2, ends[stream][1], number))
            else:
                actions.append((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0))
        try:
            os.chdir(spec["working_dir"])
            program = find_program(spec["argv"][0], environment.get("PATH", os.defpath))
            if spec["cgroup_parent"]:
                self._group = cgroups.join(
                    spec["cgroup_parent"], spec["instance_id"], spec["resource_limits"]
                )
            with self._limited_memory():
                self._note_start()
                self._pid = os.posix_spawn(
                    program,
                    spec["argv"],
                    environment,
                    file_actions=actions,
                    setsid=True,
                    setsigmask=[],
                    setsigdef=_DEFAULT_SIGNALS,
                )
        except (OSError, ValueError) as error:
            self._outcome |= _start_failure(error, spec)
            return False
        self._is_childless = False
        for stream, (reader, writer) in ends.items():
            os.close(writer)
            os.set_blocking(reader, False)
            self._pipes[reader] = stream
            self._watch(reader, self._on_output)
        self._pidfd = os.pidfd_open(self._pid)
        self._watch(self._pidfd, self._on_end)
        self._times_out_at = time.monotonic() + float(spec["timeout_secs"])
        return True

    def _note_start(self) -> None:
        delay = time.monotonic() - self._spec["start_at"]
        self._outcome["start_delay_ms"] = round(delay * 1000, 3)
        self._outcome["started_at_ms"] = time.time_ns() // 1_000_000

    @contextlib.contextmanager
    def _limited_memory(self) -> Iterator[None]:
        """Lower our own soft limit for the command to inherit, where no control group limits it."""
        limit_mb = self._spec["resource_limits"].get("max_memory_mb")
        if limit_mb is None or cgroups.limits_memory(self._group):
            yield
            return
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (int(limit_mb) * 1024 * 1024, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    def _supervise(self) -> None:
        while self._ended_at is None or not self._is_childless or self._pipes:
            now = time.monotonic()
            self._enforce(now)
            self._poll(self._next_moment(now) - now)
            self._link.tend()
            if self._ended_at is not None and not self._is_childless:
                self._reap()

    def _enforce(self, now: float) -> None:
        """Do what is due by now."""
        if self._ended_at is None:
            if now >= self._times_out_at:
                self._times_out_at = _NEVER
                self.stop("timeout", f"timed out after {self._spec['timeout_secs']:g} s", self._grace_secs)
            if now >= self._lease_until:
                self._lease_until = _NEVER
                self.stop("failed", "the lease ran out and the job asks to be stopped then", self._grace_secs)
        elif not self._pipes or now >= self._ended_at + DRAIN_SECS:
            # The command has ended. What it left behind may finish its output for a while, then has to go.
            self._close_pipes()
            if not self._is_childless and self._kill_at == _NEVER:
                self.stop("", "", min(self._grace_secs, DRAIN_SECS))
        if now >= self._kill_at and not self._is_childless:
            self._kill_tree()
            self._kill_at = now + _TICK_SECS

    def _next_moment(self, now: float) -> float:
        if self._ended_at is not None or self._kill_at != _NEVER:
            return now + _TICK_SECS
        return min(self._times_out_at, self._lease_until, now + self._link.next_try_in)

    def _poll(self, secs: float) -> None:
        timeout_ms = None if secs == _NEVER else max(0, int(secs * 1000) + (secs > 0))
        for descriptor, _event in self._poller.poll(timeout_ms):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(descriptor)

    def _watch(self, descriptor: int, handler: Any) -> None:
        self._handlers[descriptor] = handler
        self._poller.register(descriptor, select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Stop listening to a descriptor and close it."""
        del self._handlers[descriptor]
        self._poller.unregister(descriptor)
        os.close(descriptor)

    def watch_link(self, descriptor: int, handler: Any) -> None:
        """Listen to the daemon's socket."""
        self._watch(descriptor, handler)

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
        self._link.note_output()

    def _close_pipes(self) -> None:
        for descriptor in list(self._pipes):
            self._outcome["output_truncated"] = True
            del self._pipes[descriptor]
            self.unwatch(descriptor)

    def _close_files(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    # --- the end ---------------------------------------------------------------------------------------

    def _on_end(self, descriptor: int) -> None:
        self.unwatch(descriptor)
        pid = self._pid
        assert pid is not None  # noqa: S101
        _pid, status, usage = os.wait4(pid, 0)
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
        self._reap()

    def _reap(self) -> None:
        """Collect orphans of the tree that ended, and see whether any are left."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
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
            self._outcome["error_message"] = f"ended by signal {number} ({signal_name(number)})"
        else:
            self._outcome["error_message"] = f"ended with exit code {self._outcome['exit_code']}"

    def _tree(self) -> list[int]:
        return processes.descendants(os.getpid())

    def _kill_tree(self) -> None:
        if self._group is not None:
            cgroups.leave(self._group)
            cgroups.kill(self._group)
        # Stopped first, so that nobody forks away while the others are looked for.
        processes.send_signal(self._tree(), signal.SIGSTOP)
        processes.send_signal(self._tree(), signal.SIGKILL)


class _DaemonLink:
    """The socket to the daemon: there or not, the attempt goes on."""

    def __init__(self, folder: str, attempt: Attempt) -> None:
        self._agent_dir = os.path.dirname(os.path.dirname(folder))
        self._attempt = attempt
        self._socket: socket.socket | None = None
        self._try_at = _NEVER
        self._notify_at = _NEVER

    @property
    def next_try_in(self) -> float:
        """Seconds until `tend` has something to do."""
        return max(0.0, min(self._try_at, self._notify_at) - time.monotonic())

    def connect(self) -> None:
        """Find the daemon and say who we are; without one, try again later."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.setblocking(False)
        folder = os.open(self._agent_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # By descriptor, because the path of a socket must be shorter than a folder's may be.
            link.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            link.send(json.dumps(self._attempt.state).encode())
        except OSError:
            link.close()
            self._try_at = time.monotonic() + _RECONNECT_SECS
            return
        finally:
            os.close(folder)
        self._socket = link
        self._try_at = _NEVER
        self._attempt.watch_link(link.fileno(), self._on_message)

    def connect_at_last(self) -> None:
        """Connect where there is no connection, for its end to be noticed."""
        if self._socket is None:
            self.connect()

    def announce_start(self) -> None:
        """Tell the daemon that the command runs."""
        if self._socket is None:
            self.connect()
        else:
            self._send(self._attempt.state)

    def note_output(self) -> None:
        """Let the daemon know soon that there is more output."""
        if self._notify_at == _NEVER:
            self._notify_at = time.monotonic() + _NOTIFY_SECS

    def tend(self) -> None:
        """Do what is due: reconnect, or tell of output."""
        now = time.monotonic()
        if now >= self._try_at:
            self.connect()
        if now >= self._notify_at:
            self._notify_at = _NEVER
            self._send({"output": True})

    def _send(self, message: dict[str, Any]) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(json.dumps(message).encode())
        except BlockingIOError:
            # The daemon is behind; a fresh connection will say everything that counts.
            self._drop()
        except OSError:
            self._drop()

    def _on_message(self, _descriptor: int) -> None:
        assert self._socket is not None  # noqa: S101
        try:
            message = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._drop()
            return
        order = json.loads(message)
        if order["do"] == "stop":
            self._attempt.stop(order["status"], order["reason"], float(order["grace_secs"]))
        elif order["do"] == "lease":
            self._attempt.renew_lease(float(order["until"]))

    def _drop(self) -> None:
        if self._socket is not None:
            self._attempt.unwatch(self._socket.detach())
            self._socket = None
            self._try_at = time.monotonic() + _RECONNECT_SECS


def find_program(name: str, path: str) -> str:
    """Return the file that a shell would execute for `name`; raise FileNotFoundError."""
    if "/" in name:
        return name
    for folder in path.split(os.pathsep):
        candidate = f"{folder or '.'}/{name}"
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    raise FileNotFoundError(errno.ENOENT, "command not found", name)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGKILL."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"


def _start_failure(error: Exception, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome of a command that could not be executed; the exit codes are those of a shell."""
    code = 127 if isinstance(error, FileNotFoundError) else 126
    what = error.strerror if isinstance(error, OSError) else str(error)
    where = getattr(error, "filename", None) or spec["argv"][0]
    message = f"cannot start {where!s}: {what}".encode(errors="backslashreplace").decode()
    return {"status": "failed", "exit_code": code, "error_message": message, "started_at_ms": None}
