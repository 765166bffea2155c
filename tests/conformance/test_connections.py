"""`/api/v1/connections`: sessions on both servers, whichever is asked."""

import signal
import time
import uuid
from typing import Any

import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import Agent, Installation, until
from tests.conformance.objects import make_agent

DETAIL = {**shapes.STATS, "server_id": kinds.uuid7}


def sessions(client: Client, **filters: Any) -> dict[str, Any]:
    """Return the sessions that a query finds, by agent, after a check of the page."""
    body = {"filter": filters, "page": {"limit": 500}}
    return {
        row["agent_id"]: row
        for row in shapes.check_page(shapes.CONNECTION, client.post("/connections/query", body))
    }


@covers("connections.query", "connections.cluster", "page-result")
def test_the_sessions_of_both_servers_are_found_from_either(
    api: Client, other: Client, agents: list[Agent]
) -> None:
    active = {row["id"] for row in api.get("/servers?status=active")["data"]}
    seen = []
    for client in (api, other):
        found = sessions(client)
        assert {agent.id for agent in agents} <= set(found)
        seen.append({agent.id: found[agent.id]["server_id"] for agent in agents})
    assert seen[0] == seen[1]
    # Each agent is connected to a server of its own.
    assert len(set(seen[0].values())) == 2
    assert set(seen[0].values()) <= active
    for client in (api, other):
        listed = client.get("/connections?limit=500")
        assert {row["agent_id"] for row in shapes.check_page(shapes.CONNECTION, listed)} >= set(seen[0])


@covers("connections.query", "durations", "times")
def test_a_session_tells_how_long_it_lasts_and_how_much_was_said(api: Client, agent: Agent) -> None:
    before = sessions(api, agent_id=agent.id)[agent.id]
    assert before["connected_at"] == api.get(f"/agents/{agent.id}")["connected_at"]
    assert before["remote_address"] == "127.0.0.1"
    assert before["messages_received"] > 0

    def later() -> Any:
        now = sessions(api, agent_id=agent.id)[agent.id]
        grown = ("duration", "messages_sent", "messages_received", "last_activity")
        return now if all(now[name] > before[name] for name in grown) else None

    after = until(later, "the session goes on")
    assert (after["connected_at"], after["server_id"]) == (before["connected_at"], before["server_id"])


@covers("connections.query", "query-operators")
def test_sessions_are_found_by_status_age_and_agent(api: Client, other: Client, agents: list[Agent]) -> None:
    first, second = agents
    for client in (api, other):
        assert set(sessions(client, agent_id=first.id)) == {first.id}
        assert set(sessions(client, agent_id={"in": [first.id, second.id]})) == {first.id, second.id}
        assert sessions(client, agent_id=str(uuid.uuid4())) == {}
        assert {first.id, second.id} <= set(sessions(client, min_duration=0))
        assert sessions(client, min_duration=10**8) == {}
        assert sessions(client, status="offline") == {}
        now = sessions(client)[first.id]
        assert first.id in sessions(client, agent_id=first.id, min_duration=now["duration"])
        assert client.get(f"/connections?agent_id={second.id}&min_duration=0")["page"]["total"] == 1
    until(lambda: first.id in sessions(api, status="idle", agent_id=first.id), "the agent is idle")


@covers("connections.query", "bad-input", "query-unknown")
@pytest.mark.parametrize(
    ("filters", "at"),
    [
        ({"status": "connected"}, "status"),
        ({"min_duration": -1}, "min_duration"),
        ({"min_duration": "5"}, "min_duration"),
        ({"agent_id": "x"}, "agent_id"),
        ({"typo": 1}, "typo"),
    ],
    ids=str,
)
def test_a_question_for_sessions_that_makes_no_sense_is_refused(
    api: Client, filters: dict[str, Any], at: str
) -> None:
    assert list(api.refuse(400, "POST", "/connections/query", {"filter": filters})) == [f"filter.{at}"]


@covers("connections.stats", "connections.cluster")
def test_statistics_count_the_whole_cluster_and_each_server_when_asked(
    api: Client, other: Client, agents: list[Agent]
) -> None:
    for client in (api, other):
        shapes.check(shapes.STATS, client.post("/connections/stats"))
        shapes.check(shapes.STATS, client.post("/connections/stats", {"include_details": False}))
        stats = client.post("/connections/stats", {"include_details": True})
        details = stats.pop("details")
        shapes.check(shapes.STATS, stats)
        for detail in details:
            shapes.check(DETAIL, detail)
        assert stats["total_connections"] == stats["online_connections"] == len(sessions(client)) >= 2
        assert stats["idle_connections"] + stats["busy_connections"] <= stats["total_connections"]
        assert stats["average_duration"] > 0
        active = {row["id"] for row in client.get("/servers?status=active")["data"]}
        assert {detail["server_id"] for detail in details} == active
        assert sum(detail["total_connections"] for detail in details) == stats["total_connections"]
        assert all(detail["total_connections"] >= 1 for detail in details)
    wrong = {"include_details": 1, "typo": 1}
    assert set(api.refuse(400, "POST", "/connections/stats", wrong)) == set(wrong)


