"""One installation for the whole suite: two servers, a scheduler, and an agent on each server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.client import Client
from tests.conformance.installation import POOL_SIZE, Agent, Installation, Server
from tests.conformance.world import World, make_many_jobs
from tests.databases import drop_template

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.e2e)


class Cluster:
    """What the tests talk to. The first server is usually the leader; the second has a smaller pool."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        # Agents report how they are with each heartbeat.
        beat = {"HETUFLOW_HEARTBEAT_SECS": "1"}
        self.servers: list[Server] = [
            installation.server(**beat),
            installation.server(**beat, HETUFLOW_DATABASE_POOL_SIZE=str(POOL_SIZE)),
        ]
        installation.scheduler()
        for server in self.servers:
            assert server.first_answer().status == 200
        self.clients = [installation.client(server) for server in self.servers]
        self.spare: Agent | None = None
        self.agents = [installation.agent(client) for client in self.clients]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    installation = Installation(tmp_path_factory.mktemp("conformance"))
    try:
        yield Cluster(installation)
    finally:
        installation.close()
        drop_template()


@pytest.fixture(scope="session")
def installation(cluster: Cluster) -> Installation:
    return cluster.installation


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Client:
    """A client of the first server, with a superuser's token."""
    return cluster.clients[0]


@pytest.fixture(scope="session")
def other(cluster: Cluster) -> Client:
    """The same person at the second server."""
    return cluster.clients[1]


@pytest.fixture
def agent(cluster: Cluster, api: Client) -> Agent:
    """The agent of the first server, which has a session."""
    cluster.installation.wait_for(cluster.agents[0], api)
    return cluster.agents[0]


@pytest.fixture
def agents(cluster: Cluster, api: Client) -> list[Agent]:
    """The agents of both servers, which have sessions."""
    for one in cluster.agents:
        cluster.installation.wait_for(one, api)
    return cluster.agents


@pytest.fixture
def spare(cluster: Cluster, api: Client) -> Agent:
    """An agent with one slot on the first server, for whatever it takes; it alone is labelled `spare`."""
    if cluster.spare is None or not cluster.spare.is_running:
        cluster.spare = cluster.installation.agent(api, slots=1, labels={"spare": "yes"})
    cluster.installation.wait_for(cluster.spare, api)
    return cluster.spare


@pytest.fixture(scope="session")
def world(api: Client) -> World:
    """A few rows of every resource."""
    return World(api)


@pytest.fixture(scope="session")
def many(api: Client) -> str:
    """A namespace with many jobs, every other one disabled."""
    return make_many_jobs(api)
