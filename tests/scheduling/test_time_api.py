"""REST of calendars, freezes, alerts, ledgers and explanations."""

from datetime import timedelta

import pytest

from scheduling.clock import database_now
from scheduling.models import Alert, Freeze, Schedule
from scheduling.services import planning
from tests import factories

pytestmark = pytest.mark.django_db
URL = "/api/v1"
OFFICE = {
    "name": "office",
    "country": "CN",
    "windows": [{"weekdays": [1, 2], "from": "09:00", "to": "18:00"}],
}


def attrs(response):
    return {error["attr"] for error in response.json()["errors"]}


@pytest.mark.parametrize("path", ["calendars", "calendars/create"])
def test_a_calendar_is_created_changed_and_deleted(api, path):
    created = api.post(f"{URL}/{path}", OFFICE)
    assert created.status_code == 201
    calendar = created.json()
    assert (calendar["namespace"], calendar["country"], calendar["created_by"]) == ("default", "CN", "ann")
    changed = api.patch(f"{URL}/calendars/{calendar['id']}", {"country": "DE", "subdivision": "BY"})
    assert (changed.status_code, changed.json()["subdivision"]) == (200, "BY")
    assert changed.json()["windows"] == OFFICE["windows"]
    assert api.delete(f"{URL}/calendars/{calendar['id']}").status_code == 204
    assert api.get(f"{URL}/calendars").json()["data"] == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"country": "XX"}, {"country"}),
        ({"dates": [{"date": "tomorrow"}]}, {"dates"}),
        ({"windows": 5}, {"windows"}),
        ({"ics": "x"}, {"ics"}),
        ({"ics_dates": []}, {"ics_dates"}),
        ({"colour": "red"}, {"colour"}),
    ],
)
def test_a_bad_calendar_is_a_400_by_field(api, body, fields):
    response = api.post(f"{URL}/calendars", {"name": "office", **body})
    assert (response.status_code, attrs(response)) == (400, fields)


def test_a_calendar_in_use_is_a_409(api):
    calendar = api.post(f"{URL}/calendars", OFFICE).json()
    body = {"job_id": factories.job().pk, "kind": "cron", "cron_expression": "0 9 * * *"}
    schedule = api.post(f"{URL}/schedules", {**body, "calendar_id": calendar["id"]})
    assert (schedule.status_code, schedule.json()["calendar_id"]) == (201, calendar["id"])
    response = api.delete(f"{URL}/calendars/{calendar['id']}")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (409, "in_use")
    api.patch(f"{URL}/schedules/{schedule.json()['id']}", {"calendar_id": None})
    assert api.delete(f"{URL}/calendars/{calendar['id']}").status_code == 204


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("calendar_id", 4711),
        ("calendar_id", "1"),
        ("calendar_policy", "perhaps"),
        ("interval_mode", "perhaps"),
        ("parameters", {"day": "{{ 9 ** 9 ** 9 }}"}),
        ("parameters", []),
        ("pause_after_failures", 0),
        ("catch_up_secs", -1),
    ],
)
def test_what_a_schedule_may_not_say_is_a_400_by_field(api, field, value):
    schedule = factories.schedule()
    response = api.patch(f"{URL}/schedules/{schedule.pk}", {field: value})
    assert (response.status_code, attrs(response)) == (400, {field})


def test_a_namespace_is_frozen_and_thawed(api):
    created = api.post(f"{URL}/freezes", {"namespace": "default", "reason": "release"})
    assert (created.status_code, created.json()["reason"]) == (201, "release")
    assert Freeze.objects.get().created_by == "ann"
    again = api.post(f"{URL}/freezes", {"namespace": "default", "until": "2030-01-01T00:00:00Z"})
    assert (again.status_code, again.json()["id"]) == (201, created.json()["id"])
    assert api.delete(f"{URL}/freezes/{created.json()['id']}").status_code == 204
    assert not Freeze.objects.exists()


