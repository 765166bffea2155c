"""`/api/v1/tasks`"""

import os
from datetime import datetime
from typing import Any

import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import PERSON, Agent, until
from tests.conformance.objects import (
    FAR,
    attempts_of,
    ended,
    make_attempt,
    make_job,
    make_task,
    run,
    running,
)

STATES = {
    "delete": ("completed, failed, cancelled", "DELETE", ""),
    "retry": ("failed, cancelled", "POST", "/retry"),
    "cancel": ("pending, locked, dispatched, running, waiting_retry", "POST", "/cancel"),
    "update": ("pending", "POST", "/update"),
    "PATCH": ("pending", "PATCH", ""),
}


@pytest.fixture(scope="module")
def patient(api: Client) -> Any:
    """A job whose retries are not seen in this test."""
    return make_job(api, limits={"retry_interval_secs": 86_400})


def task_in(api: Client, job: Any, status: str) -> Any:
    """Make a task and drive it into a status, by hand."""
    task = make_task(api, job, max_retries=int(status == "waiting_retry"))
    if status == "cancelled":
        api.post(f"/tasks/{task['id']}/cancel")
    elif status != "pending":
        attempt = make_attempt(api, task)
        if status == "running":
            api.post(f"/task-instances/{attempt['id']}/start")
        elif status != "locked":
            code = 0 if status == "completed" else 1
            api.post(f"/task-instances/{attempt['id']}/complete", {"exit_code": code})
    task = api.get(f"/tasks/{task['id']}")
    assert task["status"] == status
    return task


@covers("tasks.entity", "tasks.create", "create", "read")
def test_a_task_is_created_with_everything_that_it_can_have(api: Client) -> None:
    job = make_job(api, environment={"A": "job"})
    body = {
        "job_id": job["id"],
        "priority": 5,
        "scheduled_at": FAR,
        "parameters": {"day": 1},
        "environment": {"B": "task"},
        "config": {"timeout_secs": 7},
        "max_retries": 3,
    }
    task = api.create("/tasks/create", body)
    shapes.check(shapes.TASK, task)
    for name in ("job_id", "priority", "scheduled_at", "parameters", "max_retries"):
        assert task[name] == body[name]
    assert task["environment"] == {"A": "job", "B": "task"}
    assert task["config"] == {**job["config"], "timeout_secs": 7, "max_retries": 3}
    assert (task["status"], task["retry_count"], task["completed_at"]) == ("pending", 0, None)
    assert (task["namespace"], task["created_by"]) == (job["namespace"], PERSON)
    assert (task["schedule_id"], task["schedule_kind"], task["locked_at"]) == (None, "", None)
    assert api.get(f"/tasks/{task['id']}") == task


@covers("tasks.create", "bad-input", "read-only")
def test_a_task_is_refused_with_one_entry_for_each_field(api: Client) -> None:
    body = {
        "job_id": 999_999_999,
        "priority": 2**40,
        "scheduled_at": "later",
        "parameters": [],
        "environment": {"LD_PRELOAD": "x"},
        "max_retries": -1,
        "status": "completed",
        "retry_count": 1,
        "created_by": "me",
        "typo": 1,
    }
    assert set(api.refuse(400, "POST", "/tasks/create", body)) == set(body)
    assert list(api.refuse(400, "POST", "/tasks", {})) == ["job_id"]
    wrong_config = {"job_id": make_job(api)["id"], "config": {"timeout_secs": 0, "typo": 1}}
    assert set(api.refuse(400, "POST", "/tasks", wrong_config)) == {"config.timeout_secs", "config.typo"}


@covers("tasks.update", "partial", "read")
@pytest.mark.parametrize(
    "change",
    [
        {"priority": -3},
        {"scheduled_at": "2091-01-01T00:00:00.000000Z"},
        {"parameters": {"x": [1]}},
        {"environment": {"X": "1"}},
        {"config": {"timeout_secs": 9}},
        {"max_retries": 4},
    ],
    ids=str,
)
def test_each_field_of_a_pending_task_can_be_changed_alone(api: Client, change: dict[str, Any]) -> None:
    task = make_task(api)
    changed = api.post(f"/tasks/{task['id']}/update", change)
    if "config" in change:
        change = {"config": {**task["config"], **change["config"]}}
    if "max_retries" in change:
        change = {**change, "config": {**task["config"], **change}}
    moving = {name: changed[name] for name in ("updated_at", "lock_version")}
    assert changed == {**task, **change, **moving}


