"""Figures that many look at are made once."""

import threading

import pytest

from scheduling.services import sharing
from scheduling.services.sharing import Shared


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(sharing, "time", made)
    return made


def counting():
    numbers = iter(range(1, 100))
    return lambda: next(numbers)


def test_a_value_is_made_once_until_it_is_old(clock):
    shared, make = Shared(2), counting()
    assert [shared.get("a", make), shared.get("a", make)] == [1, 1]
    clock.now += 1.9
    assert shared.get("a", make) == 1
    clock.now += 0.2
    assert shared.get("a", make) == 2


def test_each_key_has_a_value_of_its_own(clock):
    shared, make = Shared(2), counting()
    assert [shared.get("a", make), shared.get("b", make), shared.get("a", make)] == [1, 2, 1]


def test_what_took_long_is_kept_so_long_that_making_it_is_a_small_part_of_the_time(clock):
    def make():
        clock.now += 1.0
        return clock.now

    shared = Shared(2)
    first = shared.get("a", make)
    clock.now += 1.0 / sharing.MAX_LOAD - 0.1
    assert shared.get("a", make) == first
    clock.now += 0.2
    assert shared.get("a", make) != first


def test_a_failure_is_not_kept(clock):
    shared = Shared(2)
    with pytest.raises(ZeroDivisionError):
        shared.get("a", lambda: 1 // 0)
    assert shared.get("a", lambda: 1) == 1


def test_values_that_nobody_asks_for_any_more_are_dropped(clock):
    shared = Shared(2)
    for number in range(1000):
        shared.get(number, counting())
    assert len(shared._places) <= 256


def test_who_asks_while_it_is_made_waits_for_it_and_does_not_make_it_again():
    shared, make = Shared(60), counting()
    is_making, may_go_on = threading.Event(), threading.Event()

    def slowly():
        is_making.set()
        assert may_go_on.wait(10)
        return make()

    found = []
    threads = [threading.Thread(target=lambda: found.append(shared.get("a", slowly))) for _ in range(4)]
    threads[0].start()
    assert is_making.wait(10)
    for thread in threads[1:]:
        thread.start()
    may_go_on.set()
    for thread in threads:
        thread.join(10)
    assert found == [1, 1, 1, 1]