def test_an_alert_is_acknowledged_once(api):
    alert = Alert.objects.create(kind="missed", namespace="default", text="3 runs", instants=3)
    first = api.post(f"{URL}/alerts/{alert.pk}/acknowledge").json()
    assert first["acknowledged_by"] == "ann"
    assert api.post(f"{URL}/alerts/{alert.pk}/acknowledge").json() == first
    body = {"filter": {"acknowledged_at": {"is_null": True}}}
    assert api.post(f"{URL}/alerts/query", body).json()["data"] == []


def test_a_ledger_tells_of_a_day_around_now_unless_asked_otherwise(api):
    now = database_now()
    schedule = factories.schedule(now=now - timedelta(hours=30), kind="interval", interval_secs=3600)
    planning.run_once(now=now, horizon_secs=0, catch_up_secs=7 * 86_400.0)
    found = api.get(f"{URL}/schedules/{schedule.pk}/ledger").json()
    assert sum(found["totals"].values()) == 48
    assert found["totals"]["planned"] == 24
    begin = (now - timedelta(hours=40)).strftime("%Y-%m-%dT%H:%M:%SZ")
    cut = api.get(f"{URL}/schedules/{schedule.pk}/ledger?from={begin}&limit=5").json()
    assert (len(cut["entries"]), cut["has_more"]) == (5, True)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("from=yesterday", {"from"}),
        ("limit=0", {"limit"}),
        ("limit=1001", {"limit"}),
        ("since=2026-01-01T00:00:00Z", {"since"}),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", {"to"}),
    ],
)
def test_a_bad_range_of_a_ledger_is_a_400(api, query, fields):
    response = api.get(f"{URL}/schedules/{factories.schedule().pk}/ledger?{query}")
    assert (response.status_code, attrs(response)) == (400, fields)


def test_tasks_and_jobs_explain_themselves(api):
    task = factories.task()
    explained = api.get(f"{URL}/tasks/{task.pk}/explain").json()
    assert (explained["summary"], explained["runs"]) == ("There are 0 agents.", False)
    assert api.get(f"{URL}/jobs/{task.job_id}/explain").json()["checks"][0]["name"] == "job_enabled"
    assert api.get(f"{URL}/tasks/{task.pk + 1}/explain").status_code == 404


def test_a_preview_reads_every_language_and_says_what_clocks_do(api):
    body = {"kind": "cron", "cron_expression": "Mon..Fri 02:30", "timezone": "Europe/Berlin", "count": 3}
    body |= {"after": "2026-10-23T12:00:00Z", "dst_overlap": "second"}
    answer = api.post(f"{URL}/schedules/preview", body)
    assert answer.status_code == 200
    assert answer.json()["fire_times"][0]["utc"] == "2026-10-26T01:30:00.000000Z"
    body["cron_expression"] = "30 2 * * *"
    assert (
        api.post(f"{URL}/schedules/preview", body)
        .json()["fire_times"][1]["utc"]
        .startswith("2026-10-25T01:30")
    )


def test_a_schedule_whose_runs_fail_again_and_again_is_paused_and_tells(api):
    from tests.scheduling.test_lifecycle import begin, fact, report

    agent = factories.agent()
    schedule = factories.schedule(now=factories.NOW - timedelta(seconds=11), pause_after_failures=2)
    planning.run_once(now=factories.NOW, horizon_secs=0, catch_up_secs=3600)
    first, second, *_others = schedule.tasks.order_by("scheduled_at")
    report(begin(first, agent), fact("failed", exit_code=1))
    assert Schedule.objects.get().status == "enabled"
    report(begin(second, agent), fact("failed", exit_code=1))
    paused = Schedule.objects.get()
    assert (paused.status, paused.problem) == ("disabled", "paused after 2 failures in a row")
    assert Alert.objects.get().kind == "paused"
    assert api.post(f"{URL}/schedules/{schedule.pk}/enable").json()["status"] == "enabled"
