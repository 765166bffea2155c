from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from scheduling.admin import words
from scheduling.models import Schedule, Task
from scheduling.services.planning import run_once
from tests import factories
from tests.admin_client import client_of, form_values

pytestmark = pytest.mark.django_db
CHRISTMAS = "once, at 2026-12-24 18:00:00 UTC"
LIST = reverse("admin:scheduling_schedule_changelist")
ADD = reverse("admin:scheduling_schedule_add")


def page(schedule):
    return reverse("admin:scheduling_schedule_change", args=[schedule.pk])


@pytest.fixture
def browser():
    return client_of(superuser=True)


def test_the_add_form_creates_a_planned_schedule(browser):
    job = factories.job()
    values = form_values(browser.get(f"{ADD}?job={job.pk}")) | {
        "kind": "cron",
        "cron_expression": "30 2 * * *",
        "timezone": "Europe/Berlin",
    }
    assert browser.post(ADD, values).status_code == 302
    schedule = Schedule.objects.get()
    assert (schedule.job, schedule.timezone) == (job, "Europe/Berlin")
    assert schedule.next_run_at > timezone.now()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "cron", "cron_expression": "0 0 30 2 *"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": ""}, "cron_expression"),
        ({"kind": "interval", "interval_secs": "-5"}, "interval_secs"),
        ({"kind": "interval", "interval_secs": ""}, "interval_secs"),
        ({"kind": "interval", "interval_secs": "5", "timezone": "Mars/Olympus"}, "timezone"),
        ({"kind": "once"}, "start_time"),
        ({"kind": "daemon"}, "kind"),
        ({"kind": "interval", "interval_secs": "5", "max_count": "0"}, "max_count"),
    ],
)
def test_a_rule_that_is_not_sound_is_refused_at_its_field(browser, changes, field):
    values = form_values(browser.get(f"{ADD}?job={factories.job().pk}")) | changes
    response = browser.post(ADD, values)
    assert response.status_code == 200
    assert field in response.context["adminform"].form.errors
    assert not Schedule.objects.exists()


def test_changing_the_rule_withdraws_what_was_planned_by_the_old_one(browser):
    schedule = factories.schedule(now=timezone.now(), interval_secs=3, kind="interval")
    run_once(now=timezone.now(), horizon_secs=15, catch_up_secs=60)
    assert Task.objects.exists()
    values = form_values(browser.get(page(schedule))) | {"interval_secs": "3600"}
    browser.post(page(schedule), values)
    schedule.refresh_from_db()
    assert schedule.interval_secs == 3600
    assert not Task.objects.filter(scheduled_at__gt=timezone.now() + timedelta(seconds=1)).exists()


def test_the_page_writes_out_the_next_ten_instants_for_the_reader_and_in_its_zone(browser):
    schedule = factories.schedule(kind="cron", cron_expression="30 2 * * *", timezone="Asia/Shanghai")
    instants = browser.get(page(schedule)).context["instants"]
    assert len(instants) == 10
    assert "18:30:00</time>" in instants[0]["at"]
    assert "02:30:00 +0800</time> Asia/Shanghai" in instants[0]["local"]


def test_an_expired_schedule_plans_nothing_and_says_so(browser):
    schedule = factories.schedule(kind="once", start_time=factories.NOW)
    run_once(now=factories.NOW, horizon_secs=15, catch_up_secs=60)
    assert b"No run is planned" in browser.get(page(schedule)).content


def test_disabling_and_enabling_go_through_the_service(browser):
    schedule = factories.schedule(now=timezone.now())
    browser.post(reverse("admin:scheduling_schedule_disable", args=[schedule.pk]))
    schedule.refresh_from_db()
    assert (schedule.status, schedule.next_run_at) == ("disabled", None)
    browser.post(reverse("admin:scheduling_schedule_enable", args=[schedule.pk]))
    schedule.refresh_from_db()
    assert schedule.status == "enabled"
    assert schedule.next_run_at is not None


