"""Calendars in the admin: written as lines, shown as a year, and kept while they are used."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from scheduling.admin import year
from scheduling.admin.calendar_form import BlackoutsField, DaysField, WindowsField
from scheduling.calendars import Blackout, CalendarRules, DaysOff, Window
from scheduling.models import Calendar
from scheduling.services.calendars import create_calendar
from scheduling.services.definitions import archive_schedule
from scheduling.services.planning import run_once
from tests import factories
from tests.admin_client import browser_with, client_of, form_values

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_calendar_changelist")
ADD = reverse("admin:scheduling_calendar_add")
YEAR = reverse("admin:scheduling_calendar_year")
ICS = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//x//y//EN\r
BEGIN:VEVENT\r
UID:1\r
DTSTAMP:20260101T000000Z\r
DTSTART;VALUE=DATE:20260504\r
SUMMARY:Founders' Day\r
END:VEVENT\r
END:VCALENDAR\r
"""


def page(calendar, name="change"):
    return reverse(f"admin:scheduling_calendar_{name}", args=[calendar.pk])


@pytest.fixture
def browser():
    return client_of(superuser=True)


def form_for(browser, **changes):
    return form_values(browser.get(ADD)) | {"name": "working days", "namespace": "default"} | changes


def day_of(context, day):
    month = context["months"][day.month - 1]
    return next(each for week in month["weeks"] for each in week if each and each.day == day)


# --- the form -----------------------------------------------------------------------------------------


def test_lists_are_written_as_lines(browser):
    values = form_for(
        browser,
        country="DE",
        subdivision="BY",
        dates="2026-05-02 Bridge day\r\n2026-12-24..2026-12-31 Year-end closing",
        windows="Mon-Fri 09:00-18:00\r\n6,7 10:00-24:00",
        blackouts="2026-06-01 00:00..2026-06-02 12:00 Migration",
    )
    assert browser.post(ADD, values).status_code == 302
    stored = Calendar.objects.get()
    assert (stored.country, stored.subdivision) == ("DE", "BY")
    assert stored.dates == [
        {"date": "2026-05-02", "name": "Bridge day"},
        {"date": "2026-12-24", "until": "2026-12-31", "name": "Year-end closing"},
    ]
    assert stored.windows == [
        {"weekdays": [1, 2, 3, 4, 5], "from": "09:00", "to": "18:00"},
        {"weekdays": [6, 7], "from": "10:00", "to": "00:00"},
    ]
    assert [(each["from"][:16], each["to"][:16], each["reason"]) for each in stored.blackouts] == [
        ("2026-06-01T00:00", "2026-06-02T12:00", "Migration")
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (
            DaysField(),
            [
                {"date": "2026-05-01", "name": ""},
                {"date": "2026-05-02", "until": "2026-05-03", "name": "x y"},
            ],
        ),
        (WindowsField(), [{"weekdays": [1, 3], "from": "09:00", "to": "00:00"}]),
        (WindowsField(), [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "from": "09:00:30", "to": "18:00"}]),
        (
            BlackoutsField(),
            [{"from": "2026-06-01T00:00:00+00:00", "to": "2026-06-02T12:00:30+00:00", "reason": "why"}],
        ),
    ],
)
def test_what_is_written_out_reads_as_the_same(field, value):
    assert field.read(field.write(value)) == value


def test_blackouts_are_read_and_written_by_the_clocks_of_the_reader():
    field = BlackoutsField()
    # The clocks of Berlin show half past two twice that night.
    stored = [{"from": "2026-10-25T00:30:00Z", "to": "2026-10-25T01:30:00Z", "reason": "change"}]
    with timezone.override("Europe/Berlin"):
        text = field.write(stored)
        found = field.read(text)
    assert text == "2026-10-25 02:30..2026-10-25 02:30+01:00 change"
    for name in ("from", "to"):
        assert datetime.fromisoformat(found[0][name]) == datetime.fromisoformat(stored[0][name])


def test_a_blackout_stands_on_the_days_of_the_reader():
    begin = datetime(2026, 6, 1, 16, tzinfo=UTC)
    rules = CalendarRules(blackouts=(Blackout(begin, begin + timedelta(days=1), "dark"),))
    with timezone.override("Asia/Shanghai"):
        june = year.months_of(rules, 2026)[5]["weeks"]
    days = {day.day.day: day for week in june for day in week if day}
    assert [days[number].kind for number in (1, 2, 3)] == ["allowed", "blackout", "allowed"]


def test_a_list_may_be_given_as_json_as_well():
    assert WindowsField().read('[{"weekdays": [1], "from": "09:00", "to": "10:00"}]') == [
        {"weekdays": [1], "from": "09:00", "to": "10:00"}
    ]


