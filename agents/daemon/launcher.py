"""Fork a shim for each attempt: a small process that has everything loaded, so that a start costs a fork.

Reads the folders of attempts from its standard input, one a line, and ends when the daemon does; the shims
live on. Run by path with `python -I -S`: what it does not import, no shim has to carry.
"""

import gc
import os
import signal
import sys
import time
import traceback
from typing import Final

_RETRY_FORK_SECS: Final = 0.2


def serve() -> None:
    """Fork a shim for every folder that is named, until there is no daemon any more."""
    from agents.daemon import shim  # noqa: PLC0415 (the path to it is set below)

    # Shims are not waited for: what became of an attempt stands in its folder.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    while line := requests.readline():
        folder = line.decode(errors="surrogateescape").rstrip("\n")
        while True:
            try:
                pid = os.fork()
            except OSError:
                time.sleep(_RETRY_FORK_SECS)  # no process or memory to be had; there will be
            else:
                break
        if pid == 0:
            code = 1
            try:
                os.close(requests.fileno())
                shim.main(folder)
                code = 0
            except BaseException:  # noqa: BLE001 (whatever it is, the fork must not go on as a launcher)
                traceback.print_exc(file=sys.stderr)
            finally:
                sys.stderr.flush()
                os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    serve()
