"""How long to wait before the next try to connect."""

import random
from collections.abc import Callable

from agents.protocol.version import RECONNECT_MAX_SECS, RECONNECT_MIN_SECS


class Backoff:
    """Exponential with full jitter (Brooker, AWS Architecture Blog, 2015): 0.5 s to 30 s, never in step.

    What doubles is the time waited so far, not a count of failures: short waits in a row, which somebody has
    in any large crowd, must not lead to a long one. Who waits comes back within twice the outage.
    """

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        self._random = random
        self._waited_secs = 0.0

    def next_delay_secs(self) -> float:
        """Return how long to wait now: longer, the longer it has been since `reset`."""
        delay_secs = min(RECONNECT_MAX_SECS, RECONNECT_MIN_SECS + self._waited_secs) * self._random()
        self._waited_secs += delay_secs
        return delay_secs

    def reset(self) -> None:
        """Begin again with short waits: a session was good."""
        self._waited_secs = 0.0
