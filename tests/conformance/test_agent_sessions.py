"""`/api/v1/agents/{id}/…`: status, logs and commands of agents that are connected."""

import signal
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import Agent, Installation, until
from tests.conformance.objects import fresh, make_agent, make_job, running

ANSWER = {"command_id": kinds.any_uuid, "status": kinds.one_of("acknowledged"), "result": kinds.mapping}


def command(client: Client, agent: Agent, name: str, **parameters: Any) -> Any:
    """Send a command and return its result."""
    body = {"command": name, "parameters": parameters, "timeout_secs": 30}
    answer = client.post(f"/agents/{agent.id}/commands", body)
    shapes.check(ANSWER, answer)
    return answer["result"]


@covers("agents.status", "agents.entity")
def test_the_status_of_an_agent_is_what_its_machine_is_like(api: Client, other: Client, agent: Agent) -> None:
    def told() -> Any:
        status = api.post(f"/agents/{agent.id}/status")
        return status if status["metrics"]["cpu_usage"] is not None else None

    status = until(told, "the agent tells how it is")
    shapes.check(shapes.AGENT_STATUS, status)
    assert (status["agent_id"], status["connected"], status["capacity"]) == (agent.id, True, 4)
    entity = api.get(f"/agents/{agent.id}")
    shapes.check(shapes.AGENT, entity)
    assert entity["capabilities"]["max_concurrent_tasks"] == 4
    assert "bash" in entity["capabilities"]["commands"]
    assert entity["labels"]["machine"] == "yes"
    assert entity["version"]
    assert entity["connected_at"] == status["connected_at"]
    metrics = status["metrics"]
    assert metrics["memory_usage"] == pytest.approx(psutil.virtual_memory().percent, abs=15)
    assert metrics["disk_usage"] == pytest.approx(psutil.disk_usage(str(agent.folder)).percent, abs=10)
    assert 0 <= metrics["uptime"] < time.time() - psutil.Process(agent.pid).create_time() + 1
    beat = datetime.fromisoformat(status["last_heartbeat_at"])
    assert datetime.now(UTC) - beat < timedelta(seconds=30)
    assert set(other.post(f"/agents/{agent.id}/status")) == set(status)


@covers("agents.status", "agents.status-values")
def test_a_busy_agent_says_so(api: Client, spare: Agent) -> None:
    path = f"/agents/{spare.id}/status"
    until(lambda: api.post(path)["status"] == "idle", "the agent is idle")
    task = api.create(
        f"/jobs/{make_job(api, 'sleep 300', limits={'labels': {'spare': 'yes'}})['id']}/trigger"
    )
    running(api, task)
    status = until(lambda: (now := api.post(path))["status"] == "busy" and now, "the agent is busy")
    assert (status["running_tasks"], status["metrics"]["active_tasks"], status["capacity"]) == (1, 1, 1)
    api.post(f"/tasks/{task['id']}/cancel")
    until(
        lambda: (now := api.post(path))["status"] == "idle" and not now["running_tasks"], "it is idle again"
    )


@covers("agents.status")
def test_the_status_of_an_agent_that_never_came(api: Client) -> None:
    agent = make_agent(api)
    status = api.post(f"/agents/{agent['id']}/status")
    shapes.check(shapes.AGENT_STATUS, status)
    assert (status["status"], status["connected"], status["running_tasks"]) == ("offline", False, 0)
    assert (status["connected_at"], status["last_heartbeat_at"]) == (None, None)
    assert status["metrics"]["cpu_usage"] is None


# --- commands -------------------------------------------------------------------------------------------


@covers("agents.commands", "connections.cluster")
def test_a_command_reaches_an_agent_from_either_server(
    api: Client, other: Client, agents: list[Agent]
) -> None:
    for client in (api, other):
        for agent in agents:
            result = command(client, agent, "fetch_metrics")
            assert result["memory_usage"] == pytest.approx(psutil.virtual_memory().percent, abs=15)
            assert result["slots"] == 4
    assert isinstance(command(api, agents[0], "clear_cache"), dict)
    # Parameters and time limit may be left out.
    answer = api.post(f"/agents/{agents[0].id}/commands", {"command": "fetch_metrics"})
    shapes.check(ANSWER, answer)


