"""Paths, verbs, ids, times, refusals: what the contract says of all routes."""

import http.client
import json
from typing import Any

import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Answer, Client, errors_of
from tests.conformance.contract import OPEN, ROUTES, covers, example
from tests.conformance.objects import FAR, fresh, make_agent, make_attempt, make_job, make_schedule, make_task

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
PATHS = [pytest.param(path, id=path) for path in ROUTES]
WRITES = [
    pytest.param(method, path, id=f"{method} {path}")
    for path, methods in ROUTES.items()
    for method in sorted(methods & {"POST", "PATCH"})
]
# What no client should send, with the statuses that may answer it.
ODD_BODIES = {
    "a list": b"[1]",
    "a string": b'"x"',
    "a number": b"7",
    "null": b"null",
    "broken": b'{"name": ',
    "NaN": b'{"name": NaN}',
    "a key twice": b'{"name": "a", "name": "b"}',
    "NUL": b'{"name": "a\\u0000b"}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "no UTF-8": b'{"name": "\xff"}',
    "deep": b'{"filter": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


def allowed(answer: Answer) -> set[str]:
    return set(answer.headers["allow"].replace(" ", "").split(","))


@covers("paths", "verbs")
@pytest.mark.parametrize("path", PATHS)
def test_a_path_answers_the_verbs_of_the_page_and_says_so(api: Client, path: str) -> None:
    answer = api.send("OPTIONS", example(path))
    expected = ROUTES[path] | {"OPTIONS"} | ({"HEAD"} if "GET" in ROUTES[path] else set())
    assert (answer.status, allowed(answer)) == (200, expected)
    refused = api.send("PUT", example(path), {})
    assert (refused.status, allowed(refused)) == (405, expected)
    assert errors_of(refused)[None][0] == "method_not_allowed"


@covers("verbs")
@pytest.mark.parametrize(
    "path", ["/jobs", "/jobs/query", "/jobs/{int}", "/agents/online", "/info", "/health"]
)
def test_a_path_refuses_every_other_verb(api: Client, path: str) -> None:
    for method in METHODS - ROUTES[path]:
        answer = api.send(method, example(path), {} if method != "GET" else None)
        assert answer.status == 405, (method, answer)
        assert errors_of(answer)[None][0] == "method_not_allowed"


@covers("paths")
@pytest.mark.parametrize(
    "path",
    # A namespace may be called anything, also something that ends in a slash.
    [pytest.param(path, id=path) for path in ROUTES if path != "/jobs/namespace/{name}"],
)
def test_a_trailing_slash_is_another_path(api: Client, path: str) -> None:
    method = min(ROUTES[path])
    assert api.why(404, method, example(path) + "/", {} if method != "GET" else None)[0] == "not_found"


@covers("unauthenticated", "errors")
@pytest.mark.parametrize("path", [pytest.param(path, id=path) for path in ROUTES if path not in OPEN])
def test_a_stranger_is_asked_who_it_is(api: Client, path: str) -> None:
    for method in sorted(ROUTES[path]):
        answer = api.anonymous.send(method, example(path), {} if method != "GET" else None)
        assert answer.status == 401, (method, answer)
        assert errors_of(answer)[None][0] == "not_authenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")


@covers("unauthenticated", "errors")
@pytest.mark.parametrize(
    "header", ["Bearer nonsense", "Bearer ", "Bearer hfu_x", "Bearer hfa_x", "Basic eDp5"]
)
def test_credentials_that_nobody_knows_are_refused(api: Client, header: str) -> None:
    for method, path in (("GET", "/jobs"), ("POST", "/tasks/query"), ("POST", "/info")):
        body = {} if method == "POST" else None
        answer = api.anonymous.send(method, path, body, headers={"Authorization": header})
        assert answer.status == 401, (method, answer)
        assert errors_of(answer)[None][0] in ("not_authenticated", "authentication_failed")


@covers("verbs")
@pytest.mark.parametrize("path", ["/jobs", "/tasks", "/agents/online", "/health", "/servers"])
def test_head_answers_as_get_without_the_body(api: Client, path: str) -> None:
    got, headed = api.send("GET", path), api.send("HEAD", path)
    assert (headed.status, headed.body) == (got.status, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]


@covers("not-found", "ids")
@pytest.mark.parametrize(
    "path",
    [
        "/jobs/abc",
        "/jobs/-1",
        "/jobs/1.5",
        "/jobs/0",
        "/jobs/99999999999999999999999",
        example("/jobs/{uuid}"),
        "/tasks/abc",
        "/schedules/%00",
        "/agents/1",
        "/agents/not-a-uuid",
        example("/agents/{uuid}"),
        "/task-instances/1",
        example("/task-instances/{uuid}"),
        example("/task-instances/{uuid}/logs"),
        example("/servers/{uuid}"),
        "/tasks/status/no-such-status",
        "/task-instances/status/7",
        "/nothing",
        "/jobs/1/nothing",
    ],
)
def test_what_is_not_there_is_a_404(api: Client, path: str) -> None:
    assert api.why(404, "GET", path)[0] == "not_found"


