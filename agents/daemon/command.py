"""Execute the command of an attempt: in a session of its own, under its limits, its output into pipes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time

from agents.daemon import cgroups, spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

# Python and the launcher ignore these; a command starts with the defaults.
_DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXIT_NOT_FOUND: Final = 127
_EXIT_NOT_EXECUTABLE: Final = 126


def start(spec: dict[str, Any], writers: dict[str, int]) -> tuple[int, str | None, dict[str, Any]]:
    """Execute what `spec` says and return its process, its control group, and when it was.

    `writers` are the ends of pipes by stream; what has none is thrown away. Nothing is passed through a
    shell. Raises OSError or ValueError where it cannot be executed.
    """
    os.chdir(spec["working_dir"])
    program = _find_program(spec["argv"][0], spec["environment"].get("PATH", os.defpath))
    actions: list[Any] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    for number, stream in enumerate(spool.STREAMS, start=1):
        if stream in writers:
            actions.append((os.POSIX_SPAWN_DUP2, writers[stream], number))
        else:
            actions.append((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0))
    limits = spec["resource_limits"]
    group = before = None
    try:
        if limits:
            group, before = _set_limits(spec, limits)
        delay = time.monotonic() - spec["start_at"]
        started = {"started_at_ms": time.time_ns() // 1_000_000, "start_delay_ms": round(delay * 1000, 3)}
        pid = os.posix_spawn(
            program,
            spec["argv"],
            spec["environment"],
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        if before is not None:
            resource.setrlimit(resource.RLIMIT_AS, before)
        if group is not None:
            cgroups.leave(group)
    return pid, group, started


def failure(error: Exception, spec: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome of a command that could not be executed; the exit codes are those of a shell."""
    code = _EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else _EXIT_NOT_EXECUTABLE
    what = error.strerror if isinstance(error, OSError) else str(error)
    where = getattr(error, "filename", None) or spec["argv"][0]
    message = f"cannot start {where!s}: {what}".encode(errors="backslashreplace").decode()
    return {"status": "failed", "exit_code": code, "error_message": message}


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _set_limits(spec: dict[str, Any], limits: dict[str, Any]) -> tuple[str | None, tuple[int, int] | None]:
    """Put this process under the limits, for the command to inherit; return group and old memory limit.

    Where no control group limits memory, the soft limit on address space does.
    """
    group = None
    if spec["cgroup_parent"]:
        group = cgroups.make(spec["cgroup_parent"], spec["instance_id"], limits)
    if group is not None:
        cgroups.join(group)
    limit_mb = limits.get("max_memory_mb")
    if limit_mb is None or cgroups.limits_memory(group):
        return group, None
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(limit_mb) * 1024 * 1024, before[1]))
    return group, before


def _find_program(name: str, path: str) -> str:
    """Return the file that a shell would execute for `name`; raise FileNotFoundError."""
    if "/" in name:
        return name
    for folder in path.split(os.pathsep):
        candidate = f"{folder or '.'}/{name}"
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    raise FileNotFoundError(errno.ENOENT, "command not found", name)
