"""`/api/v1/schedules`"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import until
from tests.conformance.objects import FAR, ended, fresh, make_job, make_schedule

FIRE_TIME = {"utc": kinds.instant, "local": kinds.text, "note": kinds.or_null(kinds.text)}
PREVIEW = {
    "kind": kinds.text,
    "timezone": kinds.text,
    "description": kinds.text,
    "fire_times": kinds.list_of,
    "notes": kinds.strings,
}


def soon(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


@covers("schedules.entity", "schedules.routes", "create", "read")
def test_a_schedule_is_created_with_everything_that_it_can_have(api: Client) -> None:
    body = {
        "job_id": make_job(api)["id"],
        "name": fresh("schedule"),
        "description": "at night",
        "kind": "cron",
        "cron_expression": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "start_time": "2089-01-01T00:00:00.000000Z",
        "end_time": FAR,
        "max_count": 5,
        "jitter_secs": 3,
        "status": "disabled",
    }
    schedule = api.create("/schedules/create", body)
    shapes.check(shapes.SCHEDULE, schedule)
    assert {name: schedule[name] for name in body} == body
    assert (schedule["run_count"], schedule["last_run_at"], schedule["next_run_at"]) == (0, None, None)
    assert api.get(f"/schedules/{schedule['id']}") == schedule


@covers("schedules.kinds", "schedules.status")
@pytest.mark.parametrize(
    ("rule", "next_run"),
    [
        ({"kind": "cron", "cron_expression": "0 0 1 1 *"}, None),
        ({"kind": "interval", "interval_secs": 31_000_000}, None),
        ({"kind": "once", "start_time": FAR}, FAR),
    ],
    ids=str,
)
def test_each_kind_of_schedule_says_when_it_runs_next(
    api: Client, rule: dict[str, Any], next_run: str | None
) -> None:
    schedule = make_schedule(api, **rule)
    shapes.check(shapes.SCHEDULE, schedule)
    assert {name: schedule[name] for name in rule} == rule
    assert schedule["status"] == "enabled"
    assert schedule["timezone"] == "UTC"
    assert schedule["next_run_at"] > schedule["created_at"]
    assert schedule["next_run_at"] == (next_run or schedule["next_run_at"])


@covers("schedules.kinds", "query-operators")
def test_all_kinds_and_statuses_of_the_page_are_known_to_queries(api: Client) -> None:
    schedule = make_schedule(api)
    for kind in kinds.SCHEDULE_KINDS:
        found = api.post("/schedules/query", {"filter": {"kind": kind, "id": schedule["id"]}})["data"]
        assert bool(found) == (kind == "cron")
    for status in kinds.SCHEDULE_STATUSES:
        found = api.post("/schedules/query", {"filter": {"status": status, "id": schedule["id"]}})["data"]
        assert bool(found) == (status == "enabled")


@covers("bad-input")
@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "kind"),
        ({"kind": "hourly"}, "kind"),
        ({"kind": "cron"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": "* * *"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": "0 0 30 2 *"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": "0 0 1 1 *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"kind": "interval"}, "interval_secs"),
        ({"kind": "interval", "interval_secs": 0}, "interval_secs"),
        ({"kind": "interval", "interval_secs": "5"}, "interval_secs"),
        ({"kind": "once"}, "start_time"),
        ({"kind": "once", "start_time": FAR, "max_count": 0}, "max_count"),
        ({"kind": "once", "start_time": FAR, "jitter_secs": -1}, "jitter_secs"),
        ({"kind": "once", "start_time": FAR, "status": "expired"}, "status"),
        ({"kind": "once", "start_time": FAR, "next_run_at": FAR}, "next_run_at"),
        ({"kind": "once", "start_time": FAR, "run_count": 1}, "run_count"),
        (
            {"kind": "interval", "interval_secs": 60, "start_time": FAR, "end_time": "2088-01-01T00:00:00Z"},
            "end_time",
        ),
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused(api: Client, body: dict[str, Any], at: str) -> None:
    refused = api.refuse(400, "POST", "/schedules/create", {"job_id": make_job(api)["id"], **body})
    assert set(refused) == set(at.split())


@covers("bad-input")
@pytest.mark.parametrize("job_id", [None, "1", 999_999_999, -1, 1.5])
def test_a_schedule_needs_a_job_that_is_there(api: Client, job_id: Any) -> None:
    body = {"job_id": job_id, "kind": "once", "start_time": FAR}
    assert list(api.refuse(400, "POST", "/schedules", body)) == ["job_id"]


@covers("schedules.routes", "partial", "read")
@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"description": "other"},
        {"timezone": "Asia/Shanghai"},
        {"cron_expression": "0 12 1 6 *"},
        {"start_time": "2089-01-01T00:00:00.000000Z"},
        {"end_time": FAR},
        {"max_count": 9},
        {"jitter_secs": 7},
        {"kind": "interval", "interval_secs": 31_000_000},
    ],
    ids=str,
)
def test_each_field_of_a_schedule_can_be_changed_alone(api: Client, change: dict[str, Any]) -> None:
    schedule = make_schedule(api, kind="cron", cron_expression="0 0 1 1 *")
    changed = api.post(f"/schedules/{schedule['id']}/update", change)
    moving = {name: changed[name] for name in ("updated_at", "next_run_at")}
    assert changed == {**schedule, **change, **moving}
    assert changed["updated_at"] > schedule["updated_at"]


@covers("schedules.routes", "schedules.status")
def test_a_schedule_is_disabled_and_enabled(api: Client) -> None:
    schedule = make_schedule(api)
    for _ in range(2):
        disabled = api.post(f"/schedules/{schedule['id']}/disable")
        assert (disabled["status"], disabled["next_run_at"]) == ("disabled", None)
    for _ in range(2):
        enabled = api.post(f"/schedules/{schedule['id']}/enable", {})
        assert (enabled["status"], enabled["next_run_at"]) == ("enabled", schedule["next_run_at"])


@covers("schedules.routes", "delete")
def test_a_schedule_is_deleted(api: Client) -> None:
    schedule = make_schedule(api)
    api.delete(f"/schedules/{schedule['id']}")
    path = f"/schedules/{schedule['id']}"
    for method, below in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/update"),
        ("POST", "/enable"),
        ("POST", "/disable"),
    ):
        assert api.why(404, method, path + below, {} if method in ("POST", "PATCH") else None)
    assert api.get(f"/schedules/job/{schedule['job_id']}") == []


@covers("schedules.fires", "schedules.status", "tasks.unique", "archive", "invalid-state")
def test_a_schedule_plans_a_task_for_each_of_its_instants(api: Client) -> None:
    job = make_job(api)
    begin = datetime.now(UTC) + timedelta(seconds=1)
    rule = {"start_time": begin.isoformat(), "max_count": 2}
    schedule = make_schedule(api, job, kind="interval", interval_secs=1, **rule)

    def look() -> Any:
        found = api.get(f"/schedules/{schedule['id']}")
        return found if found["status"] == "expired" else None

    expired = until(look, "the schedule has no instant left")
    tasks = api.post("/tasks/query", {"filter": {"schedule_id": schedule["id"]}})["data"]
    instants = [task["scheduled_at"] for task in tasks]
    assert len(instants) == len(set(instants)) == expired["run_count"] == 2
    assert (expired["next_run_at"], expired["last_run_at"]) == (None, max(instants))
    for task in tasks:
        shapes.check(shapes.TASK, task)
        assert (task["schedule_id"], task["schedule_kind"]) == (schedule["id"], "interval")
        assert ended(api, task)["status"] == "completed"
    code, why = api.why(409, "POST", f"/schedules/{schedule['id']}/enable")
    assert (code, "expired" in why) == ("invalid_state", True)
    # What it planned stays readable when it is gone.
    api.delete(f"/schedules/{schedule['id']}")
    assert api.get(f"/schedules?id={schedule['id']}")["data"] == []
    assert api.get(f"/tasks/{tasks[0]['id']}")["schedule_id"] == schedule["id"]


# --- preview --------------------------------------------------------------------------------------------


@covers("schedules.preview", "times")
@pytest.mark.parametrize(
    ("after", "expected", "notes"),
    [
        (
            "2026-03-28T00:00:00Z",
            [
                ("2026-03-28T01:30:00.000000Z", "2026-03-28T02:30:00+01:00"),
                ("2026-03-29T01:00:00.000000Z", "2026-03-29T03:00:00+02:00"),
                ("2026-03-30T00:30:00.000000Z", "2026-03-30T02:30:00+02:00"),
            ],
            "forward",
        ),
        (
            "2026-10-24T12:00:00Z",
            [
                ("2026-10-25T00:30:00.000000Z", "2026-10-25T02:30:00+02:00"),
                ("2026-10-26T01:30:00.000000Z", "2026-10-26T02:30:00+01:00"),
                ("2026-10-27T01:30:00.000000Z", "2026-10-27T02:30:00+01:00"),
            ],
            "twice",
        ),
    ],
)
def test_a_preview_tells_the_next_times_in_utc_and_in_the_zone_and_what_the_clocks_do(
    api: Client, after: str, expected: list[tuple[str, str]], notes: str
) -> None:
    rule = {"kind": "cron", "cron_expression": "30 2 * * *", "timezone": "Europe/Berlin"}
    answer = api.post("/schedules/preview", {**rule, "count": 3, "after": after})
    shapes.check(PREVIEW, answer)
    for time in answer["fire_times"]:
        shapes.check(FIRE_TIME, time)
    assert [(time["utc"], time["local"]) for time in answer["fire_times"]] == expected
    assert any(notes in note for note in answer["notes"])


@covers("schedules.preview")
@pytest.mark.parametrize(
    ("rule", "count"),
    [
        ({"kind": "cron", "cron_expression": "* * * * *"}, 10),
        ({"kind": "interval", "interval_secs": 60}, 10),
        ({"kind": "interval", "interval_secs": 60, "count": 1}, 1),
        ({"kind": "once", "start_time": FAR}, 1),
        ({"kind": "once", "start_time": "2020-01-01T00:00:00Z"}, 0),
        ({"kind": "cron", "cron_expression": "0 0 * * *", "end_time": "2020-01-01T00:00:00Z"}, 0),
    ],
    ids=str,
)
def test_a_preview_knows_every_kind_and_saves_nothing(api: Client, rule: dict[str, Any], count: int) -> None:
    before = api.get("/schedules?limit=1")["page"]["total"]
    answer = api.post("/schedules/preview", rule)
    shapes.check(PREVIEW, answer)
    assert len(answer["fire_times"]) == count
    times = [time["utc"] for time in answer["fire_times"]]
    assert times == sorted(set(times))
    assert all(time > soon() for time in times)
    assert api.get("/schedules?limit=1")["page"]["total"] == before


@covers("schedules.preview", "bad-input")
@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "kind"),
        ({"kind": "cron"}, "cron_expression"),
        ({"kind": "cron", "cron_expression": "61 * * * *"}, "cron_expression"),
        ({"kind": "interval", "interval_secs": 60, "count": 0}, "count"),
        ({"kind": "interval", "interval_secs": 60, "count": 100_000}, "count"),
        ({"kind": "interval", "interval_secs": 60, "after": "now", "job_id": 1}, "after job_id"),
    ],
    ids=str,
)
def test_a_preview_of_nonsense_is_refused(api: Client, body: dict[str, Any], at: str) -> None:
    assert set(api.refuse(400, "POST", "/schedules/preview", body)) == set(at.split())
