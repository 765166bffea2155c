import asyncio
import uuid
from datetime import timedelta

import pytest

from agents.protocol.version import CLOSE_DISCONNECTED
from agents.tokens import issue_token
from gateway import servers
from gateway.models import AgentCommand, Connection, Server
from scheduling.clock import database_now
from tests import factories, processes
from tests.gateway.peer import Peer

URL = "/api/v1/connections"
FIELDS = [
    "agent_id",
    "status",
    "connected_at",
    "last_activity",
    "duration",
    "messages_sent",
    "messages_received",
    "server_id",
    "remote_address",
]


def attrs(response):
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


def server(*, silent_secs=0):
    server_id = uuid.uuid4()
    now = database_now() - timedelta(seconds=silent_secs)
    servers.register_server(server_id=server_id, name="s", address="", version="1", now=now)
    return server_id


def session(server_id, *, age_secs=0, messages=0):
    now = database_now() - timedelta(seconds=age_secs)
    return Connection.objects.create(
        agent=factories.agent(),
        server_id=server_id,
        session_id=uuid.uuid4(),
        epoch=uuid.uuid4(),
        connected_at=now,
        last_activity=now,
        messages_sent=messages,
        messages_received=messages * 2,
    )


def found(api, **filter_):
    answer = api.post(f"{URL}/query", {"filter": filter_}).json()
    return [one["agent_id"] for one in answer["data"]]


def test_the_sessions_of_all_live_servers_are_listed(api, django_assert_num_queries):
    old, new = session(server(), age_secs=100), session(server(), age_secs=10)
    session(server(silent_secs=60))
    with django_assert_num_queries(1):
        answer = api.post(f"{URL}/query", {}).json()
    assert answer["page"]["total"] == 2
    assert [one["agent_id"] for one in answer["data"]] == [str(new.pk), str(old.pk)]
    assert list(answer["data"][0]) == FIELDS
    assert 100 <= answer["data"][1]["duration"] < 110
    assert found(api, min_duration=50) == [str(old.pk)]
    assert found(api, status="idle", agent_id=str(new.pk)) == [str(new.pk)]
    assert found(api, status="busy") == []


@pytest.mark.parametrize(
    ("filter_", "attr"),
    [
        ({"min_duration": -1}, "filter.min_duration"),
        ({"min_duration": "5"}, "filter.min_duration"),
        ({"min_duration": 10**300}, "filter.min_duration"),
        ({"status": "asleep"}, "filter.status"),
        ({"colour": 1}, "filter.colour"),
    ],
)
def test_a_bad_question_about_sessions_is_a_400(api, filter_, attr):
    response = api.post(f"{URL}/query", {"filter": filter_})
    assert (response.status_code, list(attrs(response))) == (400, [attr])


def test_sessions_are_counted_for_the_cluster_and_for_each_server(api):
    first, second = sorted([server(), server()])
    session(first, age_secs=10, messages=1)
    session(second, age_secs=30, messages=2)
    stats = api.post(f"{URL}/stats").json()
    assert 20 <= stats.pop("average_duration") < 25
    assert stats == {
        "total_connections": 2,
        "online_connections": 2,
        "idle_connections": 2,
        "busy_connections": 0,
        "total_messages_sent": 3,
        "total_messages_received": 6,
    }
    details = api.post(f"{URL}/stats", {"include_details": True}).json()["details"]
    assert [(one["server_id"], one["total_connections"]) for one in details] == [
        (str(first), 1),
        (str(second), 1),
    ]


def test_a_server_without_sessions_is_counted_too(api):
    busy, idle = server(), server()
    session(busy)
    details = api.post(f"{URL}/stats", {"include_details": True}).json()["details"]
    counted = {one["server_id"]: (one["total_connections"], one["average_duration"] > 0) for one in details}
    assert counted == {str(busy): (1, True), str(idle): (0, False)}


def test_nothing_is_counted_where_nothing_is(api):
    stats = api.post(f"{URL}/stats", {"include_details": True}).json()
    assert (stats["total_connections"], stats["average_duration"], stats["details"]) == (0, 0.0, [])


