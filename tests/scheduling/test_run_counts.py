"""What became of two days of runs, counted a piece at a time and exactly."""

from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduling.models import Task
from scheduling.services import run_counts
from scheduling.services.recent_runs import hour_of
from scheduling.services.run_counts import DAY, QUARTER, RunCounts, newest_of, quarter_of
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


def planned(status="completed", *, ago=HOUR, outcome=None, namespace="default", now=NOW, **fields):
    job = factories.Job.objects.filter(namespace=namespace).first() or factories.job(namespace=namespace)
    task = factories.task(job=job)
    ended = now if status in ("completed", "failed", "cancelled") else None
    fields |= {"status": status, "scheduled_at": now - ago, "completed_at": ended, "outcome": outcome}
    Task.objects.filter(pk=task.pk).update(**fields)
    return task


def count(counts=None, *, now=NOW):
    return (counts or RunCounts()).count(now=now)


def runs(**given):
    return count().last(given.get("namespaces"))


def test_runs_are_counted_by_the_hour_for_which_they_were_planned():
    planned(ago=timedelta(minutes=30))
    planned(ago=timedelta(minutes=90))
    planned("failed", ago=timedelta(minutes=90), outcome="fired")
    last = hour_of(NOW) - 1
    assert runs().counts == {
        (last, "completed", ""): 1,
        (last - 1, "completed", ""): 1,
        (last - 1, "failed", "fired"): 1,
    }


@pytest.mark.parametrize("offset", [timedelta(0), SECOND, 7 * MINUTE, QUARTER - SECOND])
@pytest.mark.parametrize(
    ("ago", "is_counted"),
    [
        (timedelta(0), True),
        (-SECOND, False),
        (QUARTER, True),
        (2 * QUARTER, True),
        (DAY - SECOND, True),
        (DAY, False),
        (DAY + SECOND, False),
    ],
)
def test_the_last_24_hours_are_counted_to_the_second(offset, ago, is_counted):
    now = NOW + offset
    planned(ago=ago, now=now)
    assert count(now=now).last(None).by_status() == ({"completed": 1} if is_counted else {})


def test_the_day_before_is_24_hours_up_to_the_quarter_in_which_the_last_ones_begin():
    begin = NOW - DAY
    assert quarter_of(begin) * QUARTER.total_seconds() == begin.timestamp()
    for ago in (DAY + SECOND, 2 * DAY, 2 * DAY + SECOND, DAY):
        planned(ago=ago)
    found = count().before(None)
    assert (found.by_status(), found.is_part) == ({"completed": 2}, False)


def test_the_rate_of_success_leaves_out_what_was_cancelled_or_goes_on():
    assert runs().success_rate is None
    for status in ("completed", "completed", "failed", "cancelled", "running"):
        planned(status)
    assert runs().success_rate == pytest.approx(2 / 3)


def test_a_row_that_stands_for_many_instants_counts_for_as_many():
    planned("cancelled", outcome="missed", instants=40)
    assert runs().by_outcome() == {"missed": 40}


def test_runs_of_other_namespaces_are_not_counted():
    planned(namespace="ours")
    planned("failed", namespace="theirs")
    assert runs(namespaces={"ours"}).by_status() == {"completed": 1}
    assert runs(namespaces=frozenset()).counts == {}


# --- piece by piece ------------------------------------------------------------------------------------


@pytest.fixture
def _few_at_once(monkeypatch):
    monkeypatch.setattr(run_counts, "TASKS_AT_ONCE", 3)
    monkeypatch.setattr(run_counts, "STATEMENTS", 1)


@pytest.mark.usefixtures("_few_at_once")
def test_of_many_the_newest_are_counted_first_until_all_are():
    hours = [1, 2, 3, 5, 8, 13, 20, 23, 30, 40, 47]
    for number in hours:
        planned(ago=number * HOUR)
    counts, seen = RunCounts(), []
    for look in range(6):
        days = count(counts, now=NOW + look * SECOND)
        last, before = days.last(None), days.before(None)
        seen.append(
            (last.by_status()["completed"], last.is_part, before.by_status()["completed"], before.is_part)
        )
    assert seen[0][:2] == (2, True)
    assert [number for number, *_rest in seen] == sorted(number for number, *_rest in seen)
    assert seen[-1] == (8, False, 3, False)
    first = count(RunCounts()).last(None)
    assert (first.since, first.is_cut) == (NOW - 3 * HOUR + QUARTER, False)


@pytest.mark.usefixtures("_few_at_once")
def test_what_is_known_is_counted_over_again():
    tasks = [planned("running", ago=number * HOUR) for number in range(1, 12)]
    counts = RunCounts()
    for look in range(6):
        count(counts, now=NOW + look * SECOND)
    Task.objects.filter(pk__in=[task.pk for task in tasks]).update(status="failed", completed_at=NOW)
    for look in range(6, 14):
        days = count(counts, now=NOW + look * SECOND)
    assert days.last(None).by_status() == {"failed": 11}
    assert days.last(None).counted_at > NOW + 6 * SECOND


