"""One installation for all tests that break nothing; those that do get one of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.databases import drop_template
from tests.e2e.clusters import Cluster
from tests.e2e.installation import AgentProgram, Installation, agent_python


@pytest.fixture(scope="session")
def e2e_folder(tmp_path_factory: pytest.TempPathFactory, django_db_blocker) -> Iterator[Path]:  # type: ignore[no-untyped-def]
    """Return a folder for installations; while it is there, queries go to an installation's database."""
    folder = tmp_path_factory.mktemp("e2e")
    agent_python(folder / "venv")
    before = dict(connection.settings_dict)
    with django_db_blocker.unblock():
        yield folder
        connection.close()
        connection.settings_dict.update(before)
    drop_template()


@pytest.fixture(scope="session")
def shared(e2e_folder: Path) -> Iterator[Installation]:
    """A server, a scheduler and one agent with eight slots."""
    installation = Installation(e2e_folder)
    installation.enter()
    server = installation.server()
    installation.scheduler()
    installation.agent(port=server.port, slots=8)
    installation.wait_for_planning()
    yield installation
    installation.enter()
    installation.close()


@pytest.fixture
def installation(shared: Installation) -> Installation:
    """The shared installation, as it is."""
    shared.enter()
    return shared


@pytest.fixture
def agent(installation: Installation) -> AgentProgram:
    """The shared installation's agent."""
    return next(program for program in installation.programs if isinstance(program, AgentProgram))


@pytest.fixture
def own_folder(e2e_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for an installation of this test's own."""
    folder = e2e_folder / f"own-{tmp_path_factory.mktemp('own').name}"
    folder.mkdir()
    (folder / "venv").symlink_to(e2e_folder / "venv")
    return folder


@pytest.fixture
def fresh(own_folder: Path) -> Iterator[Installation]:
    """An installation of this test's own, with nothing started, to do to it what one likes."""
    installation = Installation(own_folder)
    installation.enter()
    yield installation
    installation.enter()
    installation.close()


@pytest.fixture
def apart(e2e_folder: Path, own_folder: Path) -> Iterator[Installation]:
    """The same on a PostgreSQL of its own, to which one may do what one likes, too."""
    cluster = Cluster.copied(e2e_folder / "seed", own_folder / "cluster")
    installation = Installation(own_folder, cluster=cluster)
    installation.enter()
    yield installation
    installation.enter()
    installation.close()
