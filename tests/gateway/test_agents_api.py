import asyncio
import threading
import uuid
from datetime import timedelta

import pytest

from agents.errors import TokenRefused
from agents.models import Agent
from agents.tokens import authenticate_token, issue_token
from gateway import servers
from gateway.models import AgentCommand, AgentLog
from scheduling.clock import database_now
from scheduling.models import TaskInstance
from scheduling.services.claiming import claim
from tests import factories, processes
from tests.factories import NOW
from tests.gateway.peer import Peer

URL = "/api/v1/agents"
FIELDS = [
    "id",
    "name",
    "description",
    "address",
    "status",
    "enabled",
    "labels",
    "capabilities",
    "statistics",
    "version",
    "last_heartbeat_at",
    "connected_at",
    "created_at",
    "updated_at",
]
STATUS_FIELDS = [
    "agent_id",
    "status",
    "connected",
    "connected_at",
    "last_heartbeat_at",
    "running_tasks",
    "capacity",
    "metrics",
]


def attrs(response):
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


@pytest.mark.parametrize("path", [URL, f"{URL}/create"])
def test_an_agent_is_registered_and_its_token_shown_once(api, path):
    agent_id = str(uuid.uuid4())
    body = {
        "id": agent_id.upper(),
        "name": "worker",
        "description": "rack 3",
        "address": "10.0.0.3",
        "labels": {"env": "prod"},
        "capabilities": {"max_concurrent_tasks": 3, "commands": ["bash"]},
    }
    response = api.post(path, body)
    assert response.status_code == 201
    created = response.json()
    assert list(created) == [*FIELDS, "token"]
    assert (created["id"], created["status"], created["labels"]) == (agent_id, "offline", {"env": "prod"})
    assert created["capabilities"] == {"max_concurrent_tasks": 3, "commands": ["bash"], "metadata": {}}
    assert created["statistics"] == {
        "success_tasks": 0,
        "failure_tasks": 0,
        "total_tasks": 0,
        "avg_response_ms": 0.0,
        "last_failure_at": None,
        "consecutive_failures": 0,
    }
    assert str(authenticate_token(secret=created.pop("token"), now=NOW).agent_id) == agent_id
    assert api.get(f"{URL}/{agent_id}").json() == created


def test_an_id_or_name_that_is_taken_is_a_409(api):
    agent = factories.agent()
    for body in ({"name": agent.name}, {"id": str(agent.id), "name": "other"}):
        response = api.post(f"{URL}/create", body)
        assert (response.status_code, attrs(response)) == (409, {None: "already_exists"})
    response = api.patch(f"{URL}/{factories.agent().id}", {"name": agent.name})
    assert (response.status_code, attrs(response)) == (409, {None: "already_exists"})


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "x", "id": "7"}, "id"),
        ({"name": "x", "labels": {"env": 1}}, "labels"),
        ({"name": "x", "labels": ["env"]}, "labels"),
        ({"name": "x", "labels": {"env": "x" * 256}}, "labels"),
        ({"name": "x", "labels": {str(number): "" for number in range(256)}}, "labels"),
        ({"name": "x", "capabilities": {"commands": ["perl"]}}, "capabilities.commands.0"),
        ({"name": "x", "capabilities": {"max_concurrent_tasks": 0}}, "capabilities.max_concurrent_tasks"),
        ({"name": "x", "capabilities": []}, "capabilities"),
        ({"name": "x", "status": "online"}, "status"),
        ({"name": "x", "enabled": False}, "enabled"),
        ({"name": "x", "token": "hfa_x"}, "token"),
    ],
)
def test_a_bad_agent_is_a_400(api, body, attr):
    response = api.post(f"{URL}/create", body)
    assert (response.status_code, [a.removesuffix(".non_field_errors") for a in attrs(response)]) == (
        400,
        [attr],
    )
    assert Agent.objects.count() == 0


@pytest.mark.parametrize(("method", "suffix"), [("post", "/update"), ("patch", "")])
def test_an_update_keeps_what_the_agent_says_of_itself(api, method, suffix):
    agent = factories.agent(labels={"os": "linux", "env": "dev"})
    body = {"labels": {"env": "prod"}, "enabled": False, "capabilities": {"max_concurrent_tasks": 9}}
    changed = getattr(api, method)(f"{URL}/{agent.id}{suffix}", body).json()
    assert changed["labels"] == {"os": "linux", "env": "prod"}
    assert changed["enabled"] is False
    assert changed["capabilities"]["max_concurrent_tasks"] == 9
    assert changed["capabilities"]["commands"] == ["bash", "exec"]


