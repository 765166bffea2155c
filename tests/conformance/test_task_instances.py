"""`/api/v1/task-instances`: attempts, as agents drive them and as clients do; and their output."""

import json
import time
from typing import Any

import pytest

from tests.conformance import shapes
from tests.conformance.client import Answer, Client
from tests.conformance.contract import covers
from tests.conformance.installation import Agent, until
from tests.conformance.objects import (
    attempts_of,
    make_agent,
    make_attempt,
    make_job,
    make_task,
    run,
    running,
)

LIVE = "pending, dispatched, running"
ENDED = "completed, failed, cancelled, timeout, lost, skipped"
STATES = {
    "update": (LIVE, "POST", "/update", {"error_message": "x"}),
    "PATCH": (LIVE, "PATCH", "", {"error_message": "x"}),
    "start": ("pending, dispatched", "POST", "/start", {}),
    "complete": (LIVE, "POST", "/complete", {}),
    "cancel": (LIVE, "POST", "/cancel", None),
    "delete": (ENDED, "DELETE", "", None),
}
RESULT = {"rows": 5, "nested": [None, {"x": "y"}]}
METRICS = {"cpu_time": 1.5, "memory_peak": 4096, "disk_read": 10, "disk_write": 20}
WORDS = (
    "printf 'out1 '; sleep 0.2; printf 'err1 ' >&2; sleep 0.2; printf 'out2'; sleep 0.2; printf 'err2' >&2"
)


def attempt_in(api: Client, status: str) -> Any:
    """Make an attempt and drive it into a status, by hand."""
    attempt = make_attempt(api)
    path = f"/task-instances/{attempt['id']}"
    if status == "running":
        api.post(f"{path}/start")
    elif status in ("completed", "failed"):
        api.post(f"{path}/complete", {"exit_code": 0 if status == "completed" else 1})
    elif status == "cancelled":
        api.post(f"{path}/cancel")
    attempt = api.get(path)
    assert attempt["status"] == status
    return attempt


@covers("instances.entity", "instances.create", "instances.machine", "create")
def test_an_attempt_of_a_waiting_task_is_begun_by_hand(api: Client) -> None:
    task = make_task(api)
    attempt = api.create("/task-instances/create", {"task_id": task["id"]})
    shapes.check(shapes.INSTANCE, attempt)
    assert (attempt["task_id"], attempt["job_id"]) == (task["id"], task["job_id"])
    assert (attempt["attempt"], attempt["status"], attempt["agent_id"]) == (1, "pending", None)
    assert api.get(f"/task-instances/{attempt['id']}") == attempt
    # It is the same state machine: the task is taken now, and has no second attempt.
    assert api.get(f"/tasks/{task['id']}")["status"] == "locked"
    code, why = api.why(409, "POST", "/task-instances/create", {"task_id": task["id"]})
    assert (code, "current state is locked" in why) == ("invalid_state", True)
    assert "allowed from pending, waiting_retry" in why


@covers("instances.create", "bad-input")
@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "task_id"),
        ({"task_id": 999_999_999}, "task_id"),
        ({"task_id": "1", "status": "running", "typo": 1}, "task_id status typo"),
        ({"task_id": None, "agent_id": "nobody"}, "task_id agent_id"),
    ],
    ids=str,
)
def test_an_attempt_of_nothing_is_refused(api: Client, body: dict[str, Any], at: str) -> None:
    assert set(api.refuse(400, "POST", "/task-instances/create", body)) == set(at.split())
    unknown = {"task_id": make_task(api)["id"], "agent_id": "00000000-0000-7000-8000-000000000000"}
    assert list(api.refuse(400, "POST", "/task-instances", unknown)) == ["agent_id"]


@covers("instances.start", "instances.machine", "read")
def test_an_attempt_is_started_with_or_without_an_agent(api: Client) -> None:
    agent = make_agent(api)
    for made, started, expected in (
        ({}, {}, None),
        ({}, {"agent_id": agent["id"]}, agent["id"]),
        ({"agent_id": agent["id"]}, {}, agent["id"]),
        ({"agent_id": agent["id"]}, {"agent_id": agent["id"]}, agent["id"]),
    ):
        attempt = make_attempt(api, **made)
        answer = api.post(f"/task-instances/{attempt['id']}/start", started)
        shapes.check(shapes.INSTANCE, answer)
        assert (answer["status"], answer["agent_id"]) == ("running", expected)
        assert answer["started_at"] >= attempt["created_at"]
        assert api.get(f"/tasks/{attempt['task_id']}")["status"] == "running"
    attempt = make_attempt(api, agent_id=agent["id"])
    for wrong in (make_agent(api)["id"], "nobody", "00000000-0000-7000-8000-000000000000"):
        path = f"/task-instances/{attempt['id']}/start"
        assert list(api.refuse(400, "POST", path, {"agent_id": wrong})) == ["agent_id"]


