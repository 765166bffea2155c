"""How long to wait before the next try to connect."""

import random
from collections.abc import Callable

from agents.protocol.version import RECONNECT_MAX_SECS, RECONNECT_MIN_SECS

_MAX_EXPONENT = 10


class Backoff:
    """Exponential with full jitter (Brooker, AWS Architecture Blog, 2015): 0.5 s to 30 s, never in step."""

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        self._random = random
        self._failures = 0

    def next_delay_secs(self) -> float:
        """Return how long to wait now; longer each time until `reset`."""
        ceiling = min(RECONNECT_MAX_SECS, RECONNECT_MIN_SECS * 2.0 ** min(self._failures, _MAX_EXPONENT))
        self._failures += 1
        return ceiling * self._random()

    def reset(self) -> None:
        """Begin again with short waits: a session was good."""
        self._failures = 0