@covers("not-found")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param(method, path, id=f"{method} {path}")
        for path, methods in ROUTES.items()
        for method in sorted(methods)
        if "{int}" in path or "{uuid}" in path
        if not path.startswith(("/tasks/", "/task-instances/", "/schedules/")) or path.count("/") < 3
    ],
)
def test_an_action_on_what_is_not_there_is_a_404_whatever_the_body(
    api: Client, method: str, path: str
) -> None:
    assert api.why(404, method, example(path), {} if method != "GET" else None)[0] == "not_found"


@covers("ids-agent-path")
def test_the_agent_of_a_task_list_is_a_uuid(api: Client, agent: Any) -> None:
    assert api.why(404, "GET", "/tasks/agent/1")[0] == "not_found"
    assert isinstance(api.get(f"/tasks/agent/{agent.id}"), list)
    assert isinstance(api.get(f"/tasks/agent/{agent.id.upper()}"), list)


@covers("ids", "times", "statuses", "create")
def test_what_is_created_has_ids_and_times_of_the_right_kind(api: Client) -> None:
    job, agent = make_job(api), make_agent(api)
    schedule, task = make_schedule(api, job), make_task(api, job)
    attempt = make_attempt(api, task)
    for shape, entity in (
        (shapes.JOB, job),
        (shapes.SCHEDULE, schedule),
        (shapes.TASK, task),
        (shapes.INSTANCE, attempt),
        ({**shapes.AGENT, "id": kinds.uuid7, "token": kinds.text}, agent),
    ):
        shapes.check(shape, entity)
    for server in api.get("/servers")["data"]:
        shapes.check(shapes.SERVER, server)


@covers("times")
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2090-01-02T03:04:05Z", "2090-01-02T03:04:05.000000Z"),
        ("2090-01-02T03:04:05.678901Z", "2090-01-02T03:04:05.678901Z"),
        ("2090-01-02T03:04:05.5+02:00", "2090-01-02T01:04:05.500000Z"),
        ("2090-01-02T03:04:05-00:30", "2090-01-02T03:34:05.000000Z"),
    ],
)
def test_times_are_taken_with_any_offset_and_answered_in_utc(api: Client, given: str, kept: str) -> None:
    assert make_task(api, scheduled_at=given)["scheduled_at"] == kept


@covers("times", "bad-input")
@pytest.mark.parametrize("given", ["2090-01-02T03:04:05", "2090-01-02", "tomorrow", 1893553445, "", None])
def test_a_time_that_is_none_is_refused(api: Client, given: Any) -> None:
    job = make_job(api)
    refused = api.refuse(400, "POST", "/tasks/create", {"job_id": job["id"], "scheduled_at": given})
    assert list(refused) == ["scheduled_at"]


@covers("bad-input", "unknown", "read-only", "errors")
def test_bad_input_has_one_entry_for_each_field_at_fault(api: Client) -> None:
    body = {
        "name": "",
        "namespace": 7,
        "enabled": "yes",
        "tags": "nightly",
        "environment": {"A": 1},
        "config": {"cmd": "perl", "timeout_secs": 0, "typo": 1},
        "typo": 1,
        "id": 5,
        "created_at": FAR,
    }
    refused = api.refuse(400, "POST", "/jobs/create", body)
    assert set(refused) == {
        "name",
        "namespace",
        "enabled",
        "tags",
        "environment",
        "config.cmd",
        "config.timeout_secs",
        "config.typo",
        "typo",
        "id",
        "created_at",
    }
    assert api.refusal(400, "POST", "/jobs/create", {})["name"][0] == "required"


@covers("unknown", "read-only")
@pytest.mark.parametrize(
    ("resource", "make", "read_only"),
    [
        ("jobs", make_job, ("id", "created_by", "created_at", "updated_by", "updated_at")),
        (
            "agents",
            make_agent,
            ("id", "status", "statistics", "version", "connected_at", "last_heartbeat_at"),
        ),
        ("schedules", make_schedule, ("id", "job_id", "run_count", "next_run_at", "last_run_at")),
        (
            "tasks",
            make_task,
            ("id", "job_id", "status", "completed_at", "retry_count", "lock_version", "created_by"),
        ),
        ("task-instances", make_attempt, ("id", "task_id", "job_id", "agent_id", "attempt", "status")),
    ],
)
def test_an_update_refuses_what_is_unknown_or_read_only_and_changes_nothing(
    api: Client, resource: str, make: Any, read_only: tuple[str, ...]
) -> None:
    entity = make(api)
    path = f"/{resource}/{entity['id']}"
    before = api.get(path)
    body = {**{name: entity[name] for name in read_only}, "typo": 1, "Name": "x"}
    for method, spelling in (("POST", f"{path}/update"), ("PATCH", path)):
        assert set(api.refuse(400, method, spelling, body)) == {*read_only, "typo", "Name"}
    assert api.get(path) == before


