from agents.daemon.backoff import Backoff


def test_waits_double_up_to_half_a_minute_and_begin_again_after_a_good_session():
    backoff = Backoff(random=lambda: 1.0)
    assert [backoff.next_delay_secs() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next_delay_secs() == 0.5


def test_waits_are_spread_over_the_whole_range():
    assert Backoff(random=lambda: 0.0).next_delay_secs() == 0