def test_agents_are_found_by_their_labels(api):
    wanted = factories.agent(labels={"env": "prod", "zone": "a"})
    factories.agent(labels={"env": "dev"})
    by_body = api.post(f"{URL}/query", {"filter": {"labels": {"env": "prod"}}}).json()
    by_params = api.get(f"{URL}?labels=env=prod,zone=a").json()
    assert [agent["id"] for agent in by_body["data"]] == [str(wanted.id)]
    assert by_params == by_body


def test_agents_that_are_there_and_those_that_are_not(api):
    there, gone = factories.agent(), factories.agent()
    Agent.objects.filter(pk=gone.pk).update(status="offline")
    for path, agent in (("online", there), ("offline", gone)):
        response = api.get(f"{URL}/{path}")
        assert [one["id"] for one in response.json()] == [str(agent.id)]
        assert response["X-Total-Count"] == "1"


def test_a_list_of_agents_takes_one_statement(api, django_assert_num_queries):
    for _ in range(20):
        factories.agent()
    with django_assert_num_queries(1):
        assert len(api.get(f"{URL}?limit=50").json()["data"]) == 20


def test_a_removed_agent_loses_its_token_and_its_work_waits_again(api):
    agent, task = factories.agent(), factories.task()
    token = issue_token(agent=agent).secret
    claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    assert api.delete(f"{URL}/{agent.id}").status_code == 204
    with pytest.raises(TokenRefused):
        authenticate_token(secret=token, now=NOW)
    task.refresh_from_db()
    assert (task.status, task.retry_count) == ("waiting_retry", 0)
    assert TaskInstance.objects.get().status == "lost"
    assert api.get(f"{URL}/{agent.id}").status_code == 404
    assert api.get(f"/api/v1/task-instances/agent/{agent.id}").json()[0]["status"] == "lost"
    assert api.post(f"{URL}/create", {"name": agent.name}).status_code == 201


def test_the_status_of_an_agent_that_is_not_connected(api):
    agent = factories.agent()
    status = api.post(f"{URL}/{agent.id}/status").json()
    assert list(status) == STATUS_FIELDS
    assert (status["connected"], status["capacity"], status["running_tasks"]) == (False, 4, 0)
    assert list(status["metrics"]) == [
        "cpu_usage",
        "memory_usage",
        "disk_usage",
        "active_tasks",
        "total_executed",
        "success_rate",
        "avg_execution_time",
        "uptime",
    ]


def test_a_command_for_an_agent_that_is_offline_is_a_409(api):
    response = api.post(f"{URL}/{factories.agent().id}/commands", {"command": "drain"})
    assert (response.status_code, attrs(response)) == (409, {None: "agent_offline"})
    assert AgentCommand.objects.count() == 0


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "command"),
        ({"command": "reboot"}, "command"),
        ({"command": ["drain"]}, "command"),
        ({"command": "drain", "parameters": []}, "parameters"),
        ({"command": "drain", "timeout_secs": 0}, "timeout_secs"),
        ({"command": "drain", "timeout_secs": 1e9}, "timeout_secs"),
    ],
)
def test_a_bad_command_is_a_400(api, body, attr):
    response = api.post(f"{URL}/{factories.agent().id}/commands", body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])


@pytest.mark.parametrize("path", ["status", "logs", "commands", "heartbeat", "update"])
def test_what_is_asked_of_an_unknown_agent_is_a_404(api, path):
    assert api.post(f"{URL}/{uuid.uuid4()}/{path}", {}).status_code == 404


def test_the_lines_of_an_agents_log_are_paged_and_filtered(api):
    agent = factories.agent()
    instance_id = uuid.uuid4()
    for number, level in enumerate(["info", "error", "info"]):
        AgentLog.objects.create(
            agent=agent,
            at=NOW + timedelta(minutes=number),
            level=level,
            message=f"line {number}",
            instance_id=instance_id if number else None,
        )

    def lines(**filter_):
        answer = api.post(f"{URL}/{agent.id}/logs", {"filter": filter_, "page": {"limit": 2}}).json()
        assert set(answer) == {"page", "data"}
        return [line.rpartition(" ")[2] for line in answer["data"]], answer["page"]["total"]

    assert lines() == (["0", "1"], 3)
    assert lines(level="error") == (["1"], 1)
    assert lines(since="2026-03-02T12:01:00Z", until="2026-03-02T12:01:30Z") == (["1"], 1)
    assert lines(contains="line 2") == (["2"], 1)
    assert lines(task_instance_id=str(instance_id)) == (["1", "2"], 2)
    response = api.post(f"{URL}/{agent.id}/logs", {"filter": {"levels": "x", "since": {"gt": 1}}})
    assert (response.status_code, set(attrs(response))) == (400, {"filter.levels", "filter.since"})
    response = api.post(f"{URL}/{agent.id}/logs", {"filter": {"contains": {}}})
    assert (response.status_code, set(attrs(response))) == (400, {"filter.contains"})


