"""`/api/v1/jobs`"""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conformance import shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import PERSON, Agent
from tests.conformance.objects import FAR, config, fresh, make_job, make_schedule, run


@covers("jobs.entity", "jobs.routes", "create", "read")
def test_a_job_is_created_with_everything_that_it_can_have(api: Client) -> None:
    body = {
        "namespace": fresh("space"),
        "name": fresh("job"),
        "description": "says hello",
        "command": "echo hello",
        "environment": {"GREETING": "hello"},
        "config": {"cmd": "bash", "timeout_secs": 60},
        "parameters_schema": {"type": "object", "properties": {"day": {"type": "string"}}},
        "enabled": False,
        "tags": ["nightly", "hello"],
    }
    job = api.create("/jobs/create", body)
    shapes.check(shapes.JOB, job)
    assert {name: job[name] for name in body if name != "config"} == {
        name: value for name, value in body.items() if name != "config"
    }
    assert (job["config"]["cmd"], job["config"]["timeout_secs"]) == ("bash", 60)
    assert job["created_by"] == job["updated_by"] == PERSON
    assert job["updated_at"] >= job["created_at"]
    assert api.get(f"/jobs/{job['id']}") == job


@covers("jobs.entity")
def test_a_job_needs_only_a_name_and_a_command(api: Client) -> None:
    job = api.create("/jobs/create", {"name": fresh("job"), "config": {"cmd": "sh"}})
    assert (job["namespace"], job["description"], job["command"]) == ("default", "", "")
    assert (job["environment"], job["enabled"], job["tags"]) == ({}, True, [])
    assert set(api.refuse(400, "POST", "/jobs/create", {})) == {"name", "config"}


