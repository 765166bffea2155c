"""Peers that send without end and never read: each is held to its bounds, and then cut off."""

import itertools
import json
import uuid

import pytest
from websockets.exceptions import InvalidStatus

from tests.flooding import PING, Flood, frame
from tests.gateway.conftest import new_credentials
from tests.gateway.peer import Peer, in_thread, run, until

pytestmark = pytest.mark.django_db(transaction=True)
MAX_FRAMES = 1024
MAX_UNREGISTERED = 16
MIB = 2**20


def test_a_peer_that_asks_for_pongs_and_never_reads_them_is_cut_off(port, credentials):
    pings = frame(b"x" * 125, first=PING) * 1000
    flood = Flood(port, **credentials, blocks=lambda: itertools.repeat(pings), reads=False)
    flood.start()

    async def conversation():
        await until(lambda: flood.cut_off)

    run(conversation())
    flood.end()
    # What it was sent and did not read, what the kernels hold, and the next connection of it.
    assert flood.sent < 64 * MIB


@pytest.mark.parametrize(("frames", "is_taken"), [(MAX_FRAMES, True), (MAX_FRAMES + 2, False)])
def test_a_message_has_at_most_1024_frames(port, credentials, frames, is_taken):
    payload = {"nonce": 7, "status": "idle", "running": 0, "metrics": {}, "attempts": []}
    heartbeat = {"kind": "heartbeat", "id": str(uuid.uuid4()), "timestamp": 1, "payload": payload}

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        text = json.dumps(heartbeat)
        # Of the library's own making is one more, an empty last one.
        await peer.socket.send([text, *[""] * (frames - 2)])
        return (await peer.receive("lease"))["nonce"] if is_taken else await peer.close_code()

    assert run(conversation()) == (7 if is_taken else 1009)


def test_an_agent_has_at_most_16_sockets_that_have_not_registered(port, credentials):
    async def conversation():
        peers = [await Peer.connect(port, **credentials) for _ in range(MAX_UNREGISTERED)]
        with pytest.raises(InvalidStatus) as refused:
            await Peer.connect(port, **credentials)
        assert refused.value.response.status_code == 503
        await Peer.registered(port, **await in_thread(new_credentials))
        # Each that registers or goes makes room for another one.
        await peers[0].register()
        await Peer.connect(port, **credentials)
        await peers[1].socket.close()
        await Peer.connect(port, **credentials)

    run(conversation())
