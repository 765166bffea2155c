"""What a schedule's next instants become, told before they are planned."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduling.judging import FrozenSpan
from scheduling.services import planning
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.previewing import coming_runs, freeze_of, next_run
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
# NOW is a Monday.
DAY = timedelta(days=1)


def daily(**fields):
    return factories.schedule(kind="cron", cron_expression="0 10 * * *", **fields)


def working_days(**fields):
    windows = [{"weekdays": [1, 2, 3, 4, 5], "from": "09:00", "to": "18:00"}]
    return create_calendar(name="working days", windows=windows, **fields)


def fates(schedule, count=7):
    return [
        (each.time.utc.day, str(each.fate.outcome)) for each in coming_runs(schedule, now=NOW, count=count)
    ]


def test_what_the_calendar_forbids_is_told_with_what_stands_against_it():
    calendar = working_days(dates=[{"date": "2026-03-04", "name": "Founders' Day"}])
    coming = coming_runs(daily(calendar=calendar), now=NOW, count=6)
    told = {each.time.utc.day: each.obstacle for each in coming}
    assert (told[4].kind, told[4].name) == ("day_off", "Founders' Day")
    assert told[7].kind == "window"
    assert told[5] is None
    assert [each.time.utc.day for each in coming if each.fate.runs] == [3, 5, 6]


def test_a_run_that_is_moved_says_to_when():
    calendar = create_calendar(name="off", dates=[{"date": "2026-03-04"}])
    weekly = factories.schedule(
        kind="cron", cron_expression="0 10 * * 3", calendar=calendar, calendar_policy="next_day"
    )
    moved = coming_runs(weekly, now=NOW, count=1)[0]
    assert moved.fate.runs
    assert moved.fate.due_at == datetime(2026, 3, 5, 10, tzinfo=UTC)


def test_a_freeze_skips_what_lies_in_it():
    frozen = FrozenSpan(NOW, NOW + 2 * DAY, "release")
    coming = coming_runs(daily(), now=NOW, count=3, frozen=frozen)
    assert [each.is_frozen for each in coming] == [True, True, False]
    assert [each.fate.runs for each in coming] == [False, False, True]


def test_the_preview_says_what_planning_then_does():
    schedule = daily(calendar=working_days())
    told = fates(schedule)
    for ahead in range(9):
        planning.run_once(now=NOW + ahead * DAY, horizon_secs=15, catch_up_secs=2 * 86_400.0)
    planned = schedule.tasks.order_by("scheduled_at").values_list("scheduled_at__day", "outcome")
    # No scheduler ran at ten o'clock, so what is told to be fired comes late.
    assert [(day, outcome.replace("late", "fired")) for day, outcome in planned][: len(told)] == told


def test_the_number_of_runs_that_are_left_ends_the_preview():
    calendar = create_calendar(name="off", dates=[{"date": "2026-03-03"}])
    assert fates(daily(calendar=calendar, max_count=2)) == [
        (3, "skipped_calendar"),
        (4, "fired"),
        (5, "fired"),
    ]


def test_of_an_interval_from_end_to_start_only_the_next_run_is_known():
    schedule = factories.schedule(kind="interval", interval_secs=60, interval_mode="delay")
    assert [each.time.utc for each in coming_runs(schedule, now=NOW, count=10)] == [NOW]


FRIDAY_EVENING = datetime(2026, 3, 6, 18, tzinfo=UTC)
MONDAY_MORNING = datetime(2026, 3, 9, 9, tzinfo=UTC)


@pytest.mark.parametrize("secs", [1, 600, 3600])
def test_the_next_run_is_found_behind_however_many_that_are_forbidden(secs):
    schedule = factories.schedule(kind="interval", interval_secs=secs, calendar=working_days())
    assert next_run(schedule, now=FRIDAY_EVENING) == MONDAY_MORNING


def test_the_next_run_comes_right_after_a_blackout():
    end = NOW + timedelta(hours=5, minutes=30)
    blackout = {"from": NOW.isoformat(), "to": end.isoformat(), "reason": ""}
    calendar = create_calendar(name="move", blackouts=[blackout])
    schedule = factories.schedule(kind="interval", interval_secs=600, calendar=calendar)
    assert next_run(schedule, now=NOW) == end


def test_the_next_run_may_be_one_that_was_moved():
    schedule = factories.schedule(
        kind="cron",
        cron_expression="0 10 * * 6\n0 11 * * 6",
        calendar=working_days(),
        calendar_policy="next_day",
    )
    assert next_run(schedule, now=FRIDAY_EVENING) == datetime(2026, 3, 9, 11, tzinfo=UTC)


def test_a_calendar_that_allows_nothing_leaves_no_next_run():
    calendar = create_calendar(name="never", windows=[{"weekdays": [], "from": "00:00", "to": "00:00"}])
    assert next_run(factories.schedule(calendar=calendar), now=NOW) is None


def test_a_freeze_that_is_over_freezes_nothing():
    freeze(namespace="default", now=NOW, until=NOW + DAY)
    assert freeze_of("default", now=NOW).namespace == "default"
    assert freeze_of("default", now=NOW + DAY) is None
    assert freeze_of("other", now=NOW) is None