@pytest.mark.usefixtures("_few_at_once")
def test_what_ended_just_now_is_seen_at_once():
    for number in range(1, 12):
        planned(ago=number * HOUR)
    task, counts = planned("running", ago=MINUTE), RunCounts()
    for look in range(6):
        count(counts, now=NOW + look * SECOND)
    Task.objects.filter(pk=task.pk).update(status="failed", completed_at=NOW)
    assert count(counts, now=NOW + 6 * SECOND).last(None).by_status()["failed"] == 1


@pytest.mark.usefixtures("_few_at_once")
def test_a_quarter_of_more_than_are_counted_at_once_is_counted_by_itself():
    for number in range(8):
        planned(ago=3 * HOUR + number * SECOND)
    planned(ago=5 * HOUR)
    counts = RunCounts()
    for look in range(4):
        days = count(counts, now=NOW + look * SECOND)
    assert (days.last(None).by_status(), days.last(None).is_part) == ({"completed": 9}, False)


def test_a_quarter_with_more_than_is_ever_counted_says_since_when(monkeypatch):
    monkeypatch.setattr(run_counts, "TASKS_AT_ONCE", 2)
    monkeypatch.setattr(run_counts, "MAX_IN_QUARTER", 3)
    for number in range(5):
        planned(ago=3 * HOUR - number * SECOND)
    planned(ago=5 * HOUR)
    counts = RunCounts()
    for look in range(4):
        found = count(counts, now=NOW + look * SECOND).last(None)
    assert (found.by_status(), found.is_part and found.is_cut, found.since) == (
        {"completed": 3},
        True,
        NOW - 3 * HOUR + 2 * SECOND,
    )


@pytest.mark.parametrize("pause", [SECOND, 9 * MINUTE, 11 * MINUTE, 14 * MINUTE, 40 * MINUTE, 26 * HOUR])
def test_whenever_one_looks_again_nothing_of_the_past_is_counted_wrongly(pause):
    counts = RunCounts()
    planned(ago=MINUTE)
    count(counts)
    planned(ago=-2 * MINUTE)
    later = NOW + max(pause, 3 * MINUTE)
    expected = Counter(
        quarter_of(at)
        for at in Task.objects.values_list("scheduled_at", flat=True)
        if later - DAY < at <= later
    )
    found = count(counts, now=later).last(None)
    assert {number: fates.total() for number, fates in found.quarters.items() if fates} == expected


def test_a_look_costs_a_bounded_number_of_statements(monkeypatch):
    monkeypatch.setattr(run_counts, "TASKS_AT_ONCE", 1)
    for number in range(1, 9):
        planned(ago=number * HOUR)
    counts = RunCounts()
    with CaptureQueriesContext(connection) as queries:
        count(counts)
    # What is more than is counted at once is counted by itself.
    assert len(queries) <= 2 * run_counts.STATEMENTS + 2


# --- the newest of a kind ------------------------------------------------------------------------------


def test_the_newest_of_a_kind_are_found_in_the_quarters_that_have_any():
    late = [planned(ago=number * HOUR, outcome="late") for number in (20, 3)]
    planned(ago=HOUR)
    found = runs()
    quarters = found.newest_quarters(lambda _status, outcome: outcome == "late", 5)
    assert quarters == [quarter_of(NOW - 3 * HOUR), quarter_of(NOW - 20 * HOUR)]
    assert found.newest_quarters(lambda _status, outcome: outcome == "late", 1) == quarters[:1]
    assert found.newest_quarters(lambda _status, outcome: outcome == "late", 5, enough=1) == quarters[:1]
    given = {"namespaces": None, "number": 5, "outcomes": ["late"]}
    assert newest_of(quarters, **given) == [late[1].pk, late[0].pk]
    assert newest_of(quarters[:1], **given) == [late[1].pk]
    assert newest_of(quarters, **given | {"namespaces": {"ours"}}) == []
    assert newest_of([], **given) == []


def test_the_newest_of_a_kind_are_sought_along_time_alone():
    for status in ("failed", "completed"):
        planned(status)
    with CaptureQueriesContext(connection) as queries:
        newest_of([quarter_of(NOW - HOUR)], namespaces={"default"}, number=5, statuses=["failed"])
    with connection.cursor() as cursor:
        for setting in ("enable_seqscan", "enable_sort"):
            cursor.execute(f"SET LOCAL {setting} = off")
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        plan = " ".join(line for (line,) in cursor.fetchall())
    assert "task_by_scheduled_at" in plan
    assert "task_by_status" not in plan
    assert "task_by_namespace" not in plan
