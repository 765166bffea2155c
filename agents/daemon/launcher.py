"""Fork a shim for each attempt: a small process that has everything loaded, so that a start costs a fork.

Reads the folders of attempts from its standard input, one a line, and ends when the daemon does; the shims
live on. Its standard output is the pipe on which all shims say what happens. Run by path, with
`python -I -S`: what it does not import, no shim has to carry.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_RETRY_FORK_SECS = 0.2
_REAP_SECS = 1.0
_READ_BYTES = 64 * 1024


def serve() -> None:
    """Fork a shim for every folder that is named, until there is no daemon any more."""
    from agents.daemon import link, shim  # noqa: PLC0415 (the path to it is set below)

    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, shim.on_terminate)
    os.set_blocking(link.EVENTS, False)  # a daemon that does not read must not hold up a shim
    requests = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    poller = select.poll()
    poller.register(requests, select.POLLIN)
    gc.collect()
    gc.freeze()
    gc.disable()
    pending = b""
    while True:
        # Shims are collected so that no dead ones stay; what became of an attempt stands in its folder.
        if not poller.poll(int(_REAP_SECS * 1000) if _reap() else None):
            continue
        data = os.read(requests, _READ_BYTES)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if _fork() == 0:
                os.close(requests)
                _run(shim, os.fsdecode(line))


def _reap() -> bool:
    """Collect the shims that ended; return whether any are alive."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _fork() -> int:
    while True:
        try:
            return os.fork()
        except OSError:
            time.sleep(_RETRY_FORK_SECS)  # no process or memory to be had; there will be


def _run(shim: ModuleType, folder: str) -> None:
    """Be the shim of one attempt, and never come back."""
    code = 1
    try:
        shim.main(folder)
        code = 0
    except BaseException as error:  # noqa: BLE001 (whatever it is, the fork must not go on as a launcher)
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    serve()