@covers("agents.commands")
def test_a_command_changes_how_much_an_agent_takes(api: Client, spare: Agent) -> None:
    command(api, spare, "update_config", max_concurrent_tasks=3)
    until(lambda: api.post(f"/agents/{spare.id}/status")["capacity"] == 3, "the server knows of it")
    assert api.get(f"/agents/{spare.id}")["capabilities"]["max_concurrent_tasks"] == 3
    command(api, spare, "update_config", max_concurrent_tasks=1)
    until(lambda: api.post(f"/agents/{spare.id}/status")["capacity"] == 1, "the server knows of it")


@covers("agents.commands")
def test_a_command_cancels_what_runs(api: Client, agent: Agent) -> None:
    task = api.create(f"/jobs/{make_job(api, 'sleep 300')['id']}/trigger")
    attempt = running(api, task)
    (holder,) = [row for row in api.get("/agents/online") if row["id"] == attempt["agent_id"]]
    body = {"command": "cancel_task", "parameters": {"instance_id": attempt["id"], "grace_secs": 0}}
    shapes.check(ANSWER, api.post(f"/agents/{holder['id']}/commands", body))
    until(lambda: api.get(f"/task-instances/{attempt['id']}")["status"] == "cancelled", "it is cancelled")
    code, why = api.why(409, "POST", f"/agents/{holder['id']}/commands", body)
    assert (code, bool(why)) == ("command_refused", True)


@covers("agents.commands", "agents.status-values")
def test_an_agent_is_drained_taken_back_and_shut_down(api: Client, other: Client, spare: Agent) -> None:
    job = make_job(api, "sleep 300", limits={"labels": {"spare": "yes"}})
    task = api.create(f"/jobs/{job['id']}/trigger")
    running(api, task)
    command(other, spare, "drain")
    until(lambda: api.get(f"/agents/{spare.id}")["status"] == "draining", "it drains")
    command(other, spare, "resume")
    until(lambda: api.get(f"/agents/{spare.id}")["status"] in ("busy", "idle"), "it takes work again")
    api.post(f"/tasks/{task['id']}/cancel")
    until(lambda: api.get(f"/tasks/{task['id']}")["status"] == "cancelled", "the task is cancelled")
    command(other, spare, "shutdown")
    until(lambda: not spare.is_running, "the daemon ends")
    assert spare.wait() == 0
    until(lambda: api.get(f"/agents/{spare.id}")["status"] == "offline", "the server knows of it")
    code, _ = api.why(409, "POST", f"/agents/{spare.id}/commands", {"command": "fetch_metrics"})
    assert code == "agent_offline"


@covers("agents.commands-offline", "agent-offline")
def test_an_agent_that_is_not_there_takes_no_command(api: Client, other: Client) -> None:
    agent = make_agent(api)
    path = f"/agents/{agent['id']}/commands"
    for client in (api, other):
        for name in ("shutdown", "update_config", "clear_cache", "fetch_metrics", "drain", "resume"):
            assert client.why(409, "POST", path, {"command": name})[0] == "agent_offline"
    # One that only sends heartbeats by HTTP is not there to be commanded either.
    api.post(f"/agents/{agent['id']}/heartbeat", {"status": "idle"})
    assert api.why(409, "POST", path, {"command": "drain"})[0] == "agent_offline"


@covers("agents.commands-timeout", "durations")
def test_an_agent_that_does_not_answer_in_time_is_a_504(api: Client, spare: Agent) -> None:
    spare.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        body = {"command": "fetch_metrics", "timeout_secs": 0.5}
        assert api.why(504, "POST", f"/agents/{spare.id}/commands", body)[0] == "agent_timeout"
        assert 0.4 < time.monotonic() - began < 20
    finally:
        spare.send(signal.SIGCONT)


