"""What ran lately, and how punctually."""

import uuid
from datetime import timedelta

import pytest

from scheduling.models import Task, TaskInstance
from scheduling.services import recent_runs
from scheduling.services.recent_runs import delays_by_hour, hour_of, runs_between
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


def planned(status, *, ago=HOUR, outcome=None, namespace="default", **fields):
    task = factories.task(job=factories.job(namespace=namespace))
    ended = NOW if status in ("completed", "failed", "cancelled") else None
    fields |= {"status": status, "scheduled_at": NOW - ago, "completed_at": ended, "outcome": outcome}
    Task.objects.filter(pk=task.pk).update(**fields)
    return task


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


def runs(*, limit=100, **given):
    return runs_between(begin=NOW - DAY, end=NOW, limit=limit, **given)


def delays(**given):
    return delays_by_hour(begin=NOW - DAY, end=NOW, **given)


def test_runs_are_counted_by_the_hour_for_which_they_were_planned():
    planned("completed", ago=timedelta(minutes=30))
    planned("completed", ago=timedelta(minutes=90))
    planned("failed", ago=timedelta(minutes=90), outcome="fired")
    planned("completed", ago=DAY)
    planned("completed", ago=-HOUR)
    last = hour_of(NOW) - 1
    assert runs().counts == {
        (last, "completed", ""): 1,
        (last - 1, "completed", ""): 1,
        (last - 1, "failed", "fired"): 1,
    }


def test_the_rate_of_success_leaves_out_what_was_cancelled_or_goes_on():
    assert runs().success_rate is None
    planned("completed")
    planned("completed")
    planned("failed")
    planned("cancelled")
    planned("running")
    assert runs().success_rate == pytest.approx(2 / 3)


def test_a_row_that_stands_for_many_instants_counts_for_as_many():
    planned("cancelled", outcome="missed", instants=40)
    assert runs().by_outcome() == {"missed": 40}


def test_more_than_the_limit_is_said_with_the_time_since_when_it_is_counted():
    planned("completed", ago=3 * HOUR)
    planned("completed", ago=2 * HOUR)
    found = runs(limit=2)
    assert (found.is_part, found.since) == (True, NOW - 3 * HOUR)
    planned("failed", ago=HOUR)
    found = runs(limit=2)
    assert (found.is_part, found.since, found.by_status()) == (
        True,
        NOW - 2 * HOUR,
        {"completed": 1, "failed": 1},
    )


def test_runs_of_other_namespaces_are_not_counted():
    planned("completed", namespace="ours")
    planned("failed", namespace="theirs")
    assert runs(namespaces={"ours"}).by_status() == {"completed": 1}
    assert runs(namespaces=frozenset()).counts == {}


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