@covers("connections.stats")
def test_statistics_count_messages_as_they_are_exchanged(api: Client, agents: list[Agent]) -> None:
    before = api.post("/connections/stats")
    for agent in agents:
        api.post(f"/agents/{agent.id}/commands", {"command": "fetch_metrics"})

    def grown() -> bool:
        after = api.post("/connections/stats")
        names = ("total_messages_sent", "total_messages_received", "average_duration")
        return all(after[name] > before[name] for name in names)

    until(grown, "the counters rise")


@covers("connections.close", "connections.cluster", "delete")
def test_a_session_is_closed_on_whichever_server_holds_it(
    installation: Installation, api: Client, other: Client, agents: list[Agent]
) -> None:
    # The first agent is on the first server, and the second server is asked; and the other way round.
    for client, agent in ((other, agents[0]), (api, agents[1])):
        before = sessions(client, agent_id=agent.id)[agent.id]
        client.delete(f"/connections/{agent.id}")
        assert agent.log is not None

        def is_back(agent: Agent = agent, before: Any = before) -> bool:
            now = sessions(api, agent_id=agent.id).get(agent.id)
            return now is not None and now["connected_at"] > before["connected_at"]

        # An agent whose session is closed may come back, and does.
        until(is_back, "the agent has another session")
        assert agent.is_running


@covers("connections.close", "not-found")
def test_who_is_not_connected_cannot_be_disconnected(api: Client, other: Client) -> None:
    agent = make_agent(api)
    api.post(f"/agents/{agent['id']}/heartbeat", {"status": "idle"})
    for client in (api, other):
        for agent_id in (agent["id"], str(uuid.uuid4())):
            assert client.why(404, "DELETE", f"/connections/{agent_id}")[0] == "not_found"


# --- broadcast ------------------------------------------------------------------------------------------


def broadcast(client: Client, **more: Any) -> Any:
    """Broadcast a command that changes nothing, and return the result."""
    payload = {"command": "fetch_metrics", "timeout_secs": 30}
    result = client.post("/connections/broadcast", {"message_kind": "command", "payload": payload, **more})
    shapes.check(shapes.BROADCAST, result)
    assert result["failed_count"] == len(result["failed_agents"])
    assert result["target_count"] == result["success_count"] + result["failed_count"]
    return result


@covers("connections.broadcast", "connections.cluster")
def test_a_broadcast_reaches_the_agents_of_both_servers(
    api: Client, other: Client, agents: list[Agent]
) -> None:
    for client in (api, other):
        result = broadcast(client)
        assert result["target_count"] == result["success_count"] == len(sessions(client)) >= 2
        result = broadcast(client, target_agents=[agents[1].id], priority=9)
        assert (result["target_count"], result["success_count"]) == (1, 1)


@covers("connections.broadcast")
def test_a_broadcast_says_who_did_not_acknowledge(api: Client, agents: list[Agent]) -> None:
    absent = make_agent(api)["id"]
    result = broadcast(api, target_agents=[agents[0].id, absent, agents[1].id])
    assert (result["target_count"], result["success_count"], result["failed_agents"]) == (3, 2, [absent])
    assert broadcast(api, target_agents=[])["target_count"] == 0
    # What an agent refuses, it does not acknowledge.
    payload = {"command": "update_config", "parameters": {"no": "sense"}, "timeout_secs": 30}
    body = {"message_kind": "command", "payload": payload, "target_agents": [agents[0].id]}
    refused = api.post("/connections/broadcast", body)
    assert (refused["success_count"], refused["failed_agents"]) == (0, [agents[0].id])


@covers("connections.broadcast", "durations")
def test_a_broadcast_waits_no_longer_than_it_is_told_to(api: Client, spare: Agent) -> None:
    spare.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        payload = {"command": "fetch_metrics", "timeout_secs": 0.5}
        body = {"message_kind": "command", "payload": payload, "target_agents": [spare.id]}
        result = api.post("/connections/broadcast", body)
        assert result["failed_agents"] == [spare.id]
        assert time.monotonic() - began < 20
    finally:
        spare.send(signal.SIGCONT)


@covers("connections.broadcast", "bad-input", "unknown")
@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "message_kind payload"),
        ({"message_kind": "poem", "payload": {"command": "drain"}}, "message_kind"),
        ({"message_kind": 5, "payload": {"command": "drain"}}, "message_kind"),
        ({"message_kind": "command", "payload": {}}, "payload.command"),
        ({"message_kind": "command", "payload": {"command": "reboot"}}, "payload.command"),
        ({"message_kind": "command", "payload": []}, "payload"),
        (
            {"message_kind": "command", "payload": {"command": "drain"}, "target_agents": ["x"]},
            "target_agents.0",
        ),
        (
            {"message_kind": "command", "payload": {"command": "drain"}, "priority": 256, "typo": 1},
            "priority typo",
        ),
    ],
    ids=str,
)
def test_a_broadcast_of_nonsense_is_refused(api: Client, body: dict[str, Any], at: str) -> None:
    refused = api.refuse(400, "POST", "/connections/broadcast", body)
    assert {name.removesuffix(".non_field_errors") for name in refused} == set(at.split())