def test_deleting_a_schedule_keeps_the_tasks_that_it_planned(browser):
    schedule = factories.schedule(kind="interval", interval_secs=5)
    run_once(now=factories.NOW + timedelta(minutes=1), horizon_secs=0, catch_up_secs=3600)
    planned = Task.objects.count()
    browser.post(reverse("admin:scheduling_schedule_delete", args=[schedule.pk]), {"post": "yes"})
    assert not Schedule.objects.present().exists()
    assert Task.objects.count() == planned > 0


def test_the_list_takes_as_many_queries_for_thirty_schedules_as_for_one(browser, django_assert_num_queries):
    factories.schedule()
    browser.get(LIST)
    with django_assert_num_queries(8):
        browser.get(LIST)
    for _ in range(29):
        factories.schedule()
    with django_assert_num_queries(8):
        assert browser.get(LIST).context["cl"].result_count == 30


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "interval", "interval_secs": 5}, "every 5 seconds"),
        ({"kind": "interval", "interval_secs": 60}, "every minute"),
        ({"kind": "interval", "interval_secs": 7200}, "every 2 hours"),
        ({"kind": "interval", "interval_secs": 90}, "every 90 seconds"),
        (
            {"kind": "once", "start_time": datetime(2026, 12, 24, 18, tzinfo=UTC)},
            CHRISTMAS,
        ),
        ({"kind": "cron", "cron_expression": "*/5 * * * *"}, "every 5 minutes"),
        ({"kind": "cron", "cron_expression": "@hourly"}, "every hour at minute 0"),
        ({"kind": "cron", "cron_expression": "30 2 * * 1-5"}, "on weekdays at 02:30"),
        ({"kind": "cron", "cron_expression": "0 9 * * 7"}, "every Sunday at 09:00"),
        ({"kind": "cron", "cron_expression": "0 0 1 * *"}, "on day 1 of every month at 00:00"),
        ({"kind": "cron", "cron_expression": "0 12 * 6 *"}, "at 12:00, only in June"),
    ],
)
def test_rules_read_as_words(fields, expected):
    assert words.rule(Schedule(timezone="UTC", **fields)) == expected


def test_who_may_only_look_sees_the_schedule_and_can_change_nothing():
    schedule = factories.schedule(now=timezone.now())
    browser = client_of("scheduling.view_schedule")
    response = browser.get(page(schedule))
    assert response.status_code == 200
    assert response.context["buttons"] == []
    assert browser.post(page(schedule), {"kind": "once"}).status_code == 403
    assert browser.post(reverse("admin:scheduling_schedule_disable", args=[schedule.pk])).status_code == 403


def test_only_what_was_changed_in_the_form_is_written(browser):
    schedule = factories.schedule(
        now=timezone.now(), start_time=factories.NOW, kind="interval", interval_secs=60
    )
    values = form_values(browser.get(page(schedule))) | {"jitter_secs": "3"}
    Schedule.objects.filter(pk=schedule.pk).update(name="by somebody else")
    browser.post(page(schedule), values)
    schedule.refresh_from_db()
    assert (schedule.name, schedule.jitter_secs) == ("by somebody else", 3)
    assert (schedule.start_time, schedule.interval_secs) == (factories.NOW, 60)


def test_the_last_run_in_the_list_is_one_that_was_and_none_that_is_planned(browser):
    now = timezone.now()
    schedule = factories.schedule(now=now - timedelta(seconds=61), kind="interval", interval_secs=60)
    run_once(now=now, horizon_secs=300, catch_up_secs=86_400)
    schedule.refresh_from_db()
    assert schedule.last_run_at > now + timedelta(minutes=1)
    (row,) = browser.get(LIST).context["cl"].result_list
    assert now - timedelta(seconds=61) < row.last_instant <= now
    Task.objects.filter(schedule=schedule, scheduled_at__lte=now).delete()
    (row,) = browser.get(LIST).context["cl"].result_list
    assert row.last_instant is None