@covers("jobs.routes", "partial", "read")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("namespace", "elsewhere"),
        ("name", "another name"),
        ("description", "other"),
        ("command", "echo other"),
        ("environment", {"OTHER": "1"}),
        ("parameters_schema", {"type": "object"}),
        ("enabled", False),
        ("tags", ["other"]),
    ],
)
def test_each_field_of_a_job_can_be_changed_alone(api: Client, name: str, value: Any) -> None:
    job = make_job(api, description="first", environment={"A": "1"}, tags=["a"])
    changed = api.post(f"/jobs/{job['id']}/update", {name: value})
    assert changed == {**job, name: value, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > job["updated_at"]


@covers("jobs.unique")
def test_a_name_is_taken_once_in_each_namespace(api: Client) -> None:
    job = make_job(api)
    taken = {"name": job["name"], "config": config()}
    for path in ("/jobs", "/jobs/create"):
        assert api.why(409, "POST", path, taken)[0] == "already_exists"
    elsewhere = api.create("/jobs", {**taken, "namespace": fresh("space")})
    assert elsewhere["name"] == job["name"]
    moved = {"namespace": job["namespace"]}
    assert api.why(409, "POST", f"/jobs/{elsewhere['id']}/update", moved)[0] == "already_exists"
    assert api.get(f"/jobs/{elsewhere['id']}") == elsewhere


@covers("jobs.routes", "read")
def test_a_job_is_disabled_and_enabled(api: Client) -> None:
    job = make_job(api)
    for _ in range(2):
        disabled = api.post(f"/jobs/{job['id']}/disable")
        assert disabled == {**job, "enabled": False, "updated_at": disabled["updated_at"]}
    for _ in range(2):
        enabled = api.post(f"/jobs/{job['id']}/enable", {})
        assert enabled == {**job, "updated_at": enabled["updated_at"]}


@covers("jobs.trigger", "create")
def test_a_trigger_creates_one_task_now(api: Client, agent: Agent) -> None:
    job = make_job(api, environment={"A": "job", "B": "job"})
    task = api.create(f"/jobs/{job['id']}/trigger")
    shapes.check(shapes.TASK, task)
    assert (task["job_id"], task["namespace"], task["priority"]) == (job["id"], job["namespace"], 0)
    assert (task["schedule_id"], task["created_by"], task["status"]) == (None, PERSON, "pending")
    asked, made = (datetime.fromisoformat(task[name]) for name in ("scheduled_at", "created_at"))
    assert abs(asked - made) < timedelta(seconds=5)
    assert [row["id"] for row in api.get(f"/tasks/job/{job['id']}")] == [task["id"]]


@covers("jobs.trigger", "bad-input", "unknown")
def test_a_trigger_takes_parameters_environment_priority_and_an_instant(api: Client, agent: Agent) -> None:
    job = make_job(api, environment={"A": "job", "B": "job"})
    body = {
        "parameters": {"day": 5, "deep": {"list": [1, "x", None]}},
        "environment": {"B": "task", "C": "task"},
        "priority": 7,
        "scheduled_at": FAR,
    }
    task = api.create(f"/jobs/{job['id']}/trigger", body)
    assert {name: task[name] for name in ("parameters", "priority", "scheduled_at")} == {
        name: body[name] for name in ("parameters", "priority", "scheduled_at")
    }
    assert task["environment"] == {"A": "job", "B": "task", "C": "task"}
    wrong = {"parameters": [], "environment": {"A": 1}, "priority": "high", "scheduled_at": "now", "when": 1}
    assert set(api.refuse(400, "POST", f"/jobs/{job['id']}/trigger", wrong)) == set(wrong)


@covers("jobs.trigger")
def test_a_command_sees_the_environment_of_its_task(api: Client, agent: Agent) -> None:
    job = make_job(api, 'echo "$A $B $C"', environment={"A": "job", "B": "job"})
    task, attempt = run(api, job, environment={"B": "task", "C": "task"})
    assert (task["status"], attempt["output"]) == ("completed", "job task task\n")


@covers("jobs.trigger-disabled", "invalid-state")
def test_a_disabled_job_is_triggered_by_force_only(api: Client) -> None:
    job = make_job(api, enabled=False)
    for body in ({}, {"force": False}):
        code, why = api.why(409, "POST", f"/jobs/{job['id']}/trigger", {**body, "scheduled_at": FAR})
        assert code == "invalid_state"
        assert "current state is disabled" in why
        assert "allowed from enabled" in why
    task = api.create(f"/jobs/{job['id']}/trigger", {"force": True, "scheduled_at": FAR})
    assert task["job_id"] == job["id"]
    assert api.why(409, "POST", "/tasks/create", {"job_id": job["id"]})[0] == "invalid_state"


@covers("archive", "delete", "jobs.routes")
def test_a_job_with_history_is_archived(api: Client, agent: Agent) -> None:
    job = make_job(api, "echo kept", namespace=fresh("space"))
    schedule = make_schedule(api, job)
    task, attempt = run(api, job)
    api.delete(f"/jobs/{job['id']}")
    # It is gone from every list …
    for method, path in (
        ("GET", f"/jobs/{job['id']}"),
        ("POST", f"/jobs/{job['id']}/update"),
        ("POST", f"/jobs/{job['id']}/enable"),
        ("POST", f"/jobs/{job['id']}/disable"),
        ("PATCH", f"/jobs/{job['id']}"),
        ("DELETE", f"/jobs/{job['id']}"),
        ("GET", f"/schedules/{schedule['id']}"),
    ):
        assert api.why(404, method, path, {} if method in ("POST", "PATCH") else None)[0] == "not_found"
    assert api.post("/jobs/query", {"filter": {"id": job["id"]}})["data"] == []
    assert api.get(f"/jobs?id={job['id']}")["data"] == []
    assert api.get(f"/jobs/namespace/{job['namespace']}") == []
    assert api.post("/schedules/query", {"filter": {"job_id": job["id"]}})["data"] == []
    # … cannot run …
    assert api.why(404, "POST", f"/jobs/{job['id']}/trigger", {"force": True})[0] == "not_found"
    assert list(api.refuse(400, "POST", "/tasks/create", {"job_id": job["id"]})) == ["job_id"]
    assert list(
        api.refuse(400, "POST", "/schedules/create", {"job_id": job["id"], "kind": "once", "start_time": FAR})
    ) == ["job_id"]
    # … and its history stays readable.
    assert api.get(f"/tasks/{task['id']}")["status"] == "completed"
    assert [row["id"] for row in api.get(f"/tasks/job/{job['id']}")] == [task["id"]]
    assert api.get(f"/task-instances/{attempt['id']}")["output"] == "kept\n"
    text = api.send("GET", f"/task-instances/{attempt['id']}/logs", headers={"Accept": "text/plain"}).text
    assert text == "kept\n"


@covers("archive")
def test_deleting_a_job_withdraws_what_waits_and_frees_its_name(api: Client) -> None:
    job = make_job(api)
    task = api.create(f"/jobs/{job['id']}/trigger", {"scheduled_at": FAR})
    api.delete(f"/jobs/{job['id']}")
    assert api.get(f"/tasks/{task['id']}")["status"] == "cancelled"
    code, detail = api.why(409, "POST", f"/tasks/{task['id']}/retry", {})
    assert code == "invalid_state"
    assert "archived" in detail
    assert api.create("/jobs", {"name": job["name"], "config": config()})["id"] != job["id"]


@covers("jobs.routes", "query-operators")
def test_jobs_are_found_by_their_fields(api: Client) -> None:
    job = make_job(api, description=fresh("text"), command="true", tags=[fresh("tag")])
    for name in ("id", "namespace", "name", "description", "command", "enabled", "created_by"):
        found = api.post("/jobs/query", {"filter": {"name": job["name"], name: job[name]}})
        assert [row["id"] for row in found["data"]] == [job["id"]]
    for name in ("created_at", "updated_at"):
        between = {"gte": job[name], "lte": job[name]}
        assert api.post("/jobs/query", {"filter": {name: between}})["data"] == [job]
    assert api.post("/jobs/query", {"filter": {"tags": {"contains": job["tags"][0]}}})["data"] == [job]