def test_closing_a_session_that_is_not_there_is_a_404(api):
    assert api.delete(f"{URL}/{factories.agent().id}").status_code == 404


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"message_kind": "poem", "payload": {"command": "drain"}}, "message_kind"),
        ({"message_kind": "command", "payload": {"command": "poem"}}, "payload.command"),
        ({"message_kind": "command"}, "payload"),
        ({"message_kind": "command", "payload": {"command": "drain"}, "priority": 256}, "priority"),
        (
            {"message_kind": "command", "payload": {"command": "drain"}, "target_agents": ["x"]},
            "target_agents.0",
        ),
    ],
)
def test_a_bad_broadcast_reaches_nobody(api, body, attr):
    session(server())
    response = api.post(f"{URL}/broadcast", body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])
    assert AgentCommand.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_broadcast_counts_who_acknowledged_and_a_closed_session_ends(api):
    agents = [factories.agent() for _ in range(2)]
    offline = factories.agent()
    tokens = [issue_token(agent=agent).secret for agent in agents]

    async def conversation(port):
        peers = [
            await Peer.connect(port, agent_id=str(agent.id), token=token)
            for agent, token in zip(agents, tokens, strict=True)
        ]
        for peer in peers:
            await peer.register()
        call = asyncio.create_task(
            asyncio.to_thread(
                in_thread,
                lambda: api.post(
                    f"{URL}/broadcast",
                    {
                        "message_kind": "command",
                        "payload": {"command": "clear_cache"},
                        "target_agents": [str(agent.id) for agent in (*agents, offline)],
                    },
                ),
            )
        )
        for peer, ok in zip(peers, (True, False), strict=True):
            sent = await peer.receive("command")
            await peer.send("command_result", command_id=sent["command_id"], ok=ok)
        result = (await call).json()
        assert (result["target_count"], result["success_count"], result["failed_count"]) == (3, 1, 2)
        assert set(result["failed_agents"]) == {str(agents[1].id), str(offline.id)}
        closed = await asyncio.to_thread(in_thread, lambda: api.delete(f"{URL}/{agents[0].id}"))
        assert closed.status_code == 204
        assert await peers[0].close_code() == CLOSE_DISCONNECTED

    async def whole(port):
        try:
            await conversation(port)
        finally:
            await Peer.close_all()

    with processes.server() as port:
        asyncio.run(whole(port))


def in_thread(call):
    """Make a call on this thread and give its database connection back."""
    from django.db import connection

    try:
        return call()
    finally:
        connection.close()


def test_servers_are_listed_and_one_of_the_live_ones_leads(api):
    dead, first, second = server(silent_secs=60), server(), server()
    servers.keep_server_alive(server_id=first, now=database_now())
    servers.keep_server_alive(server_id=second, now=database_now())
    answer = api.post("/api/v1/servers/query", {"page": {"order_bys": ["started_at"]}}).json()
    assert list(answer["data"][0]) == [
        "id",
        "name",
        "address",
        "status",
        "is_leader",
        "started_at",
        "last_heartbeat_at",
        "version",
    ]
    assert [(one["id"], one["status"], one["is_leader"]) for one in answer["data"]] == [
        (str(dead), "inactive", False),
        (str(first), "active", True),
        (str(second), "active", False),
    ]
    assert api.get(f"/api/v1/servers/{first}").json() == answer["data"][1]
    active = api.get("/api/v1/servers?status=active&is_leader=false").json()["data"]
    assert [one["id"] for one in active] == [str(second)]
    assert api.post("/api/v1/servers", {}).status_code == 405
    assert Server.objects.count() == 3


@pytest.mark.django_db
def test_another_server_leads_when_the_leader_stops_or_dies():
    first, second = uuid.uuid4(), uuid.uuid4()
    now = database_now()
    assert servers.lead(server_id=first, now=now)
    assert not servers.lead(server_id=second, now=now + timedelta(seconds=5))
    assert servers.lead(server_id=second, now=now + timedelta(seconds=7))
    assert not servers.lead(server_id=first, now=now + timedelta(seconds=8))
    servers.retire_server(server_id=second, now=now)
    assert servers.lead(server_id=first, now=now + timedelta(seconds=9))