@covers("invalid-state", "tasks.update", "tasks.delete", "tasks.retry", "tasks.cancel", "tasks.status-values")
@pytest.mark.parametrize("status", [one for one in kinds.TASK_STATUSES if one != "dispatched"])
def test_a_status_allows_what_the_page_says_and_forbids_the_rest(
    api: Client, patient: Any, status: str
) -> None:
    task = task_in(api, patient, status)
    for allowed, method, below in STATES.values():
        path = f"/tasks/{task['id']}{below}"
        body = {"priority": 1} if method == "PATCH" or below == "/update" else None
        if status in allowed.split(", "):
            answer = api.send(method, path, body)
            assert answer.status == (204 if method == "DELETE" else 200), (path, answer)
            task = task_in(api, patient, status)
        else:
            code, why = api.why(409, method, path, body)
            assert code == "invalid_state"
            assert f"current state is {status}" in why
            assert f"allowed from {allowed}" in why
    assert api.get(f"/tasks/{task['id']}") == task


@covers("tasks.delete", "delete")
def test_a_task_that_ended_is_deleted_with_its_attempts(api: Client, agent: Agent) -> None:
    task, attempt = run(api, make_job(api))
    api.delete(f"/tasks/{task['id']}")
    for path in (f"/tasks/{task['id']}", f"/task-instances/{attempt['id']}"):
        assert api.why(404, "GET", path)[0] == "not_found"
    assert api.post("/tasks/query", {"filter": {"id": task["id"]}})["data"] == []


@covers("tasks.retry")
@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_retry_is_a_new_attempt_of_the_same_task(api: Client, agent: Agent, status: str) -> None:
    job = make_job(api, "sleep 60" if status == "cancelled" else "exit 4")
    task = api.create(f"/jobs/{job['id']}/trigger")
    if status == "cancelled":
        running(api, task)
        api.post(f"/tasks/{task['id']}/cancel")
    assert ended(api, task)["status"] == status
    retried = api.post(f"/tasks/{task['id']}/retry")
    shapes.check(shapes.TASK, retried)
    assert retried["id"] == task["id"]
    assert retried["completed_at"] is None
    until(lambda: len(attempts_of(api, task)) == 2, "a new attempt begins")
    if status == "cancelled":
        running(api, task)
        api.post(f"/tasks/{task['id']}/cancel")
    assert ended(api, task)["status"] == status
    assert [one["attempt"] for one in attempts_of(api, task)] == [1, 2]


@covers("tasks.cancel")
def test_a_cancelled_task_that_runs_is_killed(api: Client, agent: Agent) -> None:
    job = make_job(api, "echo $$; sleep 300 & wait", limits={"kill_grace_secs": 0})
    task = api.create(f"/jobs/{job['id']}/trigger")
    attempt = running(api, task)
    pid = int(until(lambda: api.get(f"/task-instances/{attempt['id']}")["output"], "the command says its id"))
    os.kill(pid, 0)
    answer = api.post(f"/tasks/{task['id']}/cancel")
    shapes.check(shapes.TASK, answer)
    done = ended(api, task)
    assert done["status"] == "cancelled"
    shapes.check(shapes.INSTANCE, api.get(f"/task-instances/{attempt['id']}"))
    assert api.get(f"/task-instances/{attempt['id']}")["status"] == "cancelled"
    until(lambda: not is_running(pid), "no process of it is left")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@covers("tasks.priority")
def test_the_higher_priority_runs_first(api: Client, spare: Agent) -> None:
    job = make_job(api, limits={"labels": {"spare": "yes"}})
    # The agent's one slot is taken while the others come.
    blocker = api.create(
        f"/jobs/{make_job(api, 'sleep 60', limits={'labels': {'spare': 'yes'}})['id']}/trigger"
    )
    running(api, blocker)
    tasks = [api.create(f"/jobs/{job['id']}/trigger", {"priority": priority}) for priority in (0, -5, 10, 5)]
    api.post(f"/tasks/{blocker['id']}/cancel")
    for task in tasks:
        assert ended(api, task)["status"] == "completed"
    begun = {
        task["priority"]: datetime.fromisoformat(attempts_of(api, task)[0]["started_at"]) for task in tasks
    }
    assert sorted(begun, key=lambda priority: begun[priority]) == [10, 5, 0, -5]


@covers("tasks.entity", "times")
def test_a_task_that_ran_says_when(api: Client, agent: Agent) -> None:
    task, attempt = run(api, make_job(api))
    shapes.check(shapes.TASK, task)
    assert task["status"] == "completed"
    assert task["created_at"] <= task["locked_at"] <= task["completed_at"]
    assert task["completed_at"] == attempt["completed_at"]
    assert task["lock_version"] > 0
