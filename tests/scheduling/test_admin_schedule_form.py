"""The form of a schedule has all that there is to say about time, and shows what would come of it."""

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from scheduling.models import Schedule, Task
from scheduling.services.calendars import create_calendar, freeze
from tests import factories
from tests.admin_client import browser_with, client_of, form_values

pytestmark = pytest.mark.django_db
ADD = reverse("admin:scheduling_schedule_add")
PREVIEW = reverse("admin:scheduling_schedule_preview")
CHINESE = {"accept-language": "zh-hans"}


def page(schedule):
    return reverse("admin:scheduling_schedule_change", args=[schedule.pk])


def preview_of(schedule):
    return reverse("admin:scheduling_schedule_preview_change", args=[schedule.pk])


@pytest.fixture
def browser():
    return client_of(superuser=True)


def form_for(browser, job=None, **changes):
    job = job or factories.job()
    return form_values(browser.get(f"{ADD}?job={job.pk}")) | {"kind": "cron"} | changes


def test_the_form_stores_all_that_rest_does(browser):
    calendar = create_calendar(name="holidays", country="DE")
    values = form_for(
        browser,
        cron_expression="30 2 * * *\r\nMon..Fri 09:00\r\nRRULE:FREQ=MONTHLY;BYDAY=-1FR",
        timezone="Europe/Berlin",
        dst_gap="skip",
        dst_overlap="both",
        calendar=calendar.pk,
        calendar_policy="next_day",
        parameters='{"day": "{{ business_date }}"}',
        catch_up_secs="3600",
        pause_after_failures="3",
        start_time_0="2026-01-01",
        start_time_1="00:00:00",
    )
    assert browser.post(ADD, values).status_code == 302
    stored = Schedule.objects.get()
    assert stored.cron_expression == "30 2 * * *\nMon..Fri 09:00\nRRULE:FREQ=MONTHLY;BYDAY=-1FR"
    assert (stored.dst_gap, stored.dst_overlap, stored.calendar_policy) == ("skip", "both", "next_day")
    assert (stored.calendar, stored.parameters) == (calendar, {"day": "{{ business_date }}"})
    assert (stored.catch_up_secs, stored.pause_after_failures) == (3600, 3)


def test_what_is_left_empty_is_null_as_by_rest(browser):
    browser.post(ADD, form_for(browser, kind="interval", interval_secs="60", interval_mode="delay"))
    stored = Schedule.objects.get()
    assert (stored.interval_mode, stored.cron_expression) == ("delay", None)
    assert (stored.dst_gap, stored.dst_overlap, stored.calendar, stored.catch_up_secs) == (None,) * 4
    assert stored.parameters == {}


