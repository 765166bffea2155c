"""Pages speak the language and tell the time of their reader, on whatever machine that is."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from access.models import Preference
from hetuflow.preferences import ZONE_COOKIE
from scheduling.models import Schedule
from tests import factories
from tests.admin_client import client_of, form_values

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:preferences")
INDEX = reverse("admin:index")
LATE = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)


@pytest.fixture
def browser():
    return client_of(superuser=True)


def another_machine():
    client = Client()
    client.force_login(User.objects.get(username="root"))
    return client


def task_page():
    task = factories.task(now=LATE)
    return reverse("admin:scheduling_task_change", args=[task.pk])


def text_of(browser, url):
    return browser.get(url).content.decode()


def test_a_choice_holds_on_every_machine_and_before_what_browsers_ask_for(browser):
    browser.post(PAGE, {"language": "zh-hans", "time_zone": "Asia/Shanghai"})
    stored = Preference.objects.get()
    assert (stored.user.username, stored.language, stored.time_zone) == ("root", "zh-hans", "Asia/Shanghai")
    elsewhere = another_machine()
    elsewhere.cookies[ZONE_COOKIE] = "Europe/Berlin"
    page = elsewhere.get(task_page(), headers={"accept-language": "en"}).content.decode()
    assert 'lang="zh-hans"' in page
    assert 'title="2026-03-02 23:30:00.000 UTC">2026-03-03 07:30:00</time>' in page


def test_without_a_choice_the_browser_says_what_it_wants(browser):
    page = task_page()
    assert "2026-03-02 23:30:00</time>" in text_of(browser, page)
    browser.cookies[ZONE_COOKIE] = "Europe/Berlin"
    assert "2026-03-03 00:30:00</time>" in text_of(browser, page)
    assert 'lang="zh-hans"' in browser.get(page, headers={"accept-language": "zh-hans"}).content.decode()


@pytest.mark.parametrize("zone", ["Nowhere/City", "../etc/passwd", "", "\x00"])
def test_a_zone_that_is_none_is_passed_over(browser, zone):
    browser.cookies[ZONE_COOKIE] = zone
    assert "2026-03-02 23:30:00</time>" in text_of(browser, task_page())


@pytest.mark.parametrize("posted", [{"time_zone": "Nowhere/City"}, {"language": "tlh"}])
def test_what_there_is_not_cannot_be_chosen(browser, posted):
    response = browser.post(PAGE, posted)
    assert response.status_code == 200
    assert b"Select a valid choice" in response.content
    assert not Preference.objects.exists()


def test_the_menu_changes_the_language_and_leaves_the_zone(browser):
    browser.post(PAGE, {"language": "en", "time_zone": "Asia/Tokyo"})
    page = "http://testserver/admin/scheduling/job/?q=backup"
    assert browser.post(PAGE, {"language": "zh-hans"}, headers={"referer": page}).url == page
    stored = Preference.objects.get()
    assert (stored.language, stored.time_zone) == ("zh-hans", "Asia/Tokyo")


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_nobody_is_sent_elsewhere(browser, wanted):
    assert browser.post(PAGE, {"language": "en"}, headers={"referer": wanted}).url == PAGE


def test_the_login_page_remembers_the_language(browser):
    browser.post(PAGE, {"language": "zh-hans"})
    browser.post(reverse("admin:logout"))
    assert 'lang="zh-hans"' in text_of(browser, reverse("admin:login"))
    browser.force_login(User.objects.get())
    browser.post(PAGE, {"language": ""})
    assert 'lang="en"' in text_of(browser, INDEX)


def test_one_persons_choice_is_nobody_elses(browser):
    browser.post(PAGE, {"language": "zh-hans", "time_zone": "Asia/Shanghai"})
    assert 'lang="en"' in text_of(client_of("scheduling.view_task"), PAGE)
    assert "2026-03-02 23:30:00</time>" in text_of(client_of_other(), task_page())


def client_of_other():
    other = User.objects.create(username="other", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(other)
    return client


def test_what_is_entered_is_read_in_the_zone_of_who_enters_it(browser):
    schedule = factories.schedule(start_time=LATE)
    browser.post(PAGE, {"time_zone": "Asia/Shanghai"})
    url = reverse("admin:scheduling_schedule_change", args=[schedule.pk])
    page = browser.get(url)
    assert "In your time zone, Asia/Shanghai." in page.content.decode()
    values = form_values(page) | {
        "start_time_0": "2026-03-03",
        "start_time_1": "08:30:00",
        "description": "later",
    }
    browser.post(url, values)
    assert Schedule.objects.get().start_time == datetime(2026, 3, 3, 0, 30, tzinfo=UTC)


def test_rest_tells_everybody_utc(browser):
    browser.post(PAGE, {"language": "zh-hans", "time_zone": "Asia/Shanghai"})
    factories.task(now=LATE)
    answer = browser.get("/api/v1/tasks", headers={"accept": "application/json"}).json()
    assert answer["data"][0]["scheduled_at"] == "2026-03-02T23:30:00.000000Z"


@pytest.mark.parametrize("name", ["overview", "find"])
def test_parts_of_pages_follow_their_reader_as_pages_do(browser, name):
    browser.post(PAGE, {"language": "zh-hans", "time_zone": "Asia/Shanghai"})
    response = another_machine().get(reverse(name), headers={"accept-language": "en"})
    assert response["Content-Language"] == "zh-hans"


def test_what_one_request_speaks_is_not_left_to_the_next(browser):
    browser.post(PAGE, {"language": "zh-hans", "time_zone": "Asia/Shanghai"})
    assert browser.get(PAGE)["Content-Language"] == "zh-hans"
    assert (get_language(), get_current_timezone_name()) == ("en", "UTC")


def test_nobody_chooses_without_being_logged_in():
    assert Client().get(PAGE).status_code == 302
    assert Client().post(PAGE, {"language": "en"}).status_code == 302
    assert not Preference.objects.exists()


def test_preferences_cost_no_query(browser, django_assert_num_queries):
    with django_assert_num_queries(2):  # the session, and the user with what they chose
        browser.get(reverse("admin:jsi18n"))
    browser.post(PAGE, {"language": "zh-hans", "time_zone": "Asia/Shanghai"})
    with django_assert_num_queries(2):
        browser.get(reverse("admin:jsi18n"))
