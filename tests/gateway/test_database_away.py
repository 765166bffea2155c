"""A server whose database is not there yet, or not any more."""

import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection
from websockets.exceptions import InvalidStatus

from tests import processes
from tests.gateway.peer import Peer, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def empty_url(tmp_path):
    """An address at which there is no database until somebody puts its socket there."""
    settings = connection.settings_dict
    return f"postgresql://{settings['USER']}@/{settings['NAME']}?host={quote(str(tmp_path), safe='')}"


def test_a_server_waits_for_its_database_and_refuses_agents_with_503_until_it_is_there(
    credentials, empty_url, tmp_path
):
    with processes.server(DATABASE_URL=empty_url) as port:

        async def refused():
            with pytest.raises(InvalidStatus) as caught:
                await Peer.connect(port, **credentials)
            return caught.value.response.status_code

        assert (run(refused()), health(port)) == (503, 503)
        settings = connection.settings_dict
        folder = Path(settings["HOST"] or settings["OPTIONS"]["host"])
        (tmp_path / ".s.PGSQL.5432").symlink_to(folder / ".s.PGSQL.5432")

        async def registered():
            deadline = time.monotonic() + 15
            while True:
                try:
                    return await Peer.registered(port, **credentials)
                except InvalidStatus:  # 503 again
                    if time.monotonic() > deadline:
                        raise

        run(registered())
        assert health(port) == 200


def health(port):
    """Return the status of the health check."""
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/health", timeout=15).status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_server_without_its_database_ends_on_sigterm_within_seconds(empty_url):
    port = processes.free_port()
    with processes.manage("server", "--port", str(port), DATABASE_URL=empty_url) as program:
        processes.wait_for_http(port, still=lambda: program.is_running)
        begin = time.monotonic()
        program.stop()
        assert time.monotonic() - begin < 3