@covers("instances.complete", "instances.machine", "read")
@pytest.mark.parametrize(
    ("exit_code", "status"),
    [(0, "completed"), (None, "completed"), (1, "failed"), (-9, "failed"), (255, "failed")],
)
def test_an_attempt_is_completed_and_a_non_zero_exit_code_is_a_failure(
    api: Client, exit_code: int | None, status: str
) -> None:
    attempt = attempt_in(api, "running")
    body = {
        "result": RESULT,
        "exit_code": exit_code,
        "output": "héllo\n",
        "error_message": "as it is",
        "metrics": METRICS,
    }
    answer = api.post(f"/task-instances/{attempt['id']}/complete", body)
    shapes.check(shapes.INSTANCE, answer)
    assert {name: answer[name] for name in body} == body
    assert answer["status"] == status
    assert answer["completed_at"] >= answer["started_at"]
    task = api.get(f"/tasks/{attempt['task_id']}")
    assert (task["status"], task["completed_at"]) == (status, answer["completed_at"])
    text = api.send("GET", f"/task-instances/{attempt['id']}/logs", headers={"Accept": "text/plain"}).text
    assert text == "héllo\n"


@covers("instances.complete", "bad-input", "unknown", "read-only")
def test_a_completion_that_makes_no_sense_is_refused(api: Client) -> None:
    attempt = attempt_in(api, "running")
    body = {
        "exit_code": "0",
        "output": 5,
        "error_message": [],
        "metrics": {"cpu_time": "long", "typo": 1},
        "status": "completed",
        "typo": 1,
    }
    refused = api.refuse(400, "POST", f"/task-instances/{attempt['id']}/complete", body)
    assert set(refused) == {
        "exit_code",
        "output",
        "error_message",
        "metrics.cpu_time",
        "metrics.typo",
        "status",
        "typo",
    }
    assert api.get(f"/task-instances/{attempt['id']}") == attempt


@covers("instances.complete", "instances.machine")
def test_a_failed_attempt_is_retried_as_its_task_says(api: Client) -> None:
    task = make_task(api, make_job(api, limits={"retry_interval_secs": 86_400}), max_retries=1)
    for number, expected in ((1, "waiting_retry"), (2, "failed")):
        attempt = make_attempt(api, task)
        assert attempt["attempt"] == number
        api.post(f"/task-instances/{attempt['id']}/complete", {"exit_code": 1})
        assert api.get(f"/tasks/{task['id']}")["status"] == expected


@covers("instances.update", "partial")
def test_result_message_and_metrics_of_a_live_attempt_can_be_changed(api: Client) -> None:
    attempt = attempt_in(api, "running")
    path = f"/task-instances/{attempt['id']}"
    for change in ({"result": RESULT}, {"error_message": "so far"}, {"metrics": METRICS}):
        changed = api.post(f"{path}/update", change)
        assert changed == {**attempt, **change, "updated_at": changed["updated_at"]}
        attempt = changed
    assert api.get(path) == attempt


@covers("instances.cancel", "instances.machine")
def test_an_attempt_that_runs_on_an_agent_is_cancelled_there(api: Client, agent: Agent) -> None:
    job = make_job(api, "sleep 300", limits={"kill_grace_secs": 0})
    task = api.create(f"/jobs/{job['id']}/trigger")
    attempt = running(api, task)
    shapes.check(shapes.INSTANCE, api.post(f"/task-instances/{attempt['id']}/cancel"))
    until(lambda: api.get(f"/task-instances/{attempt['id']}")["status"] == "cancelled", "it is cancelled")
    assert api.get(f"/tasks/{task['id']}")["status"] == "cancelled"
    assert len(attempts_of(api, task)) == 1


@covers("invalid-state", "instances.update", "instances.start", "instances.complete", "instances.cancel")
@covers("instances.delete", "instances.status-values")
@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled"])
def test_a_status_allows_what_it_should_and_forbids_the_rest(api: Client, status: str) -> None:
    attempt = attempt_in(api, status)
    for allowed, method, below, body in STATES.values():
        path = f"/task-instances/{attempt['id']}"
        if status in allowed.split(", "):
            answer = api.send(method, path + below, body)
            assert answer.status == (204 if method == "DELETE" else 200), (path, answer)
            attempt = attempt_in(api, status)
        else:
            code, why = api.why(409, method, path + below, body)
            assert code == "invalid_state"
            assert f"current state is {status}" in why
            assert f"allowed from {allowed}" in why
    assert api.get(f"/task-instances/{attempt['id']}") == attempt


@covers("instances.delete", "delete")
def test_an_attempt_that_ended_is_deleted_and_its_task_stays(api: Client, agent: Agent) -> None:
    task, attempt = run(api, make_job(api))
    api.delete(f"/task-instances/{attempt['id']}")
    for path in (f"/task-instances/{attempt['id']}", f"/task-instances/{attempt['id']}/logs"):
        assert api.why(404, "GET", path)[0] == "not_found"
    assert api.get(f"/tasks/{task['id']}")["status"] == "completed"
    assert attempts_of(api, task) == []


