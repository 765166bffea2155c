"""Find the processes that belong to an attempt, however they tried to get away (Linux, /proc).

A shim is the subreaper of its attempt (prctl(2), PR_SET_CHILD_SUBREAPER): an orphan of the tree becomes its
child, double-forked and re-sessioned ones too. So the tree is what descends from the shim, and it is gone
when the shim has no child left. Where the shim itself died, the marker in the environment is what remains.
"""

from __future__ import annotations

import ctypes
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MARKER: Final = "HETUFLOW_INSTANCE_ID"

_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_DUMPABLE: Final = 4
_STOP_PASSES: Final = 100
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def become_subreaper() -> None:
    """Adopt every orphan among the descendants of this process from now on."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def hide_memory() -> None:
    """Keep other processes of the same user, such as commands, from reading memory and environment."""
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def hide_secrets(secrets: list[str]) -> None:
    """Overwrite these in the arguments and the environment that /proc shows of this process.

    Python has its own copies. Commands that run as root see arguments and environments of all processes,
    those of others the arguments.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        arg_start, arg_end, env_start, env_end = (int(field) for field in fields[45:49])
    except (OSError, ValueError):
        return
    for start, end in ((arg_start, arg_end), (env_start, env_end)):
        if not 0 < start < end:
            continue
        memory = (ctypes.c_char * (end - start)).from_address(start)
        for secret in filter(None, map(os.fsencode, secrets)):
            at = memory.raw.find(secret)
            while at >= 0:
                ctypes.memset(start + at, ord("x"), len(secret))
                at = memory.raw.find(secret, at + len(secret))


def descendants(ancestor: int) -> list[int]:
    """Return the processes that descend from `ancestor`, parents before children."""
    children: dict[int, list[int]] = {}
    for pid in _all_processes():
        parent = _parent(pid)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found = []
    waiting = [ancestor]
    while waiting:
        born = children.get(waiting.pop(), [])
        found += born
        waiting += born
    return found


def marked(instance_id: str) -> list[int]:
    """Return the processes whose environment names the attempt."""
    marker = f"{MARKER}={instance_id}".encode()
    found = []
    for pid in _all_processes():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if marker in file.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            continue
    return found


def send_signal(pids: list[int], number: int) -> None:
    """Signal processes, those that are gone or not ours to signal passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill(tree: Any) -> None:
    """Kill all that `tree()` finds: stopped first, so that none forks while others are looked for."""
    stopped: set[int] = set()
    for _ in range(_STOP_PASSES):
        fresh = set(tree()) - stopped
        if not fresh:
            break
        send_signal(list(fresh), signal.SIGSTOP)
        stopped |= fresh
    send_signal(list(stopped), signal.SIGKILL)


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in brackets may hold anything, brackets and blanks too; the parent comes after it.
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None
