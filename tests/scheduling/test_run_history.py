"""How the latest runs of a job went: read along indexes, however many there were."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduling.models import Task, TaskInstance
from scheduling.services.run_history import MAX_RUNS, Trend, history_of, percentile
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def ended(job, *, ago, secs=10.0, status="completed", ended_as=None, attempts=1):
    """Let a task of `job` have ended so long ago, after attempts of `secs` each."""
    task = factories.task(job=job)
    for number in range(1, attempts + 1):
        begin = NOW - ago - timedelta(seconds=secs * (attempts - number + 1))
        TaskInstance.objects.create(
            task=task,
            job=job,
            namespace=job.namespace,
            attempt=number,
            token=task.pk * 1000 + number,
            status=(ended_as or status) if number == attempts else "failed",
            started_at=begin,
            completed_at=begin + timedelta(seconds=secs),
        )
    Task.objects.filter(pk=task.pk).update(
        status=status, completed_at=NOW - ago, attempt_count=attempts, outcome="fired"
    )
    return task


def history(job):
    return history_of(job, tasks=Task.objects.all(), attempts=TaskInstance.objects.all(), now=NOW)


def test_runs_come_in_order_of_their_end_with_what_their_last_attempt_took():
    job = factories.job()
    later = ended(job, ago=timedelta(hours=1), secs=4, attempts=2)
    earlier = ended(job, ago=timedelta(hours=2), secs=3, status="failed", ended_as="timeout")
    ended(factories.job(), ago=timedelta(hours=1))
    runs = history(job).runs
    assert [(run.task_id, run.secs, run.ended_as) for run in runs] == [
        (earlier.pk, 3.0, "timeout"),
        (later.pk, 4.0, "completed"),
    ]
    assert runs[-1].attempts == 2


def test_a_run_that_goes_on_is_the_newest_and_takes_what_it_took_so_far():
    job = factories.job()
    ended(job, ago=timedelta(hours=1))
    task = factories.task(job=job)
    TaskInstance.objects.create(
        task=task, job=job, attempt=1, token=1, status="running", started_at=NOW - timedelta(seconds=7)
    )
    Task.objects.filter(pk=task.pk).update(status="running")
    assert [run.secs for run in history(job).runs] == [10.0, 7.0]


def test_what_never_started_has_no_duration_and_counts_for_no_percentile():
    job = factories.job()
    ended(job, ago=timedelta(hours=1), secs=5)
    ended(job, ago=timedelta(hours=1), status="cancelled", attempts=0)
    found = history(job)
    assert sorted((run.status, run.secs) for run in found.runs) == [("cancelled", None), ("completed", 5.0)]
    assert found.durations == [5.0]


def test_only_the_newest_runs_are_read():
    job = factories.job()
    for hours in range(MAX_RUNS + 5):
        ended(job, ago=timedelta(hours=hours + 1))
    assert len(history(job).runs) == MAX_RUNS


def test_two_weeks_with_enough_runs_are_compared_by_their_medians():
    job = factories.job()
    for number in range(10):
        ended(job, ago=timedelta(days=1, minutes=number), secs=13)
        ended(job, ago=timedelta(days=8, minutes=number), secs=10)
    trend = history(job).trend
    assert trend == Trend(secs=13.0, secs_before=10.0, count=10, count_before=10)
    assert trend.change == pytest.approx(0.3)


def test_too_few_runs_or_failed_ones_make_no_trend():
    job = factories.job()
    for number in range(10):
        ended(job, ago=timedelta(days=1, minutes=number))
        ended(job, ago=timedelta(days=8, minutes=number), status="failed" if number == 0 else "completed")
    assert history(job).trend is None


def test_a_percentile_is_one_of_the_values():
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert percentile([float(number) for number in range(1, 101)], 0.95) == 95.0
    assert percentile([5.0], 0.95) == 5.0


def test_every_statement_walks_along_an_index_and_stops():
    job = factories.job()
    ended(job, ago=timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("SET enable_sort = off")
        cursor.execute("SET enable_bitmapscan = off")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        history(job)
    plans = []
    for query in [each["sql"] for each in queries]:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query}")
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
    # Which index it takes of an empty table, chance decides.
    assert all("Seq Scan on scheduling" not in plan for plan in plans)
    assert "task_ended" in plans[1]
    assert "taskinstance_attempt_unique" in plans[1]
    assert all("Limit" in plan for plan in plans)
