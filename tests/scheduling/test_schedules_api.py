from datetime import timedelta

import pytest

from scheduling.models import Schedule, Task
from scheduling.services import planning
from tests import factories
from tests.factories import NOW

URL = "/api/v1/schedules"
FIELDS = [
    "id",
    "job_id",
    "name",
    "description",
    "kind",
    "cron_expression",
    "interval_secs",
    "timezone",
    "start_time",
    "end_time",
    "max_count",
    "run_count",
    "missed_count",
    "jitter_secs",
    "dst_gap",
    "dst_overlap",
    "interval_mode",
    "calendar_id",
    "calendar_policy",
    "parameters",
    "pause_after_failures",
    "catch_up_secs",
    "status",
    "next_run_at",
    "last_run_at",
    "created_at",
    "updated_at",
]
CRON = {"kind": "cron", "cron_expression": "30 2 * * 1-5", "timezone": "Asia/Shanghai"}


def attrs(response):
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


@pytest.mark.parametrize("path", [URL, f"{URL}/create"])
def test_a_schedule_is_created_and_knows_its_next_run(api, path):
    job = factories.job()
    response = api.post(path, {"job_id": job.pk, **CRON, "jitter_secs": 3, "max_count": 5})
    assert response.status_code == 201
    schedule = response.json()
    assert list(schedule) == FIELDS
    assert (schedule["job_id"], schedule["status"], schedule["run_count"]) == (job.pk, "enabled", 0)
    assert schedule["next_run_at"].endswith("T18:30:00.000000Z")
    assert schedule["interval_secs"] is None
    assert api.get(f"{URL}/{schedule['id']}").json() == schedule


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"timezone": "Mars/Olympus"}, {"timezone"}),
        ({"cron_expression": "0 0 30 2 *"}, {"cron_expression"}),
        ({"cron_expression": "every day"}, {"cron_expression"}),
        ({"cron_expression": "* * * * *; rm"}, {"cron_expression"}),
        ({"cron_expression": "*" * 300}, {"cron_expression"}),
        ({"cron_expression": None}, {"cron_expression"}),
        ({"kind": "interval", "interval_secs": -5}, {"interval_secs"}),
        ({"kind": "interval", "interval_secs": 0}, {"interval_secs"}),
        ({"kind": "interval", "interval_secs": 2**31 - 1}, {"interval_secs"}),
        ({"kind": "interval", "interval_secs": "5"}, {"interval_secs"}),
        ({"kind": "interval", "interval_secs": 1.5}, {"interval_secs"}),
        ({"kind": "interval"}, {"interval_secs"}),
        ({"kind": "once"}, {"start_time"}),
        ({"kind": "hourly"}, {"kind"}),
        ({"kind": "flow"}, {"kind"}),
        ({"job_id": 999_999}, {"job_id"}),
        ({"job_id": 2**80}, {"job_id"}),
        ({"job_id": "1"}, {"job_id"}),
        ({"job_id": None}, {"job_id"}),
        ({"start_time": "2026-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}, {"end_time"}),
        ({"start_time": "yesterday"}, {"start_time"}),
        ({"start_time": 5}, {"start_time"}),
        ({"start_time": "2026-02-30T00:00:00Z"}, {"start_time"}),
        ({"start_time": "2026-02-01T00:00:00"}, {"start_time"}),
        ({"max_count": 0}, {"max_count"}),
        ({"jitter_secs": -1}, {"jitter_secs"}),
        ({"status": "expired"}, {"status"}),
        ({"next_run_at": "2026-02-01T00:00:00Z"}, {"next_run_at"}),
        ({"run_count": 1, "cron": "* * * * *"}, {"run_count", "cron"}),
        (
            {"timezone": "x", "cron_expression": "0 0 30 2 *", "interval_secs": -1, "job_id": 0},
            {"timezone", "cron_expression", "interval_secs", "job_id"},
        ),
    ],
)
def test_a_bad_schedule_has_one_error_for_each_field_and_is_not_made(api, body, expected):
    response = api.post(URL, {"job_id": factories.job().pk, **CRON, **body})
    assert (response.status_code, set(attrs(response))) == (400, expected)
    assert Schedule.objects.count() == 0


@pytest.mark.parametrize(("method", "suffix"), [("post", "/update"), ("patch", "")])
def test_an_update_plans_anew(api, method, suffix):
    schedule = factories.schedule(kind="interval", interval_secs=5)
    change = getattr(api, method)
    changed = change(f"{URL}/{schedule.pk}{suffix}", {**CRON, "interval_secs": None}).json()
    assert (changed["kind"], changed["timezone"]) == ("cron", "Asia/Shanghai")
    assert changed["next_run_at"].endswith("T18:30:00.000000Z")
    response = change(f"{URL}/{schedule.pk}{suffix}", {"job_id": factories.job().pk})
    assert (response.status_code, attrs(response)) == (400, {"job_id": "read_only"})


