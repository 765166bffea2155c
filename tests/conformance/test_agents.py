"""`/api/v1/agents`: what is known of agents; `test_agent_sessions` is about those that are connected."""

import uuid
from typing import Any

import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import Agent, Installation, until
from tests.conformance.objects import attempts_of, fresh, make_agent, make_job, run, running

CREATED = {**shapes.AGENT, "token": kinds.text}
CAPABILITIES = {"max_concurrent_tasks": 2, "commands": ["bash", "python"], "metadata": {"rack": 7}}


@covers("agents.entity", "agents.create", "create", "ids")
def test_an_agent_is_registered_before_it_connects(api: Client) -> None:
    agent = api.create("/agents/create", {"name": fresh("agent")})
    shapes.check({**CREATED, "id": kinds.uuid7}, agent)
    assert (agent["status"], agent["enabled"], agent["labels"]) == ("offline", True, {})
    assert (agent["description"], agent["address"], agent["version"]) == ("", "", "")
    assert (agent["last_heartbeat_at"], agent["connected_at"]) == (None, None)
    assert agent["statistics"]["total_tasks"] == 0


@covers("agents.create", "agents.entity", "ids-own")
def test_an_agent_brings_whatever_it_knows_of_itself(api: Client) -> None:
    body = {
        "id": str(uuid.uuid4()),
        "name": fresh("agent"),
        "description": "in the corner",
        "address": "10.0.0.7",
        "labels": {"env": "prod", "zone": "eu"},
        "capabilities": CAPABILITIES,
    }
    agent = api.create("/agents/create", body)
    shapes.check(CREATED, agent)
    assert {name: agent[name] for name in body} == body


@covers("agents.create")
def test_the_token_of_an_agent_is_told_once_and_never_again(api: Client, other: Client) -> None:
    agent = make_agent(api)
    token = agent["token"]
    assert len(token) > 40
    path = f"/agents/{agent['id']}"
    for client in (api, other):
        for answer in (
            client.send("GET", path),
            client.send("GET", "/agents?limit=500"),
            client.send("POST", "/agents/query", {"filter": {"id": agent["id"]}}),
            client.send("POST", f"{path}/update", {"description": "x"}),
            client.send("PATCH", path, {"description": "y"}),
            client.send("POST", f"{path}/status"),
            client.send("GET", "/agents/offline"),
        ):
            assert answer.status == 200
            assert token.encode() not in answer.body
    shapes.check(shapes.AGENT, api.get(path))
    # It is the token of this agent, and of no other.
    assert api.bearing(token).post(f"{path}/heartbeat")["id"] == agent["id"]
    another = make_agent(api)
    assert api.bearing(token).send("POST", f"/agents/{another['id']}/heartbeat", {}).status in (403, 404)


@covers("agents.create-taken")
def test_an_id_or_a_name_that_is_taken_is_a_conflict(api: Client) -> None:
    agent = make_agent(api)
    for body in ({"id": agent["id"], "name": fresh("agent")}, {"name": agent["name"]}):
        for path in ("/agents", "/agents/create"):
            assert api.why(409, "POST", path, body)[0] == "already_exists"
    # An id stays taken when its agent is gone, because history hangs on it.
    api.delete(f"/agents/{agent['id']}")
    again = {"id": agent["id"], "name": agent["name"]}
    assert api.why(409, "POST", "/agents/create", again)[0] == "already_exists"
    assert api.create("/agents/create", {"name": agent["name"]})["id"] != agent["id"]


@covers("agents.create", "bad-input", "unknown", "read-only")
def test_bad_fields_of_an_agent_are_refused_one_by_one(api: Client) -> None:
    body = {
        "id": "five",
        "name": "",
        "description": 1,
        "address": [],
        "labels": {"a": 1},
        "capabilities": {"max_concurrent_tasks": 0, "commands": ["perl"], "typo": 1},
        "status": "online",
        "statistics": {},
        "version": "1",
        "typo": 1,
    }
    assert set(api.refuse(400, "POST", "/agents/create", body)) == {
        "id",
        "name",
        "description",
        "address",
        "labels",
        "capabilities.max_concurrent_tasks",
        "capabilities.commands.0",
        "capabilities.typo",
        "status",
        "statistics",
        "version",
        "typo",
    }


@covers("agents.update", "partial", "read")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "another name"),
        ("description", "other"),
        ("address", "10.0.0.8"),
        ("labels", {"env": "test"}),
        ("labels", {}),
        ("capabilities", CAPABILITIES),
        ("enabled", False),
    ],
    ids=str,
)
def test_each_field_of_an_agent_can_be_changed_alone(api: Client, name: str, value: Any) -> None:
    agent = make_agent(api, labels={"env": "prod"})
    del agent["token"]
    changed = api.post(f"/agents/{agent['id']}/update", {name: value})
    assert changed == {**agent, name: value, "updated_at": changed["updated_at"]}
    assert api.get(f"/agents/{agent['id']}") == changed


