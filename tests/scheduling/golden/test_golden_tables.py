"""Every instant of 22 zones, 12 years and 72 expressions, against an oracle that shares nothing with us."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from scheduling.recurrence import Recurrence, instants_between
from tests.scheduling.golden import cases, pages
from tests.scheduling.golden.oracle import EPOCH, Walk, secs

TICK = timedelta(microseconds=1)
ALL = 10_000_000


def planned(zone, expression, begin, end, gap=None, overlap=None):
    """Return what the product plans from `begin` up to `end`, in seconds since the epoch."""
    rule = Recurrence(
        kind="cron", cron_expression=expression, timezone=zone, dst_gap=gap, dst_overlap=overlap
    )
    instants = instants_between(rule, begin - TICK, end - TICK, ALL)
    return np.array([secs(instant) for instant in instants], dtype=np.int64)


def assert_same(actual, expected, *case):
    if not np.array_equal(actual, expected):
        missing, surplus = set(expected.tolist()) - set(actual.tolist()), set(actual.tolist())
        surplus -= set(expected.tolist())
        told = [
            [f"{EPOCH + timedelta(seconds=at)}" for at in sorted(each)[:4]] for each in (missing, surplus)
        ]
        pytest.fail(f"{case}: {len(missing)} missing: {told[0]}, {len(surplus)} too many: {told[1]}")


@pytest.fixture(scope="module", params=cases.ZONES)
def zone(request):
    return request.param


@pytest.fixture(scope="module")
def walks(zone):
    return [Walk(zone, begin, end) for begin, end in cases.SPANS]


def around_changes(walk, margin):
    """Return the stretches around the changes of the clocks; what overlaps is one stretch."""
    found = []
    for change in walk.changes():
        begin, end = change - margin, change + margin
        if found and begin <= found[-1][1]:
            begin = found.pop()[0]
        found.append((begin, end))
    return found


def test_every_instant_of_twelve_years_is_that_of_debians_cron(zone, walks):
    for walk, (begin, end) in zip(walks, cases.SPANS, strict=True):
        for expression in cases.EXPRESSIONS:
            expected = walk.runs(expression, walk.matches(expression))
            assert_same(planned(zone, expression, begin, end), expected, zone, expression)


def test_each_policy_gives_its_instants_on_the_days_of_every_change(zone, walks):
    for walk in walks:
        for begin, end in around_changes(walk, timedelta(hours=13)):
            part = walk.part(begin, end)
            for expression in cases.EXPRESSIONS + cases.FREQUENT:
                matches = part.matches(expression)
                for policy in cases.POLICIES:
                    expected = part.runs(expression, matches, *policy)
                    actual = planned(zone, expression, begin, end, *policy)
                    assert_same(actual, expected, zone, expression, policy)


def test_asked_from_any_moment_around_a_change_the_rest_is_the_same(zone, walks):
    for begin, end in [stretch for walk in walks for stretch in around_changes(walk, timedelta(hours=4))]:
        walk = Walk(zone, begin - timedelta(hours=26), end)
        for expression in ["15,45 0-3 * * *", "*/30 1-2 * * *", "0 0 * * *"]:
            matches = walk.matches(expression)
            for policy in cases.POLICIES:
                runs = walk.runs(expression, matches, *policy)
                for cut in np.arange(secs(begin), secs(end), 35 * 60):
                    asked = EPOCH + timedelta(seconds=int(cut))
                    actual = planned(zone, expression, asked, end, *policy)
                    assert_same(actual, runs[runs >= cut], zone, expression, policy, asked)


def test_expressions_with_seconds_give_their_instants_in_the_hours_of_every_change(zone, walks):
    for begin, end in [stretch for walk in walks for stretch in around_changes(walk, timedelta(hours=4))]:
        part = Walk(zone, begin - timedelta(hours=26), end, step=1).part(begin, end)
        for expression in cases.WITH_SECONDS:
            matches = part.matches(expression)
            for policy in [*cases.POLICIES, (None, None)]:
                expected = part.runs(expression, matches, *policy)
                actual = planned(zone, expression, begin, end, *policy)
                assert_same(actual, expected, zone, expression, policy)


def test_the_tables_are_as_large_as_was_promised():
    years = sum((end - begin).days for begin, end in cases.SPANS) / 365.25
    assert len(set(cases.ZONES)) >= 20
    assert years >= 10
    assert len(set(cases.EXPRESSIONS)) >= 50


@pytest.mark.parametrize("zone", cases.DAYS)
def test_the_pages_for_people_show_what_is_planned(zone):
    def plan(expression, begin, end, gap, overlap):
        return planned(zone, expression, begin, end, gap, overlap)

    assert pages.page(zone, plan) == pages.path_of(zone).read_text()


@pytest.mark.parametrize("zone", cases.DAYS)
def test_the_pages_for_people_are_those_of_the_oracle(zone):
    assert pages.by_oracle(zone) == pages.path_of(zone).read_text()


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/30 2 * * *"])
def test_a_policy_that_is_left_out_is_that_of_debians_cron(expression):
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    walk = Walk("Europe/Berlin", begin, end)
    for policy in [("skip", None), ("next_valid", None), (None, "first"), (None, "second"), (None, "both")]:
        expected = walk.runs(expression, walk.matches(expression), *policy)
        assert_same(planned("Europe/Berlin", expression, begin, end, *policy), expected, expression, policy)