def test_a_heartbeat_by_http_says_how_the_agent_is_until_it_falls_silent(api):
    agent = factories.agent()
    body = {"status": "busy", "metrics": {"cpu_usage": 12.5}, "running_tasks": 2}
    answer = api.post(f"{URL}/{agent.id}/heartbeat", body).json()
    assert (list(answer), answer["status"]) == (FIELDS, "busy")
    status = api.post(f"{URL}/{agent.id}/status").json()
    assert (status["running_tasks"], status["metrics"]["cpu_usage"]) == (2, 12.5)
    agent.refresh_from_db()
    server_id = uuid.uuid4()
    servers.keep_server_alive(server_id=server_id, now=agent.last_heartbeat_at + timedelta(seconds=59))
    assert api.get(f"{URL}/{agent.id}").json()["status"] == "busy"
    servers.keep_server_alive(server_id=server_id, now=agent.last_heartbeat_at + timedelta(seconds=61))
    assert api.get(f"{URL}/{agent.id}").json()["status"] == "offline"


def test_an_agent_sends_heartbeats_with_its_own_token_for_itself_only(anonymous):
    agent, other = factories.agent(), factories.agent()
    headers = {"authorization": f"Bearer {issue_token(agent=agent).secret}"}
    assert anonymous.post(f"{URL}/{agent.id}/heartbeat", {}, headers=headers).status_code == 200
    assert anonymous.post(f"{URL}/{other.id}/heartbeat", {}, headers=headers).status_code == 404
    assert anonymous.post(f"{URL}/query", {}, headers=headers).status_code == 403
    assert anonymous.post(f"{URL}/{agent.id}/heartbeat", {}).status_code == 401
    wrong = {"authorization": "Bearer hfa_x"}
    assert anonymous.post(f"{URL}/{agent.id}/heartbeat", {}, headers=wrong).status_code == 401


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"status": "offline"}, "status"),
        ({"metrics": {"cpu_usage": "x"}}, "metrics.cpu_usage"),
        ({"metrics": {"colour": 1}}, "metrics.colour"),
        ({"running_tasks": -1}, "running_tasks"),
    ],
)
def test_a_bad_heartbeat_changes_nothing(api, body, attr):
    agent = factories.agent()
    response = api.post(f"{URL}/{agent.id}/heartbeat", body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])
    agent.refresh_from_db()
    assert agent.last_heartbeat_at is None


def in_thread(call):
    """Make a call while a conversation goes on; return a function that waits for its answer."""
    answers = []

    def work():
        from django.db import connection

        try:
            answers.append(call())
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()

    def answer():
        thread.join(20)
        return answers[0]

    return answer


@pytest.mark.django_db(transaction=True)
def test_a_connected_agent_answers_commands_and_is_sent_away_when_removed(api):
    agent = factories.agent()
    credentials = {"agent_id": str(agent.id), "token": issue_token(agent=agent).secret}

    def command(**body):
        return in_thread(lambda: api.post(f"{URL}/{agent.id}/commands", body))

    async def conversation(port):
        peer = await Peer.connect(port, **credentials)
        await peer.register()
        status = await asyncio.to_thread(in_thread(lambda: api.post(f"{URL}/{agent.id}/status")))
        assert status.json()["connected"] is True

        answer = command(command="update_config", parameters={"max_concurrent_tasks": 2})
        sent = await peer.receive("command")
        assert (sent["command"], sent["parameters"]) == ("update_config", {"max_concurrent_tasks": 2})
        await peer.send("command_result", command_id=sent["command_id"], ok=True, result={"n": 2})
        response = await asyncio.to_thread(answer)
        assert (response.status_code, response.json()) == (
            200,
            {"command_id": sent["command_id"], "status": "acknowledged", "result": {"n": 2}},
        )

        answer = command(command="drain")
        sent = await peer.receive("command")
        await peer.send("command_result", command_id=sent["command_id"], ok=False, error="no")
        response = await asyncio.to_thread(answer)
        assert (response.status_code, attrs(response)) == (409, {None: "command_refused"})

        response = await asyncio.to_thread(command(command="resume", timeout_secs=0.3))
        assert (response.status_code, attrs(response)) == (504, {None: "agent_timeout"})

        response = await asyncio.to_thread(in_thread(lambda: api.delete(f"{URL}/{agent.id}")))
        assert response.status_code == 204
        assert await peer.close_code() == 4001

    async def whole(port):
        try:
            await conversation(port)
        finally:
            await Peer.close_all()

    with processes.server() as port:
        asyncio.run(whole(port))
    assert database_now() > NOW
