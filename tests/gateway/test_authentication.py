import asyncio
from datetime import timedelta

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agents.models import Agent, AgentToken
from scheduling.clock import database_now
from tests.gateway.conftest import new_credentials
from tests.gateway.peer import Peer, run

pytestmark = pytest.mark.django_db(transaction=True)


async def refusal(port, *, path="/ws/agent", **options):
    """Return the HTTP status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://127.0.0.1:{port}{path}", **options)
    return caught.value.response.status_code


def bearer(token, **headers):
    return {
        "additional_headers": {"Authorization": f"Bearer {token}", **headers},
        "subprotocols": ["hetuflow.agent.v1"],
    }


def test_every_cause_of_refusal_gets_the_same_403(port, credentials):
    revoked, expired, archived = new_credentials(), new_credentials(), new_credentials()
    now = database_now()
    AgentToken.objects.filter(agent=revoked["agent_id"]).update(revoked_at=now)
    AgentToken.objects.filter(agent=expired["agent_id"]).update(expires_at=now - timedelta(seconds=1))
    Agent.objects.filter(pk=archived["agent_id"]).update(archived_at=now)
    token = credentials["token"]
    requests = {
        "none": {"subprotocols": ["hetuflow.agent.v1"]},
        "empty": bearer(""),
        "unknown": bearer("hfa_00000000000000000000000000000000_x"),
        "not latin": bearer("\xff\xfe"),
        "revoked": bearer(revoked["token"]),
        "expired": bearer(expired["token"]),
        "archived": bearer(archived["token"]),
        "cookie": {
            "additional_headers": {"Cookie": f"sessionid={token}"},
            "subprotocols": ["hetuflow.agent.v1"],
        },
        "url": {"path": f"/ws/agent?token={token}", "subprotocols": ["hetuflow.agent.v1"]},
        "basic": {
            "additional_headers": {"Authorization": f"Basic {token}"},
            "subprotocols": ["hetuflow.agent.v1"],
        },
        "no subprotocol": {"additional_headers": {"Authorization": f"Bearer {token}"}},
    }

    async def conversation():
        return {name: await refusal(port, **request) for name, request in requests.items()}

    assert run(conversation()) == dict.fromkeys(requests, 403)


def test_a_path_without_a_socket_is_refused_at_once(port, credentials):
    async def conversation():
        async with asyncio.timeout(2):
            return await refusal(port, path="/ws/else", **bearer(credentials["token"]))

    assert run(conversation()) == 403


def test_the_socket_speaks_the_subprotocol_and_no_compression(port, credentials):
    async def conversation():
        peer = await Peer.connect(port, **credentials, compression="deflate")
        assert peer.socket.subprotocol == "hetuflow.agent.v1"
        assert "Sec-WebSocket-Extensions" not in peer.socket.response.headers
        await peer.register()

    run(conversation())
