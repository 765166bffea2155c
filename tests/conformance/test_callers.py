"""Who asks: what a lesser token sees and may do, and how often one may ask."""

from typing import Any

import pytest

from tests.conformance.client import Client, errors_of
from tests.conformance.contract import ROUTES, covers, example
from tests.conformance.installation import Agent
from tests.conformance.objects import (
    FAR,
    config,
    fresh,
    make_agent,
    make_attempt,
    make_job,
    make_schedule,
    make_task,
)

# More than one address may try to enrol with in a minute.
TOO_OFTEN = 100


def lesser(api: Client, **limits: Any) -> Client:
    """Return a client with another token of the same person."""
    made = api.create("/tokens", {"name": fresh("token"), **limits})
    return api.bearing(made["token"])


@pytest.fixture(scope="module")
def reader(api: Client) -> Client:
    return lesser(api, scope="read")


@covers("forbidden", "errors")
def test_a_token_that_may_only_read_is_refused_every_write(api: Client, reader: Client) -> None:
    job, agent = make_job(api), make_agent(api)
    schedule, attempt = make_schedule(api, job), make_attempt(api, make_task(api, job))
    ids = {"jobs": job, "agents": agent, "schedules": schedule, "task-instances": attempt}
    ids["tasks"] = {"id": attempt["task_id"]}
    asks = ("/query", "/status", "/stats", "/preview", "/logs", "/metrics", "/info")
    for path, methods in ROUTES.items():
        resource = path.split("/")[1]
        for method in sorted(methods - {"GET"}):
            if path.endswith(asks):
                continue
            entity = ids.get(resource, {"id": agent["id"]})["id"]
            answer = reader.send(
                method, path.replace("{int}", str(entity)).replace("{uuid}", str(entity)), {}
            )
            # Who is not connected cannot be disconnected, and whoever asks is told so.
            expected = {403, 404} if resource == "connections" and method == "DELETE" else {403}
            assert answer.status in expected, (method, path, answer)
            errors_of(answer)
    assert reader.get(f"/jobs/{job['id']}") == job


@covers("hidden", "arrays")
def test_what_a_token_may_not_see_is_not_there(api: Client) -> None:
    mine, theirs = fresh("mine"), fresh("theirs")
    client = lesser(api, scope="write", namespace=mine)
    seen, hidden = (make_job(api, namespace=space) for space in (mine, theirs))
    schedule, attempt = make_schedule(api, hidden), make_attempt(api, make_task(api, hidden))
    task = {"id": attempt["task_id"]}
    assert client.get(f"/jobs/{seen['id']}") == seen
    ids = {"jobs": hidden, "schedules": schedule, "tasks": task, "task-instances": attempt}
    for path, methods in ROUTES.items():
        resource = path.split("/")[1]
        if resource in ids and path.startswith((f"/{resource}/{{int}}", f"/{resource}/{{uuid}}")):
            for method in sorted(methods):
                real = example(f"/{resource}/{ids[resource]['id']}" + path.partition("}")[2])
                answer = client.send(method, real, {} if method != "GET" else None)
                assert answer.status == 404, (method, path, answer)
                assert errors_of(answer)[None][0] == "not_found"
    for path in (
        f"/schedules/job/{hidden['id']}",
        f"/tasks/job/{hidden['id']}",
        f"/task-instances/task/{task['id']}",
        f"/jobs/namespace/{theirs}",
    ):
        assert client.why(404, "GET", path)[0] == "not_found"
    for resource in ids:
        rows = client.post(f"/{resource}/query", {"page": {"limit": 500}})["data"]
        assert ids[resource]["id"] not in [row["id"] for row in rows]
    body = {"job_id": hidden["id"], "scheduled_at": FAR}
    assert list(client.refuse(400, "POST", "/tasks", body)) == ["job_id"]
    elsewhere = {"name": fresh("job"), "namespace": theirs, "config": config()}
    assert client.why(403, "POST", "/jobs", elsewhere)[0] == "permission_denied"


@covers("not-found", "arrays")
@pytest.mark.parametrize(
    "path",
    [
        "/schedules/job/{int}",
        "/tasks/job/{int}",
        "/tasks/agent/{uuid}",
        "/task-instances/task/{int}",
        "/task-instances/agent/{uuid}",
    ],
)
def test_a_list_below_what_is_not_there_is_not_there(api: Client, path: str) -> None:
    assert api.why(404, "GET", example(path))[0] == "not_found"


@covers("unauthenticated")
def test_a_token_that_was_revoked_is_unknown(api: Client, agent: Agent) -> None:
    made = api.create("/tokens", {"name": fresh("token"), "scope": "admin"})
    client = api.bearing(made["token"])
    assert client.get("/jobs?limit=1")["page"]["page"] == 1
    api.delete(f"/tokens/{made['id']}")
    assert client.why(401, "GET", "/jobs")[0] == "authentication_failed"
    # The token of an agent is good for what agents do, and for nothing else.
    for method, path in (("GET", "/jobs"), ("GET", "/agents"), ("POST", "/jobs"), ("POST", "/info")):
        assert api.bearing(agent.token).why(403, method, path, {} if method == "POST" else None)


@covers("throttled", "errors")
def test_who_asks_too_often_is_told_to_wait(api: Client) -> None:
    for _ in range(TOO_OFTEN):
        answer = api.anonymous.send("POST", "/agents/enroll", {"token": "hfe_guessed"})
        if answer.status == 429:
            break
        assert answer.status == 401, answer
    assert answer.status == 429
    assert errors_of(answer)[None][0] == "throttled"
    assert int(answer.headers["retry-after"]) > 0
