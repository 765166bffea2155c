"""Fork shims: a small process that has everything loaded, so that a new shim costs a fork.

Reads the folders of attempts from its standard input, one a line, and forks a shim for each; it ends when
the daemon does, the shims live on. Its standard output is the pipe on which all shims say what happens, its
only argument the descriptor from which shims that have ended an attempt take another. Run by path, with
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
_READ_BYTES = 64 * 1024


def serve(work: int) -> None:
    """Fork a shim for every folder that is named, until there is no daemon any more."""
    from agents.daemon import link, shim  # noqa: PLC0415 (the path to it is set below)

    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, shim.on_terminate)
    os.set_blocking(link.EVENTS, False)  # a daemon that does not read must not hold up a shim
    requests = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    ended, wake = os.pipe()
    for descriptor in (ended, wake):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    poller = select.poll()
    poller.register(requests, select.POLLIN)
    poller.register(ended, select.POLLIN)
    gc.collect()
    gc.freeze()
    gc.disable()
    pending = b""
    while True:
        for descriptor, _event in poller.poll():
            data = os.read(descriptor, _READ_BYTES)
            if descriptor == ended:
                _reap()
                continue
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if _fork() == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for inherited in (requests, ended, wake):
                        os.close(inherited)
                    _run(shim, os.fsdecode(line), work)


def _reap() -> None:
    """Collect the shims that ended; what became of their attempts stands in the spool."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _fork() -> int:
    while True:
        try:
            return os.fork()
        except OSError:
            time.sleep(_RETRY_FORK_SECS)  # no process or memory to be had; there will be


def _run(shim: ModuleType, folder: str, work: int) -> None:
    """Be a shim, and never come back."""
    code = 1
    try:
        shim.serve(folder, work)
        code = 0
    except BaseException as error:  # noqa: BLE001 (whatever it is, the fork must not go on as a launcher)
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    serve(int(sys.argv[1]))
