"""A server dies under a crowd of agents, which all come back at once."""

import asyncio
import logging
import time
import uuid

import pytest
from websockets.exceptions import InvalidHandshake, WebSocketException

from agents.daemon.backoff import Backoff
from agents.tokens import issue_agent_token
from gateway.models import Connection, Server
from tests.gateway.peer import Peer, in_thread, run, until

pytestmark = pytest.mark.e2e
logger = logging.getLogger(__name__)
AGENTS = 500
BACK_WITHIN_SECS = 30


async def stay_connected(port, *, agent_id, token):
    """Connect and register again and again, as the daemon does it."""
    backoff, epoch = Backoff(), str(uuid.uuid4())
    while True:
        await asyncio.sleep(backoff.next_delay_secs())
        try:
            peer = await Peer.registered(port, epoch=epoch, agent_id=agent_id, token=token)
            backoff.reset()
            await peer.socket.wait_closed()
        except (OSError, TimeoutError, WebSocketException, InvalidHandshake):
            continue


def test_500_agents_are_back_within_30_seconds_of_their_servers_death(fresh):
    server = fresh.server()
    agents = [issue_agent_token(name=f"crowd-{number}") for number in range(AGENTS)]
    dead = Server.objects.get().pk

    def connected():
        return Connection.objects.filter(server__isnull=False)

    async def crowd():
        peers = [
            asyncio.create_task(stay_connected(server.port, agent_id=str(row.pk), token=token))
            for row, token in agents
        ]
        try:
            await until(lambda: connected().count() == AGENTS, limit_secs=60)
            await in_thread(server.kill)
            begun = time.monotonic()
            await in_thread(server.start_and_listen)
            there = time.monotonic() - begun
            await until(lambda: connected().exclude(server=dead).count() == AGENTS, limit_secs=60)
            return there, time.monotonic() - begun
        finally:
            for peer in peers:
                peer.cancel()
            await asyncio.gather(*peers, return_exceptions=True)

    there, back = run(crowd())
    logger.info("the server was there after %.1f s, the last agent after %.1f s", there, back)
    assert back < BACK_WITHIN_SECS
    log = server.log.read_text()
    assert " ERROR " not in log
    assert "Traceback" not in log
