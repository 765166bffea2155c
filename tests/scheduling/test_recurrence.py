"""The rules of time, without a database: cron through daylight-saving changes, intervals, once, bounds."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.recurrence import (
    Recurrence,
    RecurrenceError,
    describe,
    instants_between,
    next_after,
    validate,
)
from scheduling.timing import zones

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
# Whole-hour, half-hour, quarter-hour offsets; northern and southern change; midnight changes; a shift of half
# an hour (Lord Howe); no change at all.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Lisbon",
    "Atlantic/Azores",
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Nuuk",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Shanghai",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Australia/Sydney",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
]


def cron(expression, zone="UTC", **bounds):
    return Recurrence(kind="cron", cron_expression=expression, timezone=zone, **bounds)


def every(secs, **bounds):
    return Recurrence(kind="interval", interval_secs=secs, **bounds)


def at(text, zone="UTC", fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def walk(recurrence, begin, end):
    return instants_between(recurrence, begin, end, 100_000)


def local_times(recurrence, begin, end):
    zone = ZoneInfo(recurrence.timezone)
    return [f"{instant.astimezone(zone):%d %H:%M}" for instant in walk(recurrence, begin, end)]


# --- daylight saving ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "expression", "expected"),
    [
        # 02:00 becomes 03:00: a fixed time within the gap runs right after it, once.
        ("Europe/Berlin", "2026-03-29", "30 2 * * *", ["29 03:00"]),
        ("Europe/Berlin", "2026-03-29", "30 1 * * *", ["29 01:30"]),
        ("Europe/Berlin", "2026-03-29", "30 3 * * *", ["29 03:30"]),
        # A frequent one has no instant in the gap.
        (
            "Europe/Berlin",
            "2026-03-29",
            "*/30 1-4 * * *",
            ["29 01:00", "29 01:30", "29 03:00", "29 03:30", "29 04:00", "29 04:30"],
        ),
        # 03:00 becomes 02:00: a fixed time in the repeated hour runs once, a frequent one in both passes.
        ("Europe/Berlin", "2026-10-25", "30 2 * * *", ["25 02:30"]),
        ("Europe/Berlin", "2026-10-25", "*/30 2 * * *", ["25 02:00", "25 02:30", "25 02:00", "25 02:30"]),
        ("America/New_York", "2026-03-08", "30 2 * * *", ["08 03:00"]),
        ("America/New_York", "2026-11-01", "30 1 * * *", ["01 01:30"]),
        # The change at midnight: the day begins at 01:00.
        ("America/Santiago", "2026-09-06", "0 0 * * *", ["06 01:00"]),
        ("Africa/Cairo", "2026-04-24", "30 0 * * *", ["24 01:00"]),
        # Half an hour: 02:00 becomes 02:30, and in autumn 02:00 becomes 01:30.
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", ["04 02:30"]),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", ["05 01:45"]),
    ],
)
def test_a_day_of_change_runs_what_debians_cron_would(zone, day, expression, expected):
    begin = at(f"{day}T00:00", zone) - timedelta(seconds=1)
    if at(f"{day}T00:00", zone).astimezone(ZoneInfo(zone)).strftime("%H") != "00":
        begin = at(f"{day}T00:00", zone) - timedelta(hours=1)
    assert local_times(cron(expression, zone), begin, begin + timedelta(hours=23)) == expected


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 0 * * *"])
def test_a_daily_job_runs_once_on_every_day_of_the_year(zone, expression):
    days = [
        instant.astimezone(ZoneInfo(zone)).date()
        for instant in walk(
            cron(expression, zone), at("2025-12-31T12:00", zone), at("2026-12-31T12:00", zone)
        )
    ]
    assert len(days) == 365
    assert all(later - earlier == DAY for earlier, later in pairwise(days))


@pytest.mark.parametrize("zone", ZONES)
def test_a_job_of_every_quarter_of_an_hour_never_pauses_or_doubles(zone):
    for change in changes_of(zone):
        instants = walk(cron("*/15 * * * *", zone), change - DAY, change + DAY)
        assert len(instants) == 2 * 96
        assert {later - earlier for earlier, later in pairwise(instants)} == {timedelta(minutes=15)}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 0-3 * * *"])
def test_planning_resumed_at_any_minute_of_a_change_gives_the_same_instants(zone, expression):
    rule = cron(expression, zone)
    for change in changes_of(zone):
        begin, end = change - timedelta(hours=3), change + timedelta(hours=4)
        whole = walk(rule, begin, end)
        for minute in range(0, 7 * 60, 11):
            cut = begin + timedelta(minutes=minute, seconds=1)
            assert walk(rule, begin, cut) + walk(rule, cut, end) == whole


@lru_cache
def changes_of(zone):
    """Return the moments of 2026 at which the zone's offset changes."""
    tz, found = ZoneInfo(zone), []
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    while moment.year == 2026:
        later = moment + timedelta(hours=1)
        if moment.astimezone(tz).utcoffset() != later.astimezone(tz).utcoffset():
            found.append(later)
        moment = later
    return found