def test_saving_the_form_as_it_stands_changes_nothing(browser):
    schedule = factories.schedule(
        now=timezone.now(),
        kind="cron",
        cron_expression="0 3 * * *\n0 4 * * *",
        parameters={"a": "{{ date }}"},
        dst_gap="skip",
        calendar=create_calendar(name="holidays", country="DE"),
    )
    before = Schedule.objects.values().get()
    assert browser.post(page(schedule), form_values(browser.get(page(schedule)))).status_code == 302
    assert Schedule.objects.values().get() == before


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"cron_expression": "0 61 * * *"}, "cron_expression", "an example that works"),
        ({"cron_expression": "0 3 * * *\n0 4 * *"}, "cron_expression", "line 2"),
        ({"cron_expression": "0 3 * * *", "parameters": '{"a": "{{ nonsense }}"}'}, "parameters", "example"),
        ({"cron_expression": "0 3 * * *", "parameters": "[1]"}, "parameters", "JSON object"),
        ({"cron_expression": "0 3 * * *", "pause_after_failures": "0"}, "pause_after_failures", "1"),
        ({"cron_expression": "0 3 * * *", "dst_gap": "jump"}, "dst_gap", "jump"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_when_saved_and_before(browser, changes, field, says):
    values = form_for(browser, **changes)
    errors = browser.post(ADD, values).context["adminform"].form.errors
    assert says in str(errors[field])
    problems = browser.post(PREVIEW, values).context["problems"]
    assert [problem["field"] for problem in problems] == [field]
    assert says in problems[0]["text"]
    assert not Schedule.objects.exists()


def test_a_calendar_of_another_namespace_is_refused_at_its_field(browser):
    foreign = create_calendar(name="holidays", namespace="elsewhere")
    values = form_for(browser, cron_expression="0 3 * * *", calendar=foreign.pk)
    assert "another namespace" in str(browser.post(ADD, values).context["adminform"].form.errors["calendar"])


def test_the_preview_stores_nothing_and_follows_the_form(browser):
    schedule = factories.schedule(now=timezone.now(), kind="cron", cron_expression="0 3 * * *")
    before = Schedule.objects.values().get()
    values = form_values(browser.get(page(schedule))) | {
        "cron_expression": "30 2 * * *",
        "timezone": "Asia/Shanghai",
    }
    context = browser.post(preview_of(schedule), values).context
    assert context["rule"] == "every day at 02:30 (Asia/Shanghai)"
    assert all("02:30:00 +0800</time> Asia/Shanghai" in each["local"] for each in context["instants"])
    assert Schedule.objects.values().get() == before
    assert not Task.objects.exists()


def test_an_untouched_form_is_not_scolded(browser):
    response = browser.post(PREVIEW, form_for(browser))
    assert "problems" not in response.context
    assert "the next runs stand here" in response.content.decode()


def test_the_preview_tells_what_the_clocks_do(browser):
    values = form_for(
        browser,
        cron_expression="30 2 * * *",
        timezone="Europe/Berlin",
        dst_overlap="both",
        start_time_0="2030-10-26",
        start_time_1="12:00:00",
    )
    notes = [each["note"] for each in browser.post(PREVIEW, values).context["instants"][:3]]
    assert notes[0].endswith("this local time comes twice; this is the first")
    assert notes[1:] == [
        "before it the clocks go back by 60 minutes; this local time comes twice; this is the second",
        "",
    ]


def test_the_preview_tells_what_calendar_and_freeze_do_in_the_language_of_the_reader(browser):
    job = factories.job()
    calendar = create_calendar(name="off", dates=[{"date": "2030-05-01", "name": "Labour Day"}])
    values = form_for(
        browser,
        job,
        cron_expression="0 9 * * 3",
        calendar=calendar.pk,
        start_time_0="2030-05-01",
        start_time_1="00:00:00",
    )
    skipped = browser.post(PREVIEW, values).context["instants"][0]
    assert (skipped["runs"], skipped["fate"]) == (False, "skipped: day off: Labour Day")
    moved = browser.post(PREVIEW, values | {"calendar_policy": "next_day"}, headers=CHINESE).context
    assert ">2030-05-02 09:00:00</time>：" in moved["instants"][0]["fate"]
    assert moved["instants"][0]["fate"].startswith("改到 <time")
    freeze(namespace="default", now=timezone.now())
    frozen = browser.post(PREVIEW, values).context["instants"]
    assert {each["fate"] for each in frozen} == {"skipped: the namespace is frozen"}


def test_the_preview_shows_the_parameters_of_the_first_run(browser):
    values = form_for(browser, cron_expression="0 9 * * 1", parameters='{"day": "{{ business_date }}"}')
    context = browser.post(PREVIEW, values).context
    assert re.search(r">([\d-]{10}) ", context["instants"][0]["at"])[1] in context["parameters"]


def test_a_disabled_schedule_says_that_these_are_runs_it_would_have(browser):
    schedule = factories.schedule(now=timezone.now())
    browser.post(reverse("admin:scheduling_schedule_disable", args=[schedule.pk]))
    context = browser.get(page(schedule)).context
    assert len(context["instants"]) == 10
    assert "disabled" in context["remarks"][0]


def test_who_may_not_save_gets_no_preview_of_a_form():
    job = factories.job(namespace="ours")
    schedule = factories.schedule(job=job, now=timezone.now())
    viewer, stranger = browser_with(("viewer", "ours")), browser_with(("editor", "theirs"))
    assert viewer.post(PREVIEW, {}).status_code == 403
    assert viewer.post(preview_of(schedule), {}).status_code == 403
    assert viewer.get(page(schedule)).context["live_url"] == ""
    assert stranger.post(preview_of(schedule), {}).status_code == 302
    assert browser_with(("editor", "ours")).post(preview_of(schedule), {"kind": "cron"}).status_code == 200


def test_the_form_offers_only_calendars_that_one_sees():
    ours = create_calendar(name="ours", namespace="ours")
    create_calendar(name="theirs", namespace="theirs")
    form = browser_with(("editor", "ours")).get(ADD).context["adminform"].form
    assert list(form.fields["calendar"].queryset) == [ours]


def test_who_may_only_look_sees_what_holds_and_no_condition_of_a_form():
    job = factories.job(namespace="ours")
    schedule = factories.schedule(
        job=job, now=timezone.now(), kind="cron", cron_expression="0 3 * * *\n0 4 * * *", dst_gap="skip"
    )
    content = browser_with(("viewer", "ours")).get(page(schedule)).content.decode()
    assert "0 3 * * *\n0 4 * * *" in content
    assert "skip the run" in content
    assert 'x-show="kind' not in content