@covers("agents.commands", "bad-input", "unknown")
@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "command"),
        ({"command": "reboot"}, "command"),
        ({"command": "drain", "timeout_secs": 0}, "timeout_secs"),
        ({"command": "drain", "timeout_secs": 10**9}, "timeout_secs"),
        (
            {"command": 1, "parameters": [], "timeout_secs": "10", "typo": 1},
            "command parameters timeout_secs typo",
        ),
    ],
    ids=str,
)
def test_a_command_that_is_none_is_refused(api: Client, agent: Agent, body: dict[str, Any], at: str) -> None:
    assert set(api.refuse(400, "POST", f"/agents/{agent.id}/commands", body)) == set(at.split())


# --- logs -----------------------------------------------------------------------------------------------


def lines(client: Client, agent: Agent, page: dict[str, Any] | None = None, **filters: Any) -> Any:
    """Return the page of an agent's log, after a check of it."""
    body = {"filter": filters, **({"page": page} if page else {})}
    answer = client.post(f"/agents/{agent.id}/logs", body)
    shapes.check({"page": kinds.mapping, "data": kinds.strings}, answer)
    assert set(answer["page"]) == {"total", "page", "limit", "has_more"}
    return answer


@covers("agents.logs", "page-result")
def test_the_log_of_an_agent_is_read_and_searched(
    api: Client, other: Client, installation: Installation
) -> None:
    began = datetime.now(UTC)
    agent = installation.agent(api, labels={fresh("label"): "yes"})
    until(lambda: lines(api, agent)["data"], "its log arrives")
    command(api, agent, "update_config", max_concurrent_tasks=2)
    until(lambda: lines(api, agent, contains="registered")["page"]["total"] >= 2, "it registers anew")
    for client in (api, other):
        everything = lines(client, agent, {"limit": 500})
        total = everything["page"]["total"]
        assert total == len(everything["data"]) >= 2
        assert lines(client, agent, contains="registered", level="info")["data"][0] in everything["data"]
        assert lines(client, agent, contains="no such text")["data"] == []
        assert lines(client, agent, level="error")["data"] == []
        assert lines(client, agent, since=began.isoformat())["page"]["total"] == total
        assert lines(client, agent, until=began.isoformat())["data"] == []
        later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        assert lines(client, agent, since=began.isoformat(), until=later)["page"]["total"] == total
        assert lines(client, agent, since=later)["data"] == []
        assert lines(client, agent, task_instance_id=str(uuid.uuid4()))["data"] == []
        first, second = (lines(client, agent, {"limit": 1, "page": page}) for page in (1, 2))
        assert first["page"] == {"total": total, "page": 1, "limit": 1, "has_more": True}
        assert [*first["data"], *second["data"]] == everything["data"][:2]
    api.post(f"/agents/{agent.id}/logs")
    installation.end(agent)


@covers("agents.logs")
def test_the_log_tells_of_an_attempt_by_its_id(api: Client, spare: Agent) -> None:
    job = make_job(api, "exit 7", limits={"labels": {"spare": "yes"}})
    task = api.create(f"/jobs/{job['id']}/trigger")
    until(lambda: api.get(f"/tasks/{task['id']}")["status"] == "failed", "the task fails")
    (attempt,) = api.get(f"/task-instances/task/{task['id']}")
    found = until(lambda: lines(api, spare, task_instance_id=attempt["id"])["data"], "the log tells of it")
    assert all(attempt["id"] in line for line in found)
    assert "7" in found[0].replace(attempt["id"], "")


@covers("agents.logs", "bad-input", "query-unknown")
def test_a_question_for_logs_that_makes_no_sense_is_refused(api: Client, agent: Agent) -> None:
    body = {
        "filter": {
            "level": "loud",
            "since": "noon",
            "until": 5,
            "contains": 1,
            "task_instance_id": "x",
            "typo": 1,
        },
        "page": {"limit": 501},
        "typo": 1,
    }
    assert set(api.refuse(400, "POST", f"/agents/{agent.id}/logs", body)) == {
        *(f"filter.{name}" for name in ("level", "since", "until", "contains", "task_instance_id", "typo")),
        "page.limit",
        "typo",
    }
