"""A session lives as long as its token is valid: revoked, replaced or expired, it is closed within 2 s."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from websockets.exceptions import InvalidStatus

from agents import hints, tokens
from agents.clock import database_now
from agents.models import Agent, AgentToken
from gateway.dispatch import _claim
from gateway.models import Connection
from scheduling.models import TaskInstance
from tests import factories, processes
from tests.gateway.conftest import new_credentials
from tests.gateway.peer import Peer, in_thread, run, until

pytestmark = pytest.mark.django_db(transaction=True)
LIMIT_SECS = 2.0


async def closes_as_refused(peer, *, after=0.0, limit_secs=LIMIT_SECS):
    """Wait for the end of a session and say whether it was the one of a token that is refused, in time."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    goodbye = await peer.receive("goodbye")
    code = await peer.close_code()
    assert loop.time() - begin < after + limit_secs
    return (goodbye["reason"], code) == ("token refused", 1008)


async def is_refused(port, credentials):
    with pytest.raises(InvalidStatus) as caught:
        await Peer.connect(port, **credentials)
    return caught.value.response.status_code == 403


def revoke(agent_id):
    token = AgentToken.objects.get(agent=agent_id, revoked_at__isnull=True)
    tokens.revoke_token(token_id=token.pk, now=database_now())


@pytest.mark.parametrize("notify", [True, False])
def test_a_revoked_token_ends_its_session_within_two_seconds_also_when_the_hint_is_lost(
    port, credentials, monkeypatch, notify
):
    if not notify:
        monkeypatch.setattr(hints, "_notify", lambda _payload: None)
    bystander = new_credentials()

    async def conversation():
        other = await Peer.registered(port, **bystander)
        peer = await Peer.registered(port, **credentials)
        await in_thread(lambda: revoke(credentials["agent_id"]))
        assert await closes_as_refused(peer, limit_secs=0.9 if notify else LIMIT_SECS)
        assert await is_refused(port, credentials)
        await other.heartbeat()

    run(conversation())


def test_a_token_that_is_revoked_by_a_statement_alone_ends_its_session_too(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await in_thread(lambda: AgentToken.objects.update(revoked_at=database_now()))
        assert await closes_as_refused(peer)

    run(conversation())


def test_a_token_whose_row_is_deleted_ends_its_session_too(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await in_thread(lambda: AgentToken.objects.all().delete())
        assert await closes_as_refused(peer)

    run(conversation())


def test_a_session_ends_on_the_server_that_holds_it_whoever_revokes_the_token(credentials):
    with processes.server() as first, processes.server() as second:

        async def conversation():
            peer = await Peer.registered(first, **credentials)
            await Peer.registered(second, **new)
            await in_thread(lambda: revoke(credentials["agent_id"]))
            assert await closes_as_refused(peer)
            assert await is_refused(first, credentials)
            assert await is_refused(second, credentials)

        new = new_credentials()
        run(conversation())


def test_a_session_ends_when_its_token_expires(port):
    agent, life = factories.agent(), timedelta(seconds=1.5)

    async def conversation():
        issued = await in_thread(lambda: tokens.issue_token(agent=agent, expires_at=database_now() + life))
        credentials = {"agent_id": str(agent.pk), "token": issued.secret}
        peer = await Peer.registered(port, **credentials)
        assert await closes_as_refused(peer, after=life.total_seconds())
        assert await in_thread(database_now) >= issued.row.expires_at
        assert await is_refused(port, credentials)

    run(conversation())


def test_a_rotation_moves_the_agent_to_the_new_token_without_losing_what_it_runs(port, credentials):
    agent_id, epoch = uuid.UUID(credentials["agent_id"]), str(uuid.uuid4())

    async def conversation():
        await in_thread(lambda: factories.task(now=database_now()))
        peer = await Peer.registered(port, epoch=epoch, **credentials)
        task = await peer.take()
        await peer.report(task, "running")
        fresh = await in_thread(
            lambda: tokens.rotate_token(agent_id=agent_id, now=database_now(), overlap=timedelta(0))
        )
        assert await closes_as_refused(peer)
        held = [{**peer.ref(task), "status": "running", "output_size": {"stdout": 0, "stderr": 0}}]
        peer = await Peer.connect(port, agent_id=credentials["agent_id"], token=fresh.secret)
        registered = await peer.register(epoch=epoch, attempts=held)
        assert [attempt["action"] for attempt in registered["attempts"]] == ["continue"]
        await peer.report(task, "completed", seq=2, exit_code=0)
        session = await in_thread(Connection.objects.get)
        assert session.token_id == fresh.row.pk

    run(conversation())
    assert TaskInstance.objects.get().status == "completed"


def test_during_the_overlap_both_tokens_are_good(port, credentials):
    agent_id = credentials["agent_id"]

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        fresh = await in_thread(lambda: tokens.rotate_token(agent_id=uuid.UUID(agent_id), now=database_now()))
        assert await peer.hears_nothing("goodbye", secs=2.0)
        await peer.heartbeat()
        await Peer.registered(port, agent_id=agent_id, token=fresh.secret)
        assert (await peer.receive("goodbye"))["reason"] == "replaced"
        await Peer.registered(port, **credentials)

    run(conversation())


def test_a_token_that_is_revoked_between_handshake_and_registration_opens_no_session(port, credentials):
    async def conversation():
        peer = await Peer.connect(port, **credentials)
        await in_thread(lambda: revoke(credentials["agent_id"]))
        await peer.send("register", **peer.registration())
        assert await closes_as_refused(peer)

    run(conversation())
    assert not Connection.objects.exists()


def test_nothing_is_claimed_for_a_session_whose_token_is_not_valid(port, credentials):
    agent_id = uuid.UUID(credentials["agent_id"])

    async def conversation():
        await Peer.registered(port, **credentials)

    run(conversation())
    session = Connection.objects.get()
    factories.task(now=database_now())
    revoke(agent_id)
    started, _wait_secs = _claim({agent_id: 1}, {agent_id: session.session_id})
    assert started == []
    AgentToken.objects.update(revoked_at=None)
    started, _wait_secs = _claim({agent_id: 1}, {agent_id: session.session_id})
    assert len(started) == 1


def test_a_removed_agent_is_sent_away_as_before(port, credentials):
    from gateway.commands import remove_agent

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await in_thread(lambda: remove_agent(agent_id=uuid.UUID(credentials["agent_id"])))
        assert (await peer.receive("goodbye"))["reason"] == "disconnected"
        assert await peer.close_code() == 4001
        assert await is_refused(port, credentials)

    run(conversation())
    assert Agent.objects.get().archived_at is not None


def test_the_use_of_a_sessions_token_is_noted(port, credentials):
    async def conversation():
        await Peer.registered(port, **credentials)
        return await until(lambda: AgentToken.objects.get().last_used_at)

    assert abs(run(conversation()) - database_now()) < timedelta(seconds=30)


def test_a_heartbeat_by_http_notes_the_use_of_its_token(anonymous, credentials):
    url = f"/api/v1/agents/{credentials['agent_id']}/heartbeat"
    headers = {"authorization": f"Bearer {credentials['token']}"}
    assert anonymous.post(url, {}, headers=headers).status_code == 200
    noted = AgentToken.objects.get().last_used_at
    assert noted is not None
    assert anonymous.post(url, {}, headers=headers).status_code == 200
    assert AgentToken.objects.get().last_used_at == noted
