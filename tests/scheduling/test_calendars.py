"""What calendars forbid and which days are business days, without a database; rows read as rules."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from scheduling import calendars
from scheduling.calendars import Blackout, CalendarRules, DaysOff, Window, is_known_country
from scheduling.models import Calendar
from scheduling.services.calendars import rules_of

SHANGHAI = ZoneInfo("Asia/Shanghai")
WORKDAYS = frozenset({1, 2, 3, 4, 5})
CHINA = CalendarRules(name="china", country="CN")
OFFICE = CalendarRules(name="office", windows=(Window(WORKDAYS, time(9), time(18)),))


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_a_holiday_of_a_country_is_forbidden_with_its_name():
    assert CHINA.forbids(utc(2026, 10, 1, 1), SHANGHAI) == "china: National Day"
    assert CHINA.forbids(utc(2026, 9, 30, 1), SHANGHAI) == ""


@pytest.mark.parametrize("language", ["zh_CN", "en_US", "C"])
def test_a_holiday_has_the_same_name_whatever_the_language_of_the_servers_environment(monkeypatch, language):
    monkeypatch.setenv("LANGUAGE", language)
    calendars._holidays.cache_clear()
    assert CHINA.forbids(utc(2026, 10, 1, 1), SHANGHAI) == "china: National Day"


def test_the_day_is_that_of_the_schedules_zone():
    assert CHINA.forbids(utc(2026, 9, 30, 16), SHANGHAI)
    assert not CHINA.forbids(utc(2026, 9, 30, 16), ZoneInfo("UTC"))


def test_days_by_hand_may_be_ranges():
    rules = CalendarRules(name="plant", days_off=(DaysOff(date(2026, 8, 3), date(2026, 8, 14), "closed"),))
    days = [date(2026, 8, day) for day in (2, 3, 14, 15)]
    assert [rules.day_off(day) for day in days] == [None, "closed", "closed", None]


@pytest.mark.parametrize(
    ("instant", "is_allowed"),
    [
        (utc(2026, 3, 2, 1), True),  # Monday, 09:00 in Shanghai
        (utc(2026, 3, 2, 0, 59, 59), False),
        (utc(2026, 3, 2, 9, 59, 59), True),
        (utc(2026, 3, 2, 10), False),  # 18:00, the end of the window
        (utc(2026, 3, 7, 3), False),  # Saturday
    ],
)
def test_windows_are_the_only_times_that_are_allowed(instant, is_allowed):
    assert (OFFICE.forbids(instant, SHANGHAI) == "") is is_allowed


def test_a_window_may_end_with_the_day():
    rules = CalendarRules(windows=(Window(WORKDAYS, time(22), time(0)),))
    assert rules.forbids(utc(2026, 3, 2, 23, 59, 59), ZoneInfo("UTC")) == ""
    assert rules.forbids(utc(2026, 3, 2, 0), ZoneInfo("UTC")) != ""


def test_a_blackout_wins_over_a_window():
    blackout = Blackout(utc(2026, 3, 2), utc(2026, 3, 3), "migration")
    rules = CalendarRules(name="office", windows=OFFICE.windows, blackouts=(blackout,))
    assert rules.forbids(utc(2026, 3, 2, 2), SHANGHAI) == "blackout of office: migration"
    assert rules.forbids(utc(2026, 3, 3, 2), SHANGHAI) == ""


def test_a_run_moves_over_all_days_off_to_the_same_time():
    assert CHINA.moved_to_next_day(utc(2026, 10, 1, 1), SHANGHAI) == utc(2026, 10, 4, 1)


def test_a_run_keeps_its_local_time_when_it_moves_over_a_clock_change():
    berlin = ZoneInfo("Europe/Berlin")
    rules = CalendarRules(days_off=(DaysOff(date(2026, 3, 28), date(2026, 3, 28)),))
    assert rules.moved_to_next_day(utc(2026, 3, 28, 8), berlin) == utc(2026, 3, 29, 7)


def test_a_calendar_that_allows_nothing_moves_nothing():
    rules = CalendarRules(windows=(Window(frozenset(), time(0), time(0)),))
    assert rules.moved_to_next_day(utc(2026, 3, 2), SHANGHAI) is None


@pytest.mark.parametrize(
    ("day", "offset", "expected"),
    [
        (date(2026, 3, 4), 0, date(2026, 3, 4)),
        (date(2026, 3, 7), 0, date(2026, 3, 6)),  # Saturday: the Friday before
        (date(2026, 3, 6), 1, date(2026, 3, 9)),
        (date(2026, 3, 9), -1, date(2026, 3, 6)),
        (date(2026, 3, 7), 1, date(2026, 3, 9)),
        (date(2026, 9, 30), 1, date(2026, 10, 8)),  # over the National Day week
    ],
)
def test_business_days_leave_out_weekends_and_holidays(day, offset, expected):
    assert CHINA.business_day(day, offset) == expected


def test_a_calendar_without_business_days_says_so():
    always_off = CalendarRules(name="never", days_off=(DaysOff(date(2020, 1, 1), date(2040, 1, 1)),))
    with pytest.raises(ValueError, match="never has no business day"):
        always_off.business_day(date(2026, 3, 4))


def test_countries_and_their_parts_are_known():
    assert is_known_country("DE", "BY")
    assert not is_known_country("DE", "XX")
    assert not is_known_country("XX")


@pytest.mark.django_db
def test_a_row_is_read_as_rules_and_read_again_when_it_changes():
    calendar = Calendar.objects.create(
        name="work",
        dates=[{"date": "2026-05-01", "name": "Labour Day"}, {"date": "2026-08-03", "until": "2026-08-14"}],
        windows=[{"weekdays": [1, 2], "from": "09:00", "to": "18:00"}],
        blackouts=[{"from": "2026-03-02T00:00:00Z", "to": "2026-03-03T00:00:00Z", "reason": "x"}],
    )
    rules = rules_of(calendar)
    assert rules.days_off[1] == DaysOff(date(2026, 8, 3), date(2026, 8, 14))
    assert rules.windows == (Window(frozenset({1, 2}), time(9), time(18)),)
    assert rules.blackouts == (Blackout(utc(2026, 3, 2), utc(2026, 3, 3), "x"),)
    assert rules_of(Calendar.objects.get()) is rules
    calendar.dates = []
    calendar.save()
    assert rules_of(calendar).days_off == ()


def test_a_day_off_without_any_name_is_off_all_the_same():
    rules = CalendarRules(name=": ", days_off=(DaysOff(date(2026, 3, 2), date(2026, 3, 2)),))
    assert rules.forbids(datetime(2026, 3, 2, 12, tzinfo=UTC), ZoneInfo("UTC")) == "a day off"