@pytest.mark.parametrize("body", [{"timezone": "x"}, {"kind": "once"}, {"cron_expression": ""}])
def test_a_bad_update_changes_nothing(api, body):
    schedule = factories.schedule(kind="cron", cron_expression="* * * * *")
    assert api.patch(f"{URL}/{schedule.pk}", {"name": "new", **body}).status_code == 400
    schedule.refresh_from_db()
    assert schedule.name == ""


def test_a_disabled_schedule_plans_nothing_until_it_is_enabled(api):
    schedule = factories.schedule()
    disabled = api.post(f"{URL}/{schedule.pk}/disable").json()
    assert (disabled["status"], disabled["next_run_at"]) == ("disabled", None)
    enabled = api.post(f"{URL}/{schedule.pk}/enable").json()
    assert enabled["status"] == "enabled"
    assert enabled["next_run_at"] is not None


def test_a_schedule_with_no_instant_left_cannot_be_enabled(api):
    schedule = factories.schedule(
        kind="cron", cron_expression="* * * * *", end_time=NOW - timedelta(days=9000)
    )
    response = api.post(f"{URL}/{schedule.pk}/enable")
    assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})
    assert "expired" in response.json()["errors"][0]["detail"]


def test_a_deleted_schedule_is_gone_and_what_it_planned_stays(api):
    schedule = factories.schedule()
    planning.run_once(now=NOW + timedelta(minutes=1), horizon_secs=0, catch_up_secs=3600)
    assert Task.objects.filter(schedule=schedule).exists()
    assert api.delete(f"{URL}/{schedule.pk}").status_code == 204
    for response in (api.get(f"{URL}/{schedule.pk}"), api.delete(f"{URL}/{schedule.pk}")):
        assert response.status_code == 404
    assert api.get(URL).json()["data"] == []
    task = api.get(f"/api/v1/tasks/job/{schedule.job_id}").json()[0]
    assert task["schedule_id"] == schedule.pk


def test_the_schedules_of_a_job_come_as_a_bare_array(api):
    schedule = factories.schedule()
    factories.schedule()
    response = api.get(f"{URL}/job/{schedule.job_id}")
    assert [one["id"] for one in response.json()] == [schedule.pk]
    assert response["X-Total-Count"] == "1"


def test_a_preview_tells_the_next_runs_in_both_clocks_and_saves_nothing(api):
    body = {
        "kind": "cron",
        "cron_expression": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "after": "2026-03-28T00:00:00Z",
        "count": 2,
    }
    preview = api.post(f"{URL}/preview", body).json()
    assert preview["timezone"] == "Europe/Berlin"
    assert preview["fire_times"] == [
        {"utc": "2026-03-28T01:30:00.000000Z", "local": "2026-03-28T02:30:00+01:00", "note": None},
        {
            "utc": "2026-03-29T01:00:00.000000Z",
            "local": "2026-03-29T03:00:00+02:00",
            "note": "The clocks go forward by 60 minutes before this run.",
        },
    ]
    assert len(preview["notes"]) == 1
    assert Schedule.objects.count() == 0


def test_a_preview_names_the_two_passes_of_a_repeated_hour(api):
    body = {
        "kind": "cron",
        "cron_expression": "30 * * * *",
        "timezone": "Europe/Berlin",
        "after": "2026-10-24T23:50:00Z",
        "count": 2,
    }
    first, second = api.post(f"{URL}/preview", body).json()["fire_times"]
    assert first["note"].endswith("this is the first.")
    assert second["note"].endswith("this is the second.")


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "kind"),
        ({"kind": "cron"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": "0 0 30 2 *"}, "cron_expression"),
        ({"kind": "interval", "interval_secs": -1}, "interval_secs"),
        ({"kind": "once"}, "start_time"),
        ({"kind": "daemon"}, "kind"),
        ({"kind": "once", "start_time": "2026-01-01T00:00:00Z", "count": 1000}, "count"),
        ({"kind": "once", "start_time": "2026-01-01T00:00:00Z", "name": "x"}, "name"),
    ],
)
def test_a_preview_of_nonsense_is_a_400(api, body, attr):
    response = api.post(f"{URL}/preview", body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])


def test_a_preview_ends_where_the_schedule_does(api):
    body = {"kind": "interval", "interval_secs": 60, "start_time": "2999-12-31T23:58:00Z"}
    preview = api.post(f"{URL}/preview", {**body, "end_time": "2999-12-31T23:59:59Z"}).json()
    assert len(preview["fire_times"]) == 2