def test_weekdays_that_wrap_around_the_weekend_are_read():
    assert WindowsField().read("Fri-Mon 22:00-24:00")[0]["weekdays"] == [1, 5, 6, 7]


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"dates": "2026-05-01 ok\nsoon"}, "dates", "Line 2"),
        ({"dates": "2026-02-30"}, "dates", "entry 1"),
        ({"windows": "workdays 9 to 5"}, "windows", "Mon-Fri 09:00-18:00"),
        ({"blackouts": "tomorrow"}, "blackouts", "2026-12-24 00:00"),
        ({"ics": "nothing of the kind"}, "ics", ""),
        ({"country": "DE", "subdivision": "XX"}, "subdivision", "XX"),
        ({"country": "Narnia"}, "country", "Narnia"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_when_saved_and_before(browser, changes, field, says):
    values = form_for(browser, **changes)
    assert says in str(browser.post(ADD, values).context["adminform"].form.errors[field])
    assert field in [problem["field"] for problem in browser.post(YEAR, values).context["problems"]]
    assert not Calendar.objects.exists()


def test_an_uploaded_file_becomes_days_off(browser):
    upload = SimpleUploadedFile("days.ics", ICS.encode(), content_type="text/calendar")
    assert browser.post(ADD, form_for(browser) | {"ics_file": upload}).status_code == 302
    assert Calendar.objects.get().ics_dates == [{"date": "2026-05-04", "name": "Founders' Day"}]


def test_an_upload_that_the_service_refuses_is_read_again_for_the_second_look(browser):
    create_calendar(name="working days")
    upload = SimpleUploadedFile("days.ics", ICS.encode(), content_type="text/calendar")
    response = browser.post(ADD, form_for(browser) | {"ics_file": upload})
    assert "exists already" in str(response.context["adminform"].form.errors["name"])


def test_only_what_was_changed_in_the_form_is_written(browser):
    calendar = create_calendar(
        name="off", ics=ICS, blackouts=[{"from": "2026-06-01T00:00:00Z", "to": "2026-06-02T00:00:00Z"}]
    )
    values = form_values(browser.get(page(calendar)))
    Calendar.objects.filter(pk=calendar.pk).update(description="by somebody else")
    browser.post(page(calendar), values | {"dates": "2026-05-01"})
    stored = Calendar.objects.get()
    assert stored.description == "by somebody else"
    assert stored.dates == [{"date": "2026-05-01", "name": ""}]
    assert (stored.blackouts, stored.ics_dates) == (calendar.blackouts, calendar.ics_dates)


# --- the picture --------------------------------------------------------------------------------------


def kinds(rules, *days):
    months = year.months_of(rules, 2026)
    found = {each.day: each for month in months for week in month["weeks"] for each in week if each}
    return [(found[day].kind, found[day].title) for day in days]


def test_every_day_of_the_year_is_in_the_picture_once_and_weeks_begin_on_monday():
    months = year.months_of(CalendarRules(), 2026)
    days = [each.day for month in months for week in month["weeks"] for each in week if each]
    assert len(days) == len(set(days)) == 365
    for month in months:
        for week in month["weeks"]:
            assert len(week) == 7
            assert all(each is None or each.day.weekday() == place for place, each in enumerate(week))


def test_a_day_is_coloured_by_the_strongest_of_what_holds_and_says_why():
    rules = CalendarRules(
        days_off=(DaysOff(date(2026, 5, 1), date(2026, 5, 1), "Labour Day"),),
        windows=(
            Window(frozenset({1, 2, 3, 4, 5}), time(9), time(18)),
            Window(frozenset({6}), time(0), time(0)),
        ),
        blackouts=(
            Blackout(datetime(2026, 5, 4, tzinfo=UTC), datetime(2026, 5, 5, tzinfo=UTC), "move"),
            Blackout(datetime(2026, 5, 5, 20, tzinfo=UTC), datetime(2026, 5, 5, 22, tzinfo=UTC), ""),
        ),
    )
    days = [date(2026, 5, number) for number in (1, 2, 3, 4, 5, 6)]
    found = kinds(rules, *days)
    assert [kind for kind, _title in found] == ["off", "allowed", "closed", "blackout", "part", "limited"]
    assert "Labour Day" in found[0][1]
    assert "move" in found[3][1]
    assert "20:00" in found[4][1]
    assert "09:00-18:00" in found[5][1]


def test_the_picture_follows_the_form_before_it_is_saved(browser):
    calendar = create_calendar(name="off", dates=[{"date": "2026-05-04"}])
    values = form_values(browser.get(page(calendar))) | {"dates": "2026-05-05 Another day"}
    context = browser.post(f"{page(calendar, 'year_change')}?year=2026", values).context
    assert day_of(context, date(2026, 5, 4)).kind == "allowed"
    assert day_of(context, date(2026, 5, 5)).kind == "off"
    assert Calendar.objects.get().dates == [{"date": "2026-05-04"}]


def test_the_picture_shows_the_holidays_of_a_country_and_offers_its_parts(browser):
    response = browser.post(f"{YEAR}?year=2026", form_for(browser, country="DE"))
    assert day_of(response.context, date(2026, 10, 3)).kind == "off"
    assert '<option value="BY">' in response.content.decode()


@pytest.mark.parametrize(
    ("asked", "shown"), [("2031", 2031), ("9999", year.LAST_YEAR), ("0001", year.FIRST_YEAR)]
)
def test_other_years_are_a_link_away(browser, asked, shown):
    calendar = create_calendar(name="off")
    assert browser.get(page(calendar), {"year": asked}).context["year"] == shown


def test_a_year_that_is_none_is_this_one(browser):
    calendar = create_calendar(name="off")
    assert (
        browser.get(page(calendar), {"year": "x"}).context["today"].year
        == browser.get(page(calendar)).context["year"]
    )


# --- in use -------------------------------------------------------------------------------------------


def test_a_calendar_in_use_says_by_whom_and_is_not_deleted(browser):
    calendar = create_calendar(name="off")
    schedule = factories.schedule(calendar=calendar)
    assert [each["schedule"] for each in browser.get(page(calendar)).context["users"]] == [schedule]
    asked = browser.get(page(calendar, "delete")).content.decode()
    assert "cannot be deleted: 1 schedule uses it" in asked
    response = browser.post(page(calendar, "delete"), {"post": "yes"}, follow=True)
    assert "is in use and stays" in response.content.decode()
    assert Calendar.objects.exists()


def test_of_several_those_in_use_stay_and_the_others_go(browser):
    used, free = create_calendar(name="used"), create_calendar(name="free")
    factories.schedule(calendar=used)
    chosen = {"action": "delete_selected", "_selected_action": [used.pk, free.pk], "post": "yes"}
    assert "is in use" in browser.post(LIST, chosen, follow=True).content.decode()
    assert list(Calendar.objects.all()) == [used]


def test_an_archived_schedule_with_tasks_lets_its_calendar_go(browser):
    calendar = create_calendar(name="off")
    schedule = factories.schedule(calendar=calendar, kind="interval", interval_secs=60)
    run_once(now=factories.NOW + timedelta(minutes=2), horizon_secs=0, catch_up_secs=3600)
    archive_schedule(schedule_id=schedule.pk, now=factories.NOW + timedelta(minutes=3))
    browser.post(page(calendar, "delete"), {"post": "yes"})
    schedule.refresh_from_db()
    assert not Calendar.objects.exists()
    assert (schedule.archived_at is None, schedule.calendar_id) == (False, None)


def test_the_list_takes_as_many_queries_for_many_as_for_one(browser, django_assert_num_queries):
    create_calendar(name="first", country="DE")
    browser.get(LIST)
    with django_assert_num_queries(7):
        browser.get(LIST)
    for number in range(15):
        factories.schedule(calendar=create_calendar(name=f"more-{number}"))
    with django_assert_num_queries(7):
        assert browser.get(LIST).context["cl"].result_count == 16


# --- who may ------------------------------------------------------------------------------------------


def test_a_viewer_looks_and_an_editor_changes():
    days = [{"date": "2026-05-01", "name": "Labour Day"}]
    calendar = create_calendar(name="off", namespace="ours", dates=days)
    viewer, editor = browser_with(("viewer", "ours")), browser_with(("editor", "ours"))
    shown = viewer.get(page(calendar))
    assert "2026-05-01 Labour Day" in shown.content.decode()
    assert len(shown.context["months"]) == 12
    assert not shown.context["has_change_permission"]
    assert viewer.post(page(calendar), {"name": "mine"}).status_code == 403
    assert viewer.post(page(calendar, "delete"), {"post": "yes"}).status_code == 403
    assert viewer.post(page(calendar, "year_change"), {}).status_code == 403
    assert (
        editor.post(page(calendar), form_values(editor.get(page(calendar))) | {"name": "new"}).status_code
        == 302
    )
    assert Calendar.objects.get().name == "new"


def test_a_calendar_in_a_namespace_without_the_role_is_refused_at_the_field():
    editor = browser_with(("editor", "ours"))
    response = editor.post(ADD, form_for(editor, namespace="theirs"))
    assert "role in this namespace" in str(response.context["adminform"].form.errors["namespace"])
    assert not Calendar.objects.exists()


def test_a_stranger_finds_no_calendar():
    calendar = create_calendar(name="off", namespace="ours")
    stranger = browser_with(("admin", "theirs"))
    for name in ("change", "delete", "history"):
        assert stranger.get(page(calendar, name)).status_code == 302
    assert stranger.post(page(calendar, "year_change"), {}).status_code == 302
    assert stranger.get(LIST).context["cl"].result_count == 0


def test_its_page_leads_to_the_list_of_its_schedules(browser):
    calendar = create_calendar(name="off")
    schedule = factories.schedule(calendar=calendar)
    factories.schedule()
    url = f"{reverse('admin:scheduling_schedule_changelist')}?calendar__id__exact={calendar.pk}"
    assert url in browser.get(page(calendar)).content.decode()
    assert list(browser.get(url).context["cl"].result_list) == [schedule]
