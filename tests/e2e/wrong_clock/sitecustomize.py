"""Lets a Python program have a wrong clock: ahead by the seconds that a file says, at any moment.

Python loads this where its folder is on PYTHONPATH. Steady clocks (`time.monotonic`) stay as they are. An
agent has its `time` shifted only; it never asks `datetime` for the time.
"""

import mmap
import os
import struct
import sys
import threading
import time

_LOOK_EVERY_SECS = 0.02
_descriptor = os.open(os.environ["WRONG_CLOCK_FILE"], os.O_RDONLY)
_ahead = mmap.mmap(_descriptor, 8, access=mmap.ACCESS_READ)
_time, _time_ns = time.time, time.time_ns


def ahead_secs() -> float:
    """Return by how much the clock is wrong now."""
    (secs,) = struct.unpack("d", _ahead)
    return float(secs)


def shift_time() -> None:
    """Shift what `time` says."""
    time.time = lambda: _time() + ahead_secs()
    time.time_ns = lambda: _time_ns() + int(ahead_secs() * 1e9)


def shift_everything() -> None:
    """Shift what `datetime` says, too, and follow the file."""
    at = ahead_secs()
    traveller = time_machine.travel(_time() + at, tick=True).start()

    def follow() -> None:
        before = at
        while True:
            time.sleep(_LOOK_EVERY_SECS)
            if (secs := ahead_secs()) != before:
                traveller.shift(secs - before)
                before = secs

    threading.Thread(target=follow, daemon=True).start()


# An agent starts the launcher of its commands by this, which no environment reaches.
if launcher := os.environ.get("WRONG_CLOCK_LAUNCHER"):
    sys.executable = launcher
try:
    import time_machine
except ImportError:
    shift_time()
else:
    shift_everything()
