"""Expressions from people who mean no good, or know no better: accepted or refused, at once and for good."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.recurrence import Recurrence, RecurrenceError, instants_between, next_after, validate
from scheduling.timing import cron, expressions, oncalendar, rules, zones

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LIMIT_SECS = 0.05


def twenty(line, count=20):
    return "\n".join(line.format(number) for number in range(count))


HOSTILE = [
    "* * */20 * 1L",
    "0 0 29 2 */7",
    "0 0 L 2 0#5",
    "0 0 31W 2 *",
    twenty("{} 0 29 2 */7"),
    twenty("{} 0 */20 * 0#3"),
    ",".join(str(number % 60) for number in range(650)) + " * * * *",
    "1" * 1999,
    "*/" * 900 + " * * * *",
    "@every " + "1h" * 900,
    "\x00" * 100,
    "*-*-* *:*:*",
    "Mon *-02-30",
    "2199-12-31 23:59:59",
    twenty("Mon 2196-02-29 00:00:{:02d}"),
    "Mon," * 490 + "Mon *-*-*",
    "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
    "RRULE:FREQ=WEEKLY;BYDAY=MO;BYMONTH=2;BYMONTHDAY=30",
    "RRULE:FREQ=YEARLY;BYDAY=20MO;BYMONTHDAY=1",
    "RRULE:FREQ=YEARLY;BYDAY=54MO",
    "RRULE:FREQ=YEARLY;BYEASTER=400",
    "RRULE:FREQ=MONTHLY;BYDAY=99MO,1TU",
    "RRULE:FREQ=HOURLY;BYHOUR=25",
    "RRULE:FREQ=YEARLY;INTERVAL=1000;BYMONTH=2;BYMONTHDAY=29",
    "RRULE:FREQ=DAILY;BYHOUR=" + ",".join(["0"] * 1900),
    "RRULE:" + ";".join(["FREQ=DAILY"] * 150),
    "DTSTART:00010101T000000\nRRULE:FREQ=DAILY",
    "DTSTART:99991231T000000\nRRULE:FREQ=DAILY",
    twenty("RRULE:FREQ=WEEKLY;BYDAY=MO;BYMONTH=2;BYMONTHDAY=29;BYHOUR={}"),
    twenty("RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYHOUR={}", count=5),
]


def judged(expression, **fields):
    """Validate a rule, and ask for the next instant of one that is accepted, with nothing known before."""
    for cached in (expressions.parse, cron._parse, oncalendar.parse, rules.parse, zones._segments_of):
        cached.cache_clear()
    rule = Recurrence(kind="cron", cron_expression=expression, timezone="Europe/Berlin", **fields)
    begin = time.thread_time()
    try:
        validate(rule)
        result = next_after(rule, NOW)
    except RecurrenceError as error:
        result = error
    return time.thread_time() - begin, result


@pytest.mark.parametrize("expression", HOSTILE, ids=lambda text: repr(text[:40]))
def test_a_hostile_expression_is_judged_within_50_ms_of_work(expression):
    tries = [judged(expression, start_time=NOW) for _ in range(3)]
    assert min(secs for secs, _result in tries) < LIMIT_SECS


@given(
    st.text("0123456789*/,-~#LWMONSUNFRI?@ .:;=\nRULEFQDAYT", max_size=60)
    | st.lists(
        st.sampled_from("* */7 0 31 2 29 L LW 15W FRI-MON 5#5 0L ~ 22-4 1-31/9 ? 7 JAN".split()),
        min_size=4,
        max_size=7,
    ).map(" ".join)
    | st.lists(
        st.sampled_from(
            "FREQ=YEARLY FREQ=MONTHLY FREQ=WEEKLY FREQ=DAILY FREQ=HOURLY BYDAY=MO BYDAY=-1SU,53MO BYMONTH=2"
            " BYMONTHDAY=-31,30 BYYEARDAY=366 BYWEEKNO=53 BYSETPOS=-1 BYHOUR=0,23 COUNT=3 INTERVAL=7"
            " UNTIL=20300101T000000Z WKST=SU".split()
        ),
        min_size=1,
        max_size=6,
        unique=True,
    ).map(lambda parts: "RRULE:" + ";".join(parts))
)
@settings(deadline=None, max_examples=400)
def test_whatever_is_accepted_gives_increasing_instants_and_the_rest_is_refused_in_words(expression):
    rule = Recurrence(
        kind="cron", cron_expression=expression, timezone="Europe/Berlin", start_time=NOW, seed="1"
    )
    try:
        validate(rule)
    except RecurrenceError:
        return
    instants = instants_between(rule, NOW - timedelta(days=1), NOW + timedelta(days=4000), 40)
    assert all(earlier < later for earlier, later in pairwise(instants))
    assert all(instant >= NOW for instant in instants)
    for instant in instants[:5]:
        assert next_after(rule, instant - timedelta(microseconds=1)) == instant


@pytest.mark.parametrize("year", [1, 1969, 9901, 9999])
@pytest.mark.parametrize("name", ["start_time", "end_time"])
def test_a_start_or_an_end_beyond_all_calendars_is_refused(year, name):
    with pytest.raises(RecurrenceError) as refusal:
        validate(Recurrence(kind="cron", cron_expression="0 0 * * *", **{name: NOW.replace(year=year)}))
    assert refusal.value.field == name


def test_a_start_thousands_of_years_away_costs_no_more_than_one_tomorrow():
    secs, result = judged("0 0 * * *", start_time=NOW.replace(year=9900))
    assert result == datetime(9900, 3, 2, 23, tzinfo=UTC)
    assert secs < LIMIT_SECS


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("BYDAY=20MO", ["2026-05-18", "2027-05-17", "2028-05-15"]),
        ("BYDAY=-1FR", ["2026-12-25", "2027-12-31", "2028-12-29"]),
        ("BYDAY=53TH", ["2026-12-31", "2032-12-30", "2037-12-31"]),
        ("BYMONTH=3;BYDAY=-1SU", ["2026-03-29", "2027-03-28", "2028-03-26"]),
    ],
)
def test_a_yearly_rule_numbers_weekdays_in_the_year_unless_it_names_months(rule, expected):
    yearly = Recurrence(kind="cron", cron_expression=f"RRULE:FREQ=YEARLY;{rule}", start_time=NOW)
    instants = instants_between(yearly, NOW, NOW.replace(year=2060), 3)
    assert [f"{instant:%F}" for instant in instants] == expected


def test_no_zone_changes_its_clocks_where_years_meet():
    day = timedelta(days=1)
    for zone in sorted(available_timezones()):
        info = ZoneInfo(zone)
        for year in range(2000, 2038):
            border = zones._BORDER.replace(year=year, tzinfo=UTC)
            offsets = {(border + step).astimezone(info).utcoffset() for step in (-day, timedelta(), day)}
            assert len(offsets) == 1, (zone, year)


def test_a_counted_rule_is_followed_to_its_end_wherever_one_asks_from():
    rule = Recurrence(kind="cron", cron_expression="RRULE:FREQ=DAILY;BYYEARDAY=366;COUNT=3", start_time=NOW)
    found = [next_after(rule, NOW.replace(year=year)) for year in (2026, 2030, 2034)]
    assert [f"{instant:%F}" for instant in found] == ["2028-12-31", "2032-12-31", "2036-12-31"]
