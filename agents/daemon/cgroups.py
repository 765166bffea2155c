"""A control group for an attempt, where the machine lets us make one (cgroup v2).

It ends a whole tree at once, also one that forks faster than one can look, and it limits memory and CPU. An
attempt gets one before it starts where it has limits, else when it lasts: moving a process into a group costs
half of what starting a short command does.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_CPU_PERIOD_US: Final = 100_000
_PARENT: Final = "hetuflow"
_SUPERVISORS: Final = "supervisors"
# A tree that forks without end has always new ones; what was moved brings its children along.
_MOVE_SECS: Final = 0.5


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
        _write(f"{parent}/cgroup.subtree_control", controller)
    return parent if os.access(f"{parent}/{_SUPERVISORS}/cgroup.kill", os.W_OK) else None


def make(parent: str, instance_id: str, limits: dict[str, Any]) -> str | None:
    """Make the group of an attempt with its limits; return its folder, or None where that fails."""
    group = f"{parent}/{instance_id}"
    try:
        os.makedirs(group, exist_ok=True)
    except OSError:
        return None
    if memory_mb := limits.get("max_memory_mb"):
        _write(f"{group}/memory.max", str(int(memory_mb) * 1024 * 1024))
    if percent := limits.get("max_cpu_percent"):
        _write(f"{group}/cpu.max", f"{int(percent) * _CPU_PERIOD_US // 100} {_CPU_PERIOD_US}")
    return group


def join(group: str) -> bool:
    """Move this process into `group`, for what it starts now; whether that worked."""
    return _write(f"{group}/cgroup.procs", "0")


def leave(group: str) -> None:
    """Move this process out of `group`; what it started stays there."""
    _write(f"{os.path.dirname(group)}/{_SUPERVISORS}/cgroup.procs", "0")


def move_tree(group: str, tree: Any) -> None:
    """Move all processes that `tree()` finds into `group`, looking again until there are no new ones."""
    moved: set[int] = set()
    deadline = time.monotonic() + _MOVE_SECS
    while fresh := set(tree()) - moved:
        for pid in fresh:
            if time.monotonic() > deadline:
                return
            _write(f"{group}/cgroup.procs", str(pid))
        moved |= fresh


def limits_memory(group: str | None) -> bool:
    """Whether the kernel limits the group's memory, so that nothing else has to."""
    return group is not None and os.access(f"{group}/memory.max", os.F_OK)


def kill(group: str) -> None:
    """Kill every process of the group."""
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
            for line in file:
                if line.startswith("0::"):
                    return line[3:].strip()
    except OSError:
        return None
    return None


def _write(path: str, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
