"""The supervisor of an attempt: a process of its own, forked by the launcher, that outlives the daemon.

A process that has supervised one attempt has everything at hand for the next, which then costs no fork and no
copied pages; it supervises one at a time.
"""

from __future__ import annotations

import gc
import os
import sys

from agents.daemon import processes, spool
from agents.daemon.lifetime import Attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# A shim ends after so many attempts: whatever it may have gathered does not grow for ever.
ATTEMPTS_PER_SHIM: Final = 500

_NAME_BYTES: Final = 8192
_COLLECT_EVERY: Final = 20
_current: Attempt | None = None


def serve(folder: str, work: int) -> None:
    """Supervise the attempt in `folder`, then one after the other those that `work` names.

    It ends when it is told to (an empty name), when there is no daemon any more, after
    enough attempts, or when anything went wrong in it.
    """
    processes.become_subreaper()
    for number in range(1, ATTEMPTS_PER_SHIM + 1):
        if not supervise(folder, is_last=number == ATTEMPTS_PER_SHIM):
            return
        if number % _COLLECT_EVERY == 0:
            gc.collect()
        try:
            folder = os.fsdecode(os.read(work, _NAME_BYTES))
        except OSError:
            return
        if not folder:
            return


def supervise(folder: str, *, is_last: bool) -> bool:
    """Supervise the attempt in `folder` to its end; return whether this process is fit for another.

    Does nothing where the attempt has a supervisor or began once.
    """
    global _current
    try:
        locked = spool.lock(folder)
    except FileNotFoundError:
        return False
    spec = spool.read_spec(folder)
    if locked is None or spec is None:
        return False
    attempt = _current = Attempt(folder, locked, spec)
    is_fit = not is_last
    try:
        if not attempt.run():
            return False
    except Exception as error:  # noqa: BLE001 (whatever it is, the outcome has to be written)
        sys.excepthook(type(error), error, error.__traceback__)
        attempt.fail(f"the supervisor of the attempt failed: {type(error).__name__}: {error}")
        is_fit = False
    attempt.write_exit()
    _current = None
    os.chdir("/")
    attempt.close(is_fit=is_fit)
    return is_fit


def on_terminate(_number: int, _frame: object) -> None:
    """Handle SIGTERM, which a machine sends to all processes when it stops; the launcher just ends."""
    if _current is None:
        os._exit(0)
    _current.stop("failed", "the machine of the agent stops", _current.grace_secs)