@covers("instances.entity", "times", "durations")
def test_an_attempt_on_an_agent_tells_what_it_did(api: Client, agents: list[Agent]) -> None:
    began = time.time()
    script = "x=0; while [ $x -lt 60000 ]; do x=$((x+1)); done; echo done; exit 3"
    task, attempt = run(api, make_job(api, script))
    shapes.check(shapes.INSTANCE, attempt)
    assert (attempt["status"], attempt["exit_code"], attempt["attempt"]) == ("failed", 3, 1)
    assert attempt["agent_id"] in [agent.id for agent in agents]
    assert attempt["created_at"] <= attempt["started_at"] <= attempt["completed_at"]
    assert task["completed_at"] == attempt["completed_at"]
    assert 0 < attempt["metrics"]["cpu_time"] <= time.time() - began
    assert 1_000_000 < attempt["metrics"]["memory_peak"] < 1_000_000_000
    until(lambda: api.get(f"/task-instances/{attempt['id']}")["output"] == "done\n", "the output is there")


# --- output ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(api: Client) -> str:
    """The id of an attempt that printed to both streams in turn, and whose output is stored."""
    _, attempt = run(api, make_job(api, WORDS))
    path = f"/task-instances/{attempt['id']}"
    until(lambda: len(api.get(path)["output"]) == len("out1 err1 out2err2"), "the output is there")
    return str(attempt["id"])


def logs(api: Client, attempt_id: str, query: str = "", *, accept: str = "text/plain") -> Answer:
    return api.send("GET", f"/task-instances/{attempt_id}/logs{query}", headers={"Accept": accept})


@covers("instances.logs")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "out1 err1 out2err2"),
        ("?stream=stdout", "out1 out2"),
        ("?stream=stderr", "err1 err2"),
        ("?stream=stdout&offset=5", "out2"),
        ("?stream=stdout&offset=3&limit=4", "1 ou"),
        ("?stream=stderr&limit=3", "err"),
        ("?offset=5&limit=6", "err1 o"),
        ("?stream=stdout&offset=9", ""),
        ("?offset=1000", ""),
    ],
)
def test_output_is_plain_text_where_that_is_asked_for(
    api: Client, spoken: str, query: str, expected: str
) -> None:
    answer = logs(api, spoken, query)
    assert (answer.status, answer.media_type) == (200, "text/plain")
    assert answer.text == expected
    lines = logs(api, spoken, query, accept="*/*")
    assert "".join(json.loads(line)["text"] for line in lines.text.splitlines()) == expected


@covers("instances.logs", "times")
def test_output_is_json_lines_with_sequence_numbers_where_nothing_else_is_asked_for(
    api: Client, spoken: str
) -> None:
    for accept in ("*/*", "application/x-ndjson"):
        answer = logs(api, spoken, accept=accept)
        assert (answer.status, answer.media_type) == (200, "application/x-ndjson")
        lines = [json.loads(line) for line in answer.text.splitlines()]
        for line in lines:
            shapes.check(shapes.LOG_LINE, line)
        numbers = [line["seq"] for line in lines]
        assert numbers == sorted(set(numbers))
        assert "".join(line["text"] for line in lines if line["stream"] == "stderr") == "err1 err2"
    silent = attempt_in(api, "completed")
    assert logs(api, silent["id"], accept="*/*").body == b""


@covers("instances.logs", "bad-input")
def test_a_question_for_output_that_makes_no_sense_is_refused(api: Client, spoken: str) -> None:
    path = f"/task-instances/{spoken}/logs?stream=stdin&offset=-1&limit=0&follow=perhaps&typo=1"
    for accept in ("*/*", "text/plain", "application/json"):
        refused = api.refuse(400, "GET", path, headers={"Accept": accept})
        assert set(refused) == {"stream", "offset", "limit", "follow", "typo"}


@covers("instances.follow")
def test_output_is_streamed_until_the_attempt_ends(api: Client, agent: Agent) -> None:
    job = make_job(api, "echo first; trap 'echo last; exit' TERM; sleep 300 & wait")
    task = api.create(f"/jobs/{job['id']}/trigger")
    attempt = running(api, task)
    path = f"/task-instances/{attempt['id']}/logs?follow=true"
    with api.opened("GET", path, {"Accept": "text/plain"}) as answer:
        assert answer.status == 200
        begin = answer.readline()
        assert begin == b"first\n"
        assert api.get(f"/task-instances/{attempt['id']}")["status"] == "running"
        api.post(f"/tasks/{task['id']}/cancel")
        assert begin + answer.read() == b"first\nlast\n"
    assert api.get(f"/task-instances/{attempt['id']}")["status"] == "cancelled"


@covers("instances.follow")
@pytest.mark.parametrize("accept", ["text/plain", "application/x-ndjson"])
def test_an_attempt_by_hand_is_followed_to_its_end_too(api: Client, accept: str) -> None:
    attempt = make_attempt(api)
    path = f"/task-instances/{attempt['id']}"
    with api.opened("GET", f"{path}/logs?follow=true", {"Accept": accept}) as answer:
        assert answer.status == 200
        api.post(f"{path}/complete", {"output": "x"})
        text = answer.read().decode()
    assert (text if accept == "text/plain" else json.loads(text)["text"]) == "x"
