import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.retry import MAX_RETRY_DELAY_SECS, RetryPolicy, delay_secs

BACKOFFS = ["fixed", "linear", "exponential", "exponential_jitter"]


def delays(backoff, *, interval=10, count=5, random=lambda: 1 - 2**-53):
    policy = RetryPolicy(max_retries=count, interval_secs=interval, backoff=backoff)
    return [delay_secs(policy, number, random=random) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("fixed", [10, 10, 10, 10, 10]),
        ("linear", [10, 20, 30, 40, 50]),
        ("exponential", [10, 20, 40, 80, 160]),
        ("exponential_jitter", [10, 20, 40, 80, 160]),
    ],
)
def test_delays_follow_their_backoff(backoff, expected):
    assert delays(backoff) == pytest.approx(expected)


def test_full_jitter_spreads_from_a_tenth_of_the_interval_to_the_whole_delay():
    assert delays("exponential_jitter", random=lambda: 0.0) == [1, 1, 1, 1, 1]
    assert delays("exponential_jitter", random=lambda: 0.5) == [5, 10, 20, 40, 80]


@pytest.mark.parametrize("backoff", ["linear", "exponential", "exponential_jitter"])
def test_no_delay_is_longer_than_a_day(backoff):
    policy = RetryPolicy(max_retries=10_000, interval_secs=3600, backoff=backoff)
    assert delay_secs(policy, 10_000, random=lambda: 0.999999) == pytest.approx(86_400, rel=1e-5)


@pytest.mark.parametrize("backoff", BACKOFFS)
def test_an_interval_of_zero_means_at_once(backoff):
    assert delays(backoff, interval=0) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("number", [0, -1])
def test_retries_count_from_one(number):
    policy = RetryPolicy(max_retries=1, interval_secs=1, backoff="fixed")
    with pytest.raises(ValueError, match="first retry"):
        delay_secs(policy, number)


@given(
    backoff=st.sampled_from(BACKOFFS),
    interval=st.integers(0, 30 * 86_400),
    number=st.integers(1, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_finite_and_within_its_bounds(backoff, interval, number, chance):
    policy = RetryPolicy(max_retries=1, interval_secs=interval, backoff=backoff)
    delay = delay_secs(policy, number, random=lambda: chance)
    assert math.isfinite(delay)
    floor = min(interval, MAX_RETRY_DELAY_SECS)
    assert floor * (0.0999 if backoff == "exponential_jitter" else 1) <= delay <= MAX_RETRY_DELAY_SECS


@given(interval=st.integers(1, 1000), number=st.integers(1, 60))
def test_without_jitter_a_later_retry_never_waits_less(interval, number):
    for backoff in ("fixed", "linear", "exponential"):
        policy = RetryPolicy(max_retries=1, interval_secs=interval, backoff=backoff)
        assert delay_secs(policy, number) <= delay_secs(policy, number + 1)
