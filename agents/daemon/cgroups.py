"""A control group for each attempt, where the machine lets us make one (cgroup v2).

It ends a whole tree at once, also one that forks faster than one can look, and it limits memory and CPU. The
shim joins the group before it starts the command, and leaves it before it kills the rest.
"""

import contextlib
import os
import time
from typing import Any, Final

_CPU_PERIOD_US: Final = 100_000
_PARENT: Final = "hetuflow"
_SUPERVISORS: Final = "supervisors"


def find_parent() -> str | None:
    """Return a folder below our own group in which groups can be made and killed, or None."""
    mount = _mount_point()
    own = _own_group()
    if mount is None or own is None:
        return None
    parent = f"{mount}{own.rstrip('/')}/{_PARENT}-{os.getuid()}"
    try:
        os.makedirs(f"{parent}/{_SUPERVISORS}", exist_ok=True)
    except OSError:
        return None
    for controller in ("+memory", "+cpu"):
        with contextlib.suppress(OSError):
            _write(f"{parent}/cgroup.subtree_control", controller)
    return parent if os.access(f"{parent}/{_SUPERVISORS}/cgroup.kill", os.W_OK) else None


def join(parent: str, instance_id: str, limits: dict[str, Any]) -> str | None:
    """Make the attempt's group, with its limits, and move this process there; None where that fails."""
    group = f"{parent}/{instance_id}"
    try:
        os.makedirs(group, exist_ok=True)
        _write(f"{group}/cgroup.procs", "0")
    except OSError:
        return None
    if memory_mb := limits.get("max_memory_mb"):
        with contextlib.suppress(OSError):
            _write(f"{group}/memory.max", str(int(memory_mb) * 1024 * 1024))
    if percent := limits.get("max_cpu_percent"):
        with contextlib.suppress(OSError):
            _write(f"{group}/cpu.max", f"{int(percent) * _CPU_PERIOD_US // 100} {_CPU_PERIOD_US}")
    return group


def limits_memory(group: str | None) -> bool:
    """Whether the group's memory is limited by the kernel, so that nothing else has to."""
    return group is not None and os.access(f"{group}/memory.max", os.F_OK)


def leave(group: str) -> None:
    """Move this process out of its attempt's group."""
    with contextlib.suppress(OSError):
        _write(f"{os.path.dirname(group)}/{_SUPERVISORS}/cgroup.procs", "0")


def kill(group: str) -> None:
    """Kill every process of the group."""
    with contextlib.suppress(OSError):
        _write(f"{group}/cgroup.kill", "1")


def remove(group: str, *, limit_secs: float = 0.0) -> None:
    """Delete the group, waiting up to `limit_secs` for its last process to be gone."""
    deadline = time.monotonic() + limit_secs
    while True:
        try:
            os.rmdir(group)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.005)
        else:
            return


def _mount_point() -> str | None:
    try:
        with open("/proc/self/mountinfo") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                if after.startswith("cgroup2 "):
                    return before.split()[4]
    except OSError:
        return None
    return None


def _own_group() -> str | None:
    try:
        with open("/proc/self/cgroup") as file:
            return next((line[3:].strip() for line in file if line.startswith("0::")), None)
    except OSError:
        return None


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
