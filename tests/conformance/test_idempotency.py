"""Requests that may be sent twice: creates and triggers with an Idempotency-Key."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.client import Answer, Client
from tests.conformance.contract import covers
from tests.conformance.installation import Installation
from tests.conformance.objects import FAR, config, fresh, make_job, make_task

AT_ONCE = 8
AGE = "UPDATE rest_idempotencykey SET created_at = created_at - %s::interval WHERE key = %s"


def job_body(_api: Client) -> dict[str, Any]:
    return {"name": fresh("job"), "config": config()}


def agent_body(_api: Client) -> dict[str, Any]:
    return {"name": fresh("agent")}


def schedule_body(api: Client) -> dict[str, Any]:
    return {"job_id": make_job(api)["id"], "kind": "once", "start_time": FAR}


def task_body(api: Client) -> dict[str, Any]:
    return {"job_id": make_job(api)["id"], "scheduled_at": FAR}


def attempt_body(api: Client) -> dict[str, Any]:
    return {"task_id": make_task(api)["id"]}


CREATES = [
    ("/jobs", job_body),
    ("/jobs/create", job_body),
    ("/agents", agent_body),
    ("/agents/create", agent_body),
    ("/schedules", schedule_body),
    ("/schedules/create", schedule_body),
    ("/tasks", task_body),
    ("/tasks/create", task_body),
    ("/task-instances", attempt_body),
    ("/task-instances/create", attempt_body),
]


def keyed(key: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid.uuid4())}


def how_many(api: Client, path: str) -> int:
    total: int = api.get(f"/{path.split('/')[1]}?limit=1")["page"]["total"]
    return total


@covers("idempotency", "agents.create")
@pytest.mark.parametrize(("path", "make_body"), CREATES, ids=lambda value: value if "/" in str(value) else "")
def test_the_same_request_again_is_done_once_and_gets_the_first_answer(
    api: Client, other: Client, path: str, make_body: Any
) -> None:
    body, headers = make_body(api), keyed()
    before = how_many(api, path)
    first = api.create(path, body, headers=headers)
    for client in (api, other):
        again = client.create(path, dict(reversed(body.items())), headers=headers)
        # The token is told once and never again, not even to who repeats the request.
        assert again == {**first, **({"token": None} if "token" in first else {})}
    assert how_many(api, path) == before + 1


@covers("idempotency", "create")
@pytest.mark.parametrize("resource", ["/jobs", "/agents"])
def test_both_spellings_of_a_create_are_the_same_request(api: Client, resource: str) -> None:
    body, headers = {"/jobs": job_body, "/agents": agent_body}[resource](api), keyed()
    first = api.create(resource, body, headers=headers)
    assert api.create(f"{resource}/create", body, headers=headers)["id"] == first["id"]


@covers("idempotency-reused")
@pytest.mark.parametrize(("path", "make_body"), CREATES, ids=lambda value: value if "/" in str(value) else "")
def test_the_same_key_with_another_body_is_refused(api: Client, path: str, make_body: Any) -> None:
    body, headers = make_body(api), keyed()
    api.create(path, body, headers=headers)
    before = how_many(api, path)
    assert api.why(409, "POST", path, make_body(api), headers=headers)[0] == "idempotency_key_reused"
    assert how_many(api, path) == before


@covers("idempotency", "idempotency-reused", "jobs.trigger")
def test_a_trigger_may_be_repeated(api: Client) -> None:
    job, headers = make_job(api), keyed()
    path = f"/jobs/{job['id']}/trigger"
    first = api.create(path, {"scheduled_at": FAR}, headers=headers)
    assert api.create(path, {"scheduled_at": FAR}, headers=headers) == first
    refused = api.why(409, "POST", path, {"scheduled_at": FAR, "priority": 1}, headers=headers)
    assert refused[0] == "idempotency_key_reused"
    other_job = f"/jobs/{make_job(api)['id']}/trigger"
    assert api.why(409, "POST", other_job, {"scheduled_at": FAR}, headers=headers)[0] == (
        "idempotency_key_reused"
    )
    assert len(api.get(f"/tasks/job/{job['id']}")) == 1


@covers("idempotency")
def test_the_first_answer_is_told_even_if_things_have_changed_since(api: Client) -> None:
    body, headers = job_body(api), keyed()
    job = api.create("/jobs", body, headers=headers)
    api.patch(f"/jobs/{job['id']}", {"description": "changed"})
    assert api.create("/jobs", body, headers=headers) == job
    api.delete(f"/jobs/{job['id']}")
    assert api.create("/jobs", body, headers=headers) == job


@covers("idempotency")
def test_requests_at_once_with_one_key_are_one(api: Client, other: Client) -> None:
    body, headers = job_body(api), keyed()

    def send(index: int) -> Answer:
        return (api, other)[index % 2].send("POST", "/jobs", body, headers=headers)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(send, range(AT_ONCE)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    found = api.post("/jobs/query", {"filter": {"name": body["name"]}})
    assert found["page"]["total"] == 1


@covers("idempotency", "idempotency-reused")
def test_requests_at_once_with_one_key_and_other_bodies_create_one_thing(api: Client, other: Client) -> None:
    name, headers = fresh("job"), keyed()

    def send(index: int) -> Answer:
        body = {"name": f"{name}-{index}", "config": config()}
        return (api, other)[index % 2].send("POST", "/jobs", body, headers=headers)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(send, range(AT_ONCE)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * (AT_ONCE - 1)
    assert api.post("/jobs/query", {"filter": {"name": {"startswith": name}}})["page"]["total"] == 1


@covers("idempotency")
def test_a_request_that_failed_may_be_mended_and_sent_again_with_its_key(api: Client) -> None:
    body, headers = job_body(api), keyed()
    assert "config.cmd" in api.refuse(400, "POST", "/jobs", {**body, "config": {}}, headers=headers)
    assert api.create("/jobs", body, headers=headers)["name"] == body["name"]
    taken = keyed()
    assert api.why(409, "POST", "/jobs", body, headers=taken)[0] == "already_exists"
    assert api.create("/jobs", job_body(api), headers=taken)


@covers("idempotency")
def test_a_key_is_good_for_a_day(api: Client, installation: Installation) -> None:
    body, key = {"job_id": make_job(api)["id"], "scheduled_at": FAR}, str(uuid.uuid4())
    first = api.create("/tasks", body, headers=keyed(key))
    installation.execute(AGE, "23 hours 55 minutes", key)
    assert api.create("/tasks", body, headers=keyed(key)) == first
    installation.execute(AGE, "6 minutes", key)
    assert api.create("/tasks", body, headers=keyed(key))["id"] > first["id"]


@covers("idempotency", "bad-input")
@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "café"])
def test_what_is_no_key_is_refused(api: Client, key: str) -> None:
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}
    assert list(api.refuse(400, "POST", "/jobs", job_body(api), headers=headers)) == ["Idempotency-Key"]


@covers("idempotency")
def test_without_a_key_everything_happens_as_often_as_it_is_asked_for(api: Client) -> None:
    body = {"job_id": make_job(api)["id"], "scheduled_at": FAR}
    assert api.create("/tasks", body)["id"] != api.create("/tasks", body)["id"]