def test_resuming_within_the_second_pass_of_the_repeated_hour_goes_forward():
    rule = cron("30 2 * * *", "Europe/Berlin")
    second_pass = at("2026-10-25T02:10", "Europe/Berlin", fold=1)
    following = next_after(rule, second_pass)
    assert following == at("2026-10-26T02:30", "Europe/Berlin")


def test_when_clocks_change_does_not_depend_on_the_instant_that_was_asked_about_first():
    zones._segments_of.cache_clear()
    nightly = cron("30 2 * * *", "Europe/Berlin")
    asked_at = datetime(2025, 7, 1, 12, 0, 0, 257_774, UTC)
    assert next_after(nightly, asked_at) == datetime(2025, 7, 2, 0, 30, tzinfo=UTC)
    assert next_after(nightly, datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(2026, 3, 29, 1, tzinfo=UTC)


# --- cron -----------------------------------------------------------------------------------------------


def test_six_fields_begin_with_seconds():
    assert walk(cron("*/20 * * * * *"), NOW, NOW + timedelta(minutes=1)) == [
        NOW + timedelta(seconds=secs) for secs in (20, 40, 60)
    ]


@pytest.mark.parametrize(
    ("macro", "expression"), [("@hourly", "0 * * * *"), ("@Daily", "0 0 * * *"), ("@weekly", "0 0 * * 0")]
)
def test_a_macro_is_short_for_an_expression(macro, expression):
    assert walk(cron(macro), NOW, NOW + 30 * DAY) == walk(cron(expression), NOW, NOW + 30 * DAY)


def test_a_leap_day_is_found_years_ahead():
    assert next_after(cron("0 0 29 2 *"), NOW) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        None,
        "",
        " ",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "0 0 30 2 *",
        "0 0 31 4 *",
        "*/0 * * * *",
        "5-61 * * * *",
        "a * * * *",
        "@never",
        "0 0 * * * ; rm -rf /",
        "0 0 * * *\n61 * * * *",
        "１ * * * *",
        "1," * 2000 + "1 * * * *",
    ],
)
def test_an_expression_that_cannot_be_planned_is_refused_by_field(expression):
    with pytest.raises(RecurrenceError, match=r"an example that works") as refusal:
        validate(cron(expression))
    assert refusal.value.field == "cron_expression"


def test_a_rule_says_itself_in_words():
    assert "02:30" in describe(cron("30 2 * * *", "Asia/Shanghai"))
    assert describe(every(90)) == "Every 90 seconds"


# --- interval, once, bounds -----------------------------------------------------------------------------


def test_an_interval_counts_from_the_epoch_so_that_restarts_do_not_move_it():
    expected = [datetime(2026, 3, 2, 12, 0, secs, tzinfo=UTC) for secs in (7, 14, 21)]
    first = next_after(every(7), NOW)
    assert (first.timestamp() % 7, first - NOW <= timedelta(seconds=7)) == (0, True)
    assert walk(every(7, start_time=NOW), NOW, NOW + timedelta(seconds=21)) == expected


def test_an_interval_begins_with_its_start_and_not_before():
    start = NOW + timedelta(seconds=30)
    assert walk(every(20, start_time=start), NOW, NOW + timedelta(seconds=70)) == [
        start,
        start + timedelta(seconds=20),
        start + timedelta(seconds=40),
    ]


