import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from access import throttling
from access.errors import TooManyRequests
from access.models import Throttle
from access.throttling import Rate, forget_idle_callers
from scheduling.scheduler import DUTIES

THREE = Rate("test", times=3, period=timedelta(seconds=1000))
_LATER = """
UPDATE access_throttle SET full_at = full_at - %(by)s,
    taken_at = ARRAY(SELECT at - %(by)s FROM unnest(taken_at) WITH ORDINALITY AS t(at, n) ORDER BY n)
"""


def later(secs):
    """Let so many seconds have passed."""
    with connection.cursor() as cursor:
        cursor.execute(_LATER, {"by": timedelta(seconds=secs)})


def passes(rate, *caller):
    try:
        rate.take(*caller)
    except TooManyRequests:
        return False
    return True


@pytest.mark.django_db
def test_so_many_times_and_no_more():
    assert [passes(THREE, "ann") for _ in range(5)] == [True, True, True, False, False]


@pytest.mark.django_db
def test_callers_and_rates_do_not_share():
    for _ in range(3):
        THREE.take("ann")
    assert passes(THREE, "bob")
    assert passes(THREE, "ann", "x")
    assert passes(Rate("other", times=1, period=THREE.period), "ann")
    assert passes(THREE, "an", "n")


@pytest.mark.django_db
def test_who_is_refused_learns_when_it_will_be_granted():
    THREE.take("ann")
    later(400)
    THREE.take("ann")
    THREE.take("ann")
    with pytest.raises(TooManyRequests) as refusal:
        THREE.take("ann")
    assert 590 < refusal.value.retry_after_secs <= 600
    later(refusal.value.retry_after_secs)
    assert [passes(THREE, "ann") for _ in range(2)] == [True, False]


@pytest.mark.django_db(transaction=True)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0, 0, 0, 100, 300, 500, 900, 1100]), max_size=25))
def test_in_no_stretch_of_the_period_is_it_more(pauses):
    """The model is a list of all the times; pauses are so long that a slow machine makes no difference."""
    Throttle.objects.all().delete()
    now, taken = 0, []
    for pause in pauses:
        now += pause
        if pause:
            later(pause)
        allowed = sum(now - at < 1000 for at in taken) < 3
        assert passes(THREE, "ann") == allowed
        if allowed:
            taken.append(now)
    assert all(sum(begin <= at < begin + 1000 for at in taken) <= 3 for begin in taken)
    assert all(len(row.taken_at) <= 3 for row in Throttle.objects.all())


@pytest.mark.django_db
def test_a_rate_that_was_changed_counts_at_once():
    for _ in range(3):
        THREE.take("ann")
    assert not passes(Rate("test", times=2, period=THREE.period), "ann")
    assert passes(Rate("test", times=5, period=THREE.period), "ann")


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_so_many_pass():
    rate, passed, start = Rate("test", times=20, period=timedelta(hours=1)), [], threading.Barrier(8)

    def ask():
        try:
            start.wait(20)
            passed.extend(passes(rate, "ann") for _ in range(10))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(passed), sum(passed)) == (80, 20)


@pytest.mark.django_db(transaction=True)
def test_what_means_nothing_any_more_is_forgotten_so_many_at_once(monkeypatch):
    monkeypatch.setattr(throttling, "PURGED_AT_ONCE", 2)
    for name in "abc":
        THREE.take(name)
    later(1001)
    THREE.take("d")
    assert [forget_idle_callers() for _ in range(3)] == [2, 1, 0]
    assert Throttle.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_forgetting_waits_for_nobody():
    THREE.take("ann")
    later(1001)
    forgotten = []

    def forget():
        try:
            forgotten.append(forget_idle_callers())
        finally:
            connection.close()

    with transaction.atomic():
        Throttle.objects.select_for_update().get()
        thread = threading.Thread(target=forget)
        thread.start()
        thread.join(10)
    assert forgotten == [0]


@pytest.mark.django_db
def test_the_scheduler_forgets_them():
    THREE.take("ann")
    later(1001)
    duty = next(duty for duty in DUTIES if duty.name == "throttles")
    duty.run_once(None)
    assert not Throttle.objects.exists()


@pytest.mark.django_db
def test_what_throttles_remember_costs_no_write_ahead_log():
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE oid = 'access_throttle'::regclass")
        assert cursor.fetchone() == ("u",)
