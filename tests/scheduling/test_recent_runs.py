"""How punctually commands started lately."""

import uuid
from datetime import timedelta

import pytest

from scheduling.models import TaskInstance
from scheduling.services import recent_runs
from scheduling.services.recent_runs import delays_by_hour, hour_of
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


def started(delay_ms, *, ago=HOUR, namespace="default"):
    task = factories.task(job=factories.job(namespace=namespace))
    made_ms = int((NOW - ago).timestamp() * 1000)
    TaskInstance.objects.create(
        id=uuid.UUID(int=(made_ms << 80) | (7 << 76) | (2 << 62) | task.pk),
        task=task,
        job=task.job,
        namespace=namespace,
        attempt=1,
        token=task.pk,
        status="completed",
        start_delay_ms=delay_ms,
    )


def delays(**given):
    return delays_by_hour(begin=NOW - DAY, end=NOW, **given)


def test_delays_have_a_median_and_a_99th_percentile_on_the_whole_and_by_hour():
    for number in range(1, 100):
        started(number, ago=timedelta(minutes=30))
    started(1000, ago=timedelta(hours=5, minutes=30))
    whole, by_hour = delays()
    assert (whole.count, whole.p50_ms) == (100, 50.5)
    assert whole.p99_ms > 99
    assert {hour: (each.count, each.p50_ms) for hour, each in by_hour.items()} == {
        hour_of(NOW) - 1: (99, 50),
        hour_of(NOW) - 6: (1, 1000),
    }


def test_starts_of_other_days_and_attempts_that_never_started_are_left_out():
    started(1, ago=DAY + timedelta(seconds=1))
    started(1, ago=-HOUR)
    started(None)
    assert delays() == (None, {})


def test_starts_of_other_namespaces_are_left_out():
    started(1, namespace="ours")
    started(100, namespace="theirs")
    assert delays(namespaces={"ours"})[0].p99_ms == 1
    assert delays(namespaces=frozenset()) == (None, {})


def test_of_an_hour_with_many_starts_the_last_ones_are_measured(monkeypatch):
    monkeypatch.setattr(recent_runs, "MAX_STARTS", 2)
    for number in range(5):
        started(100 - number, ago=timedelta(minutes=50 - number))
    assert delays()[0].count == 2
    assert delays()[0].p99_ms == pytest.approx(97, abs=0.1)
