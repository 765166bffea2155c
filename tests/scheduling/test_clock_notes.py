"""A preview says in words what becomes of runs on days on which the clocks change."""

from datetime import UTC, datetime

import pytest
from django.utils import translation

from scheduling.clock_notes import clock_notes
from scheduling.recurrence import Recurrence

SPRING = "2026-03-29T03:00:00+02:00: The clocks go forward by 60 minutes, from 02:00 to 03:00."
AUTUMN = "2026-10-25T02:00:00+01:00: The clocks go back by 60 minutes, from 03:00 to 02:00."


def notes(expression, zone="Europe/Berlin", year=2026, **fields):
    rule = Recurrence(kind="cron", cron_expression=expression, timezone=zone, **fields)
    begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    return clock_notes(rule, after=begin, until=end)


@pytest.mark.parametrize(
    ("fields", "spring", "autumn"),
    [
        (
            {},
            "Moved to 03:00, because that local time does not exist: 02:30.",
            "Runs once, the first time, though that local time comes twice: 02:30.",
        ),
        (
            {"dst_gap": "skip", "dst_overlap": "second"},
            "Skipped, because that local time does not exist on that day: 02:30.",
            "Runs once, the second time, though that local time comes twice: 02:30.",
        ),
        (
            {"dst_gap": "next_valid", "dst_overlap": "both"},
            "Moved to 03:00, because that local time does not exist: 02:30.",
            "Runs twice, because that local time comes twice: 02:30.",
        ),
    ],
    ids=str,
)
def test_each_policy_is_told(fields, spring, autumn):
    assert notes("30 2 * * *", **fields) == [f"{SPRING} {spring}", f"{AUTUMN} {autumn}"]


def test_a_frequent_expression_names_the_first_times_and_counts_the_rest():
    spring, autumn = notes("*/10 * * * *")
    assert spring.endswith("does not exist on that day: 02:00, 02:10, 02:20 and 3 more.")
    assert autumn.endswith("because that local time comes twice: 02:00, 02:10, 02:20 and 3 more.")


def test_lines_that_follow_different_rules_are_told_apart():
    spring, _autumn = notes("30 2 * * *\n*/30 2 * * *", dst_overlap="both")
    assert "Skipped, because that local time does not exist on that day: 02:00, 02:30." in spring


def test_a_run_elsewhere_on_such_a_day_says_that_the_clocks_change_and_no_more():
    assert notes("0 12 * * *") == [SPRING, AUTUMN]


def test_days_on_which_nothing_runs_are_not_told():
    assert notes("30 2 1 1 *") == []
    assert notes("30 2 * * *", zone="Asia/Shanghai") == []


def test_a_day_that_never_was_moves_its_run_to_the_midnight_after():
    (told, *_later) = notes("30 2 30 12 *", zone="Pacific/Apia", year=2011)[-1:]
    assert "forward by 1440 minutes" in told
    assert "Moved to 00:00" in told


def test_the_notes_are_told_in_chinese_too():
    with translation.override("zh-hans"):
        spring, autumn = notes("30 2 * * *", dst_gap="skip", dst_overlap="both")
    assert "时钟拨快 60 分钟，从 02:00 跳到 03:00。当天不存在以下当地时间，因此跳过：02:30。" in spring
    assert "两次都运行：02:30。" in autumn


def test_rest_tells_a_run_that_is_skipped(api):
    body = {"kind": "cron", "cron_expression": "30 2 * * *", "timezone": "Europe/Berlin", "dst_gap": "skip"}
    body |= {"count": 1, "after": "2026-03-28T12:00:00Z"}
    answer = api.post("/api/v1/schedules/preview", body).json()
    assert [time["utc"] for time in answer["fire_times"]] == ["2026-03-30T00:30:00.000000Z"]
    assert answer["notes"] == [
        f"{SPRING} Skipped, because that local time does not exist on that day: 02:30."
    ]
