"""`/api/v1/servers`, and who of them leads."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conformance import shapes
from tests.conformance.client import Client
from tests.conformance.conftest import Cluster
from tests.conformance.contract import covers
from tests.conformance.installation import until


def servers(client: Client, **filters: Any) -> list[Any]:
    """Return the servers that a query finds, after a check of the page."""
    return shapes.check_page(shapes.SERVER, client.post("/servers/query", {"filter": filters}))


@covers("servers", "servers.status", "connections.cluster", "ids", "read")
def test_the_servers_of_the_cluster_are_known_to_each_other(api: Client, other: Client) -> None:
    for client in (api, other):
        active = servers(client, status="active")
        assert len(active) == 2
        for server in active:
            alone = client.get(f"/servers/{server['id']}")
            shapes.check(shapes.SERVER, alone)
            assert {**alone, "last_heartbeat_at": None} == {**server, "last_heartbeat_at": None}
            assert server["started_at"] <= server["last_heartbeat_at"]
            beat = datetime.fromisoformat(server["last_heartbeat_at"])
            assert datetime.now(UTC) - beat < timedelta(seconds=30)
            assert server["version"] == client.post("/info")["version"]
            assert servers(client, id=server["id"], name=server["name"])[0]["id"] == server["id"]
    assert [row["is_leader"] for row in servers(api, is_leader=True)] == [True]


@covers("system.leader", "servers", "servers.status", "agents.status-values")
def test_the_lead_is_with_one_server_and_passes_on_when_that_is_killed(
    cluster: Cluster, api: Client, other: Client
) -> None:
    clients = dict(zip(cluster.servers, (api, other), strict=True))

    def who_leads() -> list[Any]:
        return [
            server
            for server, client in clients.items()
            if server.is_running and client.post("/info")["is_leader"]
        ]

    def one_leads() -> Any:
        return next(iter(who_leads()), None)

    leader = until(one_leads, "somebody leads")
    assert len(who_leads()) == 1
    (follower,) = set(clients) - {leader}
    ask = clients[follower]
    (row,) = servers(ask, is_leader=True)
    leader.kill()
    try:
        until(lambda: ask.post("/info")["is_leader"], "the other server leads")
        (heir,) = servers(ask, is_leader=True)
        assert heir["id"] != row["id"]
        assert heir["status"] == "active"
        until(lambda: servers(ask, id=row["id"], status="inactive"), "the dead server is inactive")
        dead = ask.get(f"/servers/{row['id']}")
        assert (dead["status"], dead["is_leader"]) == ("inactive", False)
        # Its agent is not there either, and is when there is a server for it again.
        index = cluster.servers.index(leader)
        until(
            lambda: not ask.post(f"/agents/{cluster.agents[index].id}/status")["connected"],
            "the agent of the dead server is away",
        )
    finally:
        leader.start()
        leader.first_answer()
    until(lambda: len(servers(ask, status="active")) == 2, "both are there again")
    until(lambda: len(who_leads()) == 1, "one leads")
    assert clients[leader].post("/info")["uptime"] < ask.post("/info")["uptime"]
    # Its agent waits longer and longer between its attempts; one that is started anew comes at once.
    away = cluster.agents[cluster.servers.index(leader)]
    away.stop()
    away.start()
    cluster.installation.wait_for(away, ask)