@pytest.mark.parametrize("rule", [every(10), cron("*/10 * * * * *")], ids=["interval", "cron"])
def test_start_and_end_both_count(rule):
    bounded = Recurrence(
        kind=rule.kind,
        cron_expression=rule.cron_expression,
        interval_secs=rule.interval_secs,
        start_time=NOW,
        end_time=NOW + timedelta(seconds=20),
    )
    seconds = [(i - NOW).total_seconds() for i in walk(bounded, NOW - DAY, NOW + DAY)]
    assert seconds == [0, 10, 20]
    assert next_after(bounded, NOW + timedelta(seconds=20)) is None


def test_once_is_its_start_and_nothing_more():
    once = Recurrence(kind="once", start_time=NOW)
    assert next_after(once, NOW - timedelta(microseconds=1)) == NOW
    assert next_after(once, NOW) is None


def test_a_window_gives_its_end_and_not_its_beginning_up_to_the_limit():
    assert instants_between(every(5, start_time=NOW), NOW, NOW + timedelta(seconds=10), 10) == [
        NOW + timedelta(seconds=5),
        NOW + timedelta(seconds=10),
    ]
    assert len(instants_between(every(1), NOW, NOW + DAY, 3)) == 3


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"kind": "interval"}, "interval_secs"),
        ({"kind": "interval", "interval_secs": 0}, "interval_secs"),
        ({"kind": "interval", "interval_secs": -1}, "interval_secs"),
        ({"kind": "interval", "interval_secs": True}, "interval_secs"),
        ({"kind": "interval", "interval_secs": 1.5}, "interval_secs"),
        ({"kind": "interval", "interval_secs": 400 * 86_400}, "interval_secs"),
        ({"kind": "interval", "interval_secs": 5, "timezone": "Mars/Olympus"}, "timezone"),
        ({"kind": "interval", "interval_secs": 5, "timezone": "../etc/passwd"}, "timezone"),
        ({"kind": "interval", "interval_secs": 5, "timezone": ""}, "timezone"),
        ({"kind": "interval", "interval_secs": 5, "start_time": datetime(2026, 1, 1)}, "start_time"),  # noqa: DTZ001
        ({"kind": "interval", "interval_secs": 5, "start_time": NOW, "end_time": NOW}, "end_time"),
        ({"kind": "once"}, "start_time"),
        ({"kind": "sometimes"}, "kind"),
    ],
)
def test_an_unsound_rule_is_refused_by_field(fields, at_fault):
    with pytest.raises(RecurrenceError) as refusal:
        validate(Recurrence(**fields))
    assert refusal.value.field == at_fault


# --- properties -----------------------------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
FIELDS = st.sampled_from(["*", "*/7", "0", "5,25,45", "10-20", "3/11"])
RULES = st.one_of(
    st.builds(
        every,
        st.integers(1, 100_000),
        start_time=st.one_of(st.none(), MOMENTS),
    ),
    st.builds(
        lambda minute, hour, zone: cron(f"{minute} {hour} * * *", zone),
        FIELDS,
        st.sampled_from(["*", "*/3", "2", "1-3", "0", "23"]),
        st.sampled_from(ZONES),
    ),
    st.builds(
        lambda second, minute, zone: cron(f"{second} {minute} 0-3 * * *", zone),
        FIELDS,
        FIELDS,
        st.sampled_from(ZONES),
    ),
)
SPANS = st.timedeltas(timedelta(0), timedelta(days=3))


@given(rule=RULES, begin=MOMENTS)
@settings(deadline=None)
def test_instants_strictly_increase_and_lie_after_the_beginning(rule, begin):
    instants = instants_between(rule, begin, begin + 400 * DAY, 50)
    assert all(earlier < later for earlier, later in pairwise([begin, *instants]))
    assert all(instant.utcoffset() == timedelta(0) for instant in instants)


@given(rule=RULES, begin=MOMENTS, first=SPANS, second=SPANS)
@settings(deadline=None)
def test_two_windows_give_what_one_gives(rule, begin, first, second):
    cut, limit = begin + first, 500
    whole = instants_between(rule, begin, cut + second, limit)
    parts = instants_between(rule, begin, cut, limit) + instants_between(rule, cut, cut + second, limit)
    assert parts[:limit] == whole


@given(rule=RULES, begin=MOMENTS)
@settings(deadline=None)
def test_one_instant_after_another_gives_what_a_window_gives(rule, begin):
    window = instants_between(rule, begin, begin + 400 * DAY, 20)
    steps = [begin]
    for _ in window:
        steps.append(next_after(rule, steps[-1]))
    assert steps[1:] == window
