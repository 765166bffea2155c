"""When a failed attempt is tried again (pure)."""

import random as random_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Backoff = Literal["fixed", "linear", "exponential", "exponential_jitter"]

MAX_RETRY_DELAY_SECS: Final = 86_400.0
# 2 ** 40 intervals of a second are longer than the cap, so larger exponents need not be computed.
_MAX_EXPONENT: Final = 40
_JITTER_FLOOR: Final = 0.1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long after each other; `interval_secs` is the first delay."""

    max_retries: int
    interval_secs: float
    backoff: Backoff


def delay_secs(
    policy: RetryPolicy, retry_number: int, *, random: Callable[[], float] = random_module.random
) -> float:
    """Return how long to wait before retry `retry_number` (1 is the first), at most a day.

    `exponential_jitter` is the "full jitter" of Brooker, "Exponential Backoff And Jitter" (AWS Architecture
    Blog, 2015), kept above a tenth of the interval so that a retry is never immediate. `random` returns
    numbers in [0, 1). Raises ValueError for a retry number below 1.
    """
    if retry_number < 1:
        raise ValueError("the first retry has number 1")
    interval = float(policy.interval_secs)
    if policy.backoff == "fixed":
        delay = interval
    elif policy.backoff == "linear":
        delay = interval * retry_number
    else:
        delay = interval * 2.0 ** min(retry_number - 1, _MAX_EXPONENT)
    delay = min(delay, MAX_RETRY_DELAY_SECS)
    if policy.backoff == "exponential_jitter":
        delay = max(delay * random(), min(interval * _JITTER_FLOOR, MAX_RETRY_DELAY_SECS))
    return delay