@covers("agents.query", "agents.status-values", "query-unknown")
def test_agents_are_found_by_the_fields_of_the_page(api: Client, agent: Agent) -> None:
    label = fresh("label")
    api.patch(f"/agents/{agent.id}", {"labels": {label: "yes"}})
    now = api.get(f"/agents/{agent.id}")
    beat = {"gte": now["last_heartbeat_at"]}
    for filters in (
        {"id": now["id"]},
        {"name": now["name"]},
        {"labels": {label: "yes"}},
        {"labels": {label: "yes"}, "status": {"in": ["idle", "busy", "online"]}},
        {"labels": {label: "yes"}, "enabled": True},
        {"labels": {label: "yes"}, "last_heartbeat_at": beat},
        {"created_at": {"gte": now["created_at"], "lte": now["created_at"]}},
    ):
        found = api.post("/agents/query", {"filter": filters})["data"]
        assert [row["id"] for row in found] == [agent.id], filters
    api.patch(f"/agents/{agent.id}", {"labels": {}})
    for status in kinds.AGENT_STATUSES:
        for row in api.post("/agents/query", {"filter": {"status": status}})["data"]:
            assert row["status"] == status
    assert list(api.refuse(400, "POST", "/agents/query", {"filter": {"status": "gone"}})) == ["filter.status"]


@covers("agents.online", "arrays")
def test_who_is_there_and_who_is_not(api: Client, other: Client, agents: list[Agent]) -> None:
    absent = make_agent(api)
    for client in (api, other):
        lists = {}
        for name in ("online", "offline"):
            answer = client.send("GET", f"/agents/{name}")
            lists[name] = answer.json()
            for row in lists[name]:
                shapes.check(shapes.AGENT, row)
            assert int(answer.headers["x-total-count"]) == len(lists[name])
            times = [row["created_at"] for row in lists[name]]
            assert times == sorted(times, reverse=True)
        online, offline = ({row["id"] for row in lists[name]} for name in ("online", "offline"))
        assert {agent.id for agent in agents} <= online
        assert absent["id"] in offline
        assert not online & offline


@covers("agents.heartbeat", "agents.status", "read")
def test_an_agent_without_a_socket_says_by_http_how_it_is(api: Client) -> None:
    agent = make_agent(api, capabilities=CAPABILITIES)
    path = f"/agents/{agent['id']}"
    said = {"cpu_usage": 12.5, "memory_usage": 40, "disk_usage": 99.9, "uptime": 3600}
    body = {"status": "busy", "metrics": said, "running_tasks": 1}
    answer = api.bearing(agent["token"]).post(f"{path}/heartbeat", body)
    shapes.check(shapes.AGENT, answer)
    assert answer["status"] == "busy"
    assert answer["last_heartbeat_at"] >= agent["created_at"]
    status = api.post(f"{path}/status")
    shapes.check(shapes.AGENT_STATUS, status)
    assert (status["status"], status["connected"], status["connected_at"]) == ("busy", False, None)
    assert (status["running_tasks"], status["capacity"]) == (1, 2)
    assert {name: status["metrics"][name] for name in said} == said
    assert status["metrics"]["active_tasks"] == 1
    # Every part of it is optional, and a person may do it for an agent.
    again = api.post(f"{path}/heartbeat")
    assert again["last_heartbeat_at"] > answer["last_heartbeat_at"]
    assert agent["id"] in [row["id"] for row in api.get("/agents/online")]
    assert api.get(path)["status"] in ("online", "idle", "busy")


@covers("agents.heartbeat")
def test_a_heartbeat_takes_the_metrics_that_the_status_tells(api: Client) -> None:
    agent = make_agent(api)
    path = f"/agents/{agent['id']}"
    metrics = api.post(f"{path}/status")["metrics"]
    api.post(f"{path}/heartbeat", {"metrics": {**metrics, "cpu_usage": 7.5, "active_tasks": 2}})
    status = api.post(f"{path}/status")
    assert (status["metrics"]["cpu_usage"], status["metrics"]["active_tasks"]) == (7.5, 2)
    # What the server counts itself, it does not take from others.
    assert status["metrics"]["total_executed"] == 0


@covers("agents.heartbeat", "bad-input", "unknown")
def test_a_heartbeat_of_nonsense_is_refused(api: Client) -> None:
    agent = make_agent(api)
    body = {"status": "offline", "metrics": {"cpu_usage": "high", "typo": 1}, "running_tasks": -1, "typo": 1}
    assert set(api.refuse(400, "POST", f"/agents/{agent['id']}/heartbeat", body)) == {
        "status",
        "metrics.cpu_usage",
        "metrics.typo",
        "running_tasks",
        "typo",
    }
    assert api.get(f"/agents/{agent['id']}")["last_heartbeat_at"] is None
    assert api.anonymous.why(401, "POST", f"/agents/{agent['id']}/heartbeat", {})


