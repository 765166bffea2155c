"""What is to come, in a frame of buckets: held against following every instant one by one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduling import forecasting
from scheduling.calendars import CalendarRules, DaysOff
from scheduling.forecasting import (
    Arrivals,
    Demand,
    Frame,
    Load,
    add_job,
    arrivals_of,
    every,
    through_slots,
)
from scheduling.judging import FrozenSpan, Rules
from scheduling.recurrence import Recurrence, drawn, instants_between
from tests.factories import NOW

FRAME = Frame(begin=NOW, bucket_secs=900, buckets=96)
HOURLY = Recurrence(kind="cron", cron_expression="0 * * * *")


def at(*offsets: float, frame: Frame = FRAME) -> Arrivals:
    counts = frame.zeros()
    for offset in offsets:
        counts[frame.bucket_of(offset)] += 1
    return Arrivals(tuple(counts), (0,) * frame.buckets, tuple(offsets))


def one_hour_of(*arrivals: Arrivals, demand: Demand, frame: Frame = FRAME) -> Load:
    load = Load(frame)
    add_job(load, arrivals, demand)
    return load


@pytest.mark.parametrize("followed", [forecasting.MAX_FOLLOWED, 0])
@pytest.mark.parametrize(
    "rule",
    [
        HOURLY,
        Recurrence(kind="cron", cron_expression="*/7 * * * *", timezone="Australia/Lord_Howe"),
        Recurrence(
            kind="cron", cron_expression="30 2 * * *\n@every 1000s", end_time=NOW + timedelta(hours=9)
        ),
        Recurrence(kind="interval", interval_secs=61),
        Recurrence(kind="interval", interval_secs=1, end_time=NOW + timedelta(hours=1)),
        Recurrence(kind="interval", interval_secs=7200, start_time=NOW + timedelta(hours=2)),
        Recurrence(kind="interval", interval_secs=900),
        Recurrence(kind="once", start_time=NOW + timedelta(hours=24)),
        Recurrence(kind="once", start_time=NOW + timedelta(hours=25)),
    ],
)
def test_each_bucket_has_the_instants_that_fall_into_it(rule, followed, monkeypatch):
    monkeypatch.setattr(forecasting, "MAX_FOLLOWED", followed)
    found = arrivals_of(rule, FRAME)
    instants = instants_between(rule, FRAME.begin, FRAME.end, 100_000)
    for bucket, count in enumerate(found.counts):
        begin = NOW + timedelta(seconds=900 * bucket)
        assert count == sum(begin < instant <= begin + timedelta(seconds=900) for instant in instants)
    if found.offsets is not None:
        assert [NOW + timedelta(seconds=offset) for offset in found.offsets] == instants


def test_what_lies_before_a_time_within_the_frame_does_not_count():
    found = arrivals_of(HOURLY, FRAME, after=NOW + timedelta(hours=2))
    assert sum(found.counts) == 22


def test_days_off_and_freezes_are_counted_apart_and_moved_runs_where_they_move_to():
    tomorrow = NOW.date() + timedelta(days=1)
    calendar = CalendarRules(days_off=(DaysOff(tomorrow, tomorrow),))
    rules = Rules(zone=UTC, grace_ends=NOW, misfire_policy="run_all", calendar=calendar)  # type: ignore[arg-type]
    found = arrivals_of(HOURLY, FRAME, rules=rules)
    assert (sum(found.counts), sum(found.skipped)) == (11, 13)
    frozen = Rules(
        zone=UTC,  # type: ignore[arg-type]
        grace_ends=NOW,
        misfire_policy="run_all",
        frozen=FrozenSpan(NOW, NOW + timedelta(hours=3)),
    )
    assert sum(arrivals_of(HOURLY, FRAME, rules=frozen).skipped) == 2


def test_only_as_many_runs_come_as_are_left():
    assert sum(arrivals_of(HOURLY, FRAME, limit=3).counts) == 3
    assert sum(arrivals_of(HOURLY, FRAME, limit=0).counts) == 0


def test_runs_that_fit_beside_each_other_take_the_sum_of_their_time():
    load = one_hour_of(at(10, 20, 30), demand=Demand(secs=2000))
    assert (load.runs[0], sum(load.work)) == (3, 6000)
    # From the middle of the first bucket on.
    assert load.work[:3] == [450 * 3, 900 * 3, 650 * 3]


@pytest.mark.parametrize(
    ("policy", "begun", "skipped", "work"),
    [
        ("forbid", {0: 1, 2: 1}, {0: 1, 1: 1}, [890, 310, 450, 750]),
        ("queue", {0: 1, 1: 1, 2: 1, 4: 1}, {}, [890, 900, 900, 900, 900, 310]),
        ("replace", {0: 2, 1: 1, 2: 1}, {}, [890, 900, 850, 750]),
    ],
)
def test_runs_of_a_job_with_one_place_wait_drop_out_or_replace(policy, begun, skipped, work):
    load = one_hour_of(at(10, 600, 1000, 2250), demand=Demand(secs=1200, limit=1, policy=policy))
    assert {bucket: n for bucket, n in enumerate(load.runs) if n} == begun
    assert {bucket: n for bucket, n in enumerate(load.skipped_overlap) if n} == skipped
    assert load.work[: len(work)] == work
    assert sum(load.work) == sum(work)


@settings(max_examples=100, deadline=None)
@given(
    period=st.floats(5, 200),
    secs=st.floats(0.5, 3000),
    limit=st.integers(1, 4),
    policy=st.sampled_from(["forbid", "queue", "replace"]),
)
def test_following_buckets_comes_near_to_following_instants(period, secs, limit, policy):
    # Where a place falls free just when the next run comes, a hair decides whether every second one runs.
    assume(policy != "forbid" or abs(secs / period - round(secs / period)) > 0.02)
    followed = every(1.0, period, FRAME)
    if followed.offsets is None:
        followed = Arrivals(followed.counts, followed.skipped, tuple(_steps(1.0, period)))
    demand = Demand(secs=secs, limit=limit, policy=policy)
    exact = one_hour_of(followed, demand=demand)
    near = one_hour_of(Arrivals(followed.counts, followed.skipped, None), demand=demand)
    assert sum(near.runs) == pytest.approx(sum(exact.runs), rel=0.2, abs=96), (period, secs, limit, policy)
    assert sum(near.work) <= limit * (FRAME.secs + secs + FRAME.bucket_secs)


def _steps(first, period):
    step = 0
    while first + step * period <= FRAME.secs:
        yield first + step * period
        step += 1


@given(
    offsets=st.lists(st.floats(0.001, FRAME.secs), max_size=40),
    secs=st.floats(0.1, 5000),
    limit=st.integers(1, 3),
    policy=st.sampled_from(["forbid", "queue", "replace"]),
)
def test_no_more_run_at_once_than_there_are_places(offsets, secs, limit, policy):
    load = one_hour_of(at(*sorted(offsets)), demand=Demand(secs=secs, limit=limit, policy=policy))
    assert all(-1e-6 <= work <= limit * FRAME.bucket_secs + 1e-6 for work in load.work)
    if policy == "forbid":
        assert sum(load.runs) + sum(load.skipped_overlap) == len(offsets)


def test_what_the_agents_cannot_take_waits_for_later():
    frame = Frame(begin=NOW, bucket_secs=100, buckets=4)
    load = Load(frame)
    load.work = [500.0, 0.0, 50.0, 0.0]
    found = through_slots(load, 2)
    assert [each.running for each in found] == [2, 2, 1.5, 0]
    assert [each.waiting_secs for each in found] == [150, 50, 0, 0]
    assert [each.running for each in through_slots(load, 2, begin=50, backlog=100)] == [2, 2, 2, 1.5]
    assert {each.running for each in through_slots(load, 0)} == {0}


def test_schedules_that_draw_the_same_have_the_same_rule():
    rules = {
        drawn(Recurrence(kind="cron", cron_expression="~ * * * *", seed=str(seed))) for seed in range(500)
    }
    assert len(rules) == 60
    for seed in ("1", "2"):
        rule = Recurrence(kind="cron", cron_expression="~ ~ * * *\n5 5 * * MON", seed=seed)
        assert instants_between(drawn(rule), NOW, NOW + timedelta(days=9), 99) == instants_between(
            rule, NOW, NOW + timedelta(days=9), 99
        )


def test_a_frame_ends_with_its_last_bucket():
    assert FRAME.end == datetime(2026, 3, 3, 12, tzinfo=UTC)
    assert [FRAME.bucket_of(offset) for offset in (0.1, 900, 900.1, FRAME.secs)] == [0, 0, 1, 95]