@covers("unknown")
@pytest.mark.parametrize("path", [path for path in ROUTES if "POST" in ROUTES[path] and "{" not in path])
def test_no_body_may_hold_what_the_server_does_not_know(api: Client, path: str) -> None:
    assert "no_such_field" in api.refuse(400, "POST", path, {"no_such_field": 1})


@covers("errors", "no-trace", "bad-input")
@pytest.mark.parametrize("body", [pytest.param(raw, id=name) for name, raw in ODD_BODIES.items()])
def test_a_body_that_is_no_sound_object_is_a_400(api: Client, body: bytes) -> None:
    for path in ("/jobs", "/tasks/query", "/schedules/preview", "/connections/stats", "/info"):
        api.refuse(400, "POST", path, raw=body)


@covers("errors", "no-trace", "bad-input")
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_no_path_takes_a_body_that_is_no_object(api: Client, method: str, path: str) -> None:
    answer = api.send(method, example(path), raw=b"[1]")
    assert answer.status == (404 if "{" in path else 400), answer
    errors_of(answer)


@covers("errors")
def test_a_body_that_is_too_large_is_a_413(api: Client) -> None:
    body = json.dumps({"name": "x" * 3_000_000}).encode()
    assert api.why(413, "POST", "/jobs/create", raw=body)[0] == "payload_too_large"


@covers("errors")
@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"name=x"),
        ("text/plain", b"{}"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nv\r\n--x--\r\n',
        ),
    ],
)
def test_another_media_type_is_a_415(api: Client, media_type: str, body: bytes) -> None:
    code, _ = api.why(415, "POST", "/jobs/create", raw=body, headers={"Content-Type": media_type})
    assert code == "unsupported_media_type"


@covers("errors")
def test_json_with_a_charset_is_json(api: Client) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert api.post("/jobs/query", {}, headers=headers)["page"]["page"] == 1
    assert api.why(406, "GET", "/jobs", headers={"Accept": "application/xml"})[0] == "not_acceptable"


@covers("no-trace", "errors")
def test_what_is_no_http_as_servers_know_it_brings_no_trace(api: Client) -> None:
    for method, path in (("FOO", "/jobs"), ("GET", "/jobs?limit=%ff"), ("GET", "/jobs?name=%00")):
        answer = api.send(method, path)
        assert answer.status in (400, 404, 405), answer
        errors_of(answer)
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    connection.request("POST", "/api/v1/jobs", body=b"", headers={**api.headers, "Content-Type": "nonsense"})
    answer = connection.getresponse()
    assert answer.status in (400, 415)
    assert b"Traceback" not in answer.read()
    connection.close()


@covers("spellings", "create", "partial", "read")
@pytest.mark.parametrize(
    ("resource", "make_body", "change"),
    [
        ("jobs", lambda _api: {"config": {"cmd": "sh"}}, {"description": "changed"}),
        ("agents", lambda _api: {}, {"description": "changed"}),
        (
            "schedules",
            lambda api: {"job_id": make_job(api)["id"], "kind": "once", "start_time": FAR},
            {"description": "changed"},
        ),
        ("tasks", lambda api: {"job_id": make_job(api)["id"], "scheduled_at": FAR}, {"priority": 3}),
        ("task-instances", lambda api: {"task_id": make_task(api)["id"]}, {"error_message": "changed"}),
    ],
)
def test_both_spellings_create_and_change_alike(
    api: Client, resource: str, make_body: Any, change: dict[str, Any]
) -> None:
    made = []
    for spelling in (f"/{resource}", f"/{resource}/create"):
        named = {"name": fresh("x")} if resource in ("jobs", "agents", "schedules") else {}
        made.append(api.create(spelling, {**named, **make_body(api)}))
    assert set(made[0]) == set(made[1])
    for entity, (method, suffix) in zip(made, (("PATCH", ""), ("POST", "/update")), strict=True):
        path = f"/{resource}/{entity['id']}"
        before = api.get(path)
        answer = api.expect(200, method, path + suffix, change)
        assert answer == api.get(path)
        moving = {"updated_at", "lock_version", *change}
        assert {name: answer[name] for name in change} == change
        assert {k: v for k, v in answer.items() if k not in moving} == {
            k: v for k, v in before.items() if k not in moving
        }
        assert answer["updated_at"] > before["updated_at"]
        assert api.expect(200, method, path + suffix, {})["updated_at"] >= answer["updated_at"]