@covers("agents.statistics", "agents.entity", "agents.status")
def test_an_agent_is_credited_with_what_it_ran(api: Client, spare: Agent) -> None:
    def figures() -> Any:
        return api.get(f"/agents/{spare.id}")["statistics"]

    before = figures()
    limits = {"labels": {"spare": "yes"}}
    for script in ("true", "sleep 0.2", "exit 1"):
        run(api, make_job(api, script, limits=limits))
    total = before["total_tasks"] + 3
    after = until(lambda: (now := figures())["total_tasks"] == total and now, "three attempts are counted")
    assert after["success_tasks"] == before["success_tasks"] + 2
    assert after["failure_tasks"] == before["failure_tasks"] + 1
    assert after["consecutive_failures"] == 1
    assert after["last_failure_at"] > (before["last_failure_at"] or "")
    took = after["avg_response_ms"] * total - before["avg_response_ms"] * before["total_tasks"]
    assert 200 < took < 60_000
    metrics = api.post(f"/agents/{spare.id}/status")["metrics"]
    assert metrics["total_executed"] == total
    assert metrics["success_rate"] == pytest.approx(after["success_tasks"] / total)
    assert metrics["avg_execution_time"] == pytest.approx(after["avg_response_ms"] / 1000)
    run(api, make_job(api, limits=limits))
    until(lambda: figures()["consecutive_failures"] == 0, "a success ends the failures in a row")


@covers("agents.update")
def test_a_disabled_agent_gets_no_work_until_it_is_enabled(api: Client, spare: Agent) -> None:
    api.patch(f"/agents/{spare.id}", {"enabled": False})
    task = api.create(f"/jobs/{make_job(api, limits={'labels': {'spare': 'yes'}})['id']}/trigger")
    run(api, make_job(api))
    assert api.get(f"/tasks/{task['id']}")["status"] == "pending"
    api.post(f"/agents/{spare.id}/update", {"enabled": True})
    until(lambda: api.get(f"/tasks/{task['id']}")["status"] == "completed", "the task runs")


@covers("agents.delete", "archive", "delete")
def test_deleting_an_agent_ends_its_session_and_gives_back_its_work(
    api: Client, other: Client, installation: Installation
) -> None:
    label = fresh("doomed")
    doomed = installation.agent(api, labels={label: "yes"})
    job = make_job(api, "sleep 300", limits={"labels": {label: "yes"}})
    task = api.create(f"/jobs/{job['id']}/trigger")
    attempt = running(api, task)
    # By the server that does not hold the session.
    other.delete(f"/agents/{doomed.id}")
    path = f"/agents/{doomed.id}"
    assert api.get(f"/task-instances/{attempt['id']}")["status"] == "lost"
    given_back = api.get(f"/tasks/{task['id']}")
    assert (given_back["status"], given_back["retry_count"]) == ("waiting_retry", 0)
    for method, below in (
        ("GET", ""),
        ("DELETE", ""),
        ("PATCH", ""),
        ("POST", "/update"),
        ("POST", "/status"),
        ("POST", "/logs"),
        ("POST", "/commands"),
        ("POST", "/heartbeat"),
    ):
        assert api.why(404, method, path + below, {} if method in ("POST", "PATCH") else None)
    for client in (api, other):
        assert client.post("/agents/query", {"filter": {"id": doomed.id}})["data"] == []
        assert doomed.id not in [row["id"] for row in client.get("/agents/offline")]
        assert client.post("/connections/query", {"filter": {"agent_id": doomed.id}})["data"] == []
        assert client.bearing(doomed.token).why(401, "POST", f"{path}/heartbeat", {})
    assert doomed.log is not None
    log = doomed.log
    until(lambda: "HTTP 403" in log.read_text() or "401" in log.read_text(), "it is not let in again")
    # Its history stays readable.
    assert [row["id"] for row in api.get(f"/task-instances/agent/{doomed.id}")] == [attempt["id"]]
    assert [row["id"] for row in api.get(f"/tasks/agent/{doomed.id}")] == [task["id"]]
    # Another agent that carries the label takes the task over.
    heir = installation.agent(api, labels={label: "yes"})
    running(api, task)
    api.post(f"/tasks/{task['id']}/cancel")
    until(lambda: api.get(f"/tasks/{task['id']}")["status"] == "cancelled", "the task is cancelled")
    assert [one["agent_id"] for one in attempts_of(api, task)] == [doomed.id, heir.id]
    for one in (doomed, heir):
        installation.end(one)
