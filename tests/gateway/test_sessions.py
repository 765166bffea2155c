"""One live session per agent: registering, being replaced, moving between servers, losing one."""

import asyncio
import signal
import uuid

import psutil
import pytest
from django.db import connection
from django.utils import timezone

from agents.models import Agent
from gateway.models import Connection, Server
from scheduling.models import TaskInstance
from tests import factories, processes
from tests.gateway.conftest import new_credentials
from tests.gateway.peer import Peer, in_thread, run, until

pytestmark = pytest.mark.django_db(transaction=True)


def test_registration_answers_with_the_configuration(port, credentials):
    async def conversation():
        peer = await Peer.connect(port, **credentials)
        return await peer.register()

    registered = run(conversation())
    assert registered["agent_id"] == credentials["agent_id"]
    assert registered["server_id"] == str(Server.objects.get().pk)
    assert registered["config"] == {
        "heartbeat_secs": 5.0,
        "lease_secs": 30.0,
        "lead_secs": 2.0,
        "kill_grace_secs": 10.0,
        "max_chunk_bytes": 131072,
    }
    assert (registered["attempts"], registered["resend"]) == ([], [])


@pytest.mark.parametrize(
    ("field", "value", "code"), [("agent_id", str(uuid.UUID(int=7)), 1008), ("protocol", 2, 1008)]
)
def test_a_registration_for_another_agent_or_protocol_closes_the_socket(
    port, credentials, field, value, code
):
    async def conversation():
        peer = await Peer.connect(port, **credentials)
        await peer.send("register", **peer.registration(**{field: value}))
        return await peer.close_code()

    assert run(conversation()) == code
    assert not Connection.objects.exists()


def test_a_second_registration_is_nacked_and_the_session_stays(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        frame_id = await peer.send("register", **peer.registration())
        nack = await peer.receive("nack")
        assert (nack["id"], nack["code"]) == (frame_id, "invalid")
        await peer.heartbeat()

    run(conversation())


def test_what_comes_before_the_registration_closes_the_socket_and_is_not_nacked(port, credentials):
    async def conversation():
        peer = await Peer.connect(port, **credentials)
        await peer.send("report", reports=[])  # wrong, which is told apart
        assert (await peer.receive("nack"))["code"] == "invalid"
        await peer.send("log", lines=[])
        return await peer.close_code()

    assert run(conversation()) == 1008


def test_a_newer_start_of_the_daemon_evicts_the_older_one_for_good(port, credentials):
    async def conversation():
        old_epoch = str(uuid.uuid4())
        old = await Peer.registered(port, epoch=old_epoch, **credentials)
        new = await Peer.registered(port, **credentials)
        assert (await old.receive("goodbye"))["reason"] == "replaced"
        assert await old.close_code() == 4000
        back = await Peer.connect(port, **credentials)
        await back.send("register", **back.registration(epoch=old_epoch))
        assert (await back.receive("goodbye"))["reason"] == "replaced"
        assert await back.close_code() == 4000
        # The end of the old socket has not ended the new session.
        await new.heartbeat()
        await in_thread(lambda: Connection.objects.get(agent=new.agent_id, server__isnull=False))

    run(conversation())


def test_of_many_sockets_of_one_agent_that_register_at_once_one_is_live_in_the_end(port, credentials):
    async def conversation():
        peers = [await Peer.connect(port, **credentials) for _ in range(6)]
        for peer in peers:
            await peer.send("register", **peer.registration())
        open_ones = []
        for peer in peers:
            try:
                async with asyncio.timeout(3):
                    await peer.close_code()
            except TimeoutError:
                open_ones.append(peer)
        (live,) = open_ones
        await live.receive("registered")
        await live.heartbeat()

    run(conversation())


def test_an_agent_that_moves_to_another_server_is_told_there_of_what_it_was_given(credentials):
    with processes.server() as first_port, processes.server() as second_port:

        async def conversation():
            epoch = str(uuid.uuid4())
            old = await Peer.registered(first_port, epoch=epoch, **credentials)
            await old.send("ready", nonce=1, slots=4)
            new = await Peer.connect(second_port, **credentials)
            await new.register(epoch=epoch)
            # The old server may not claim for a session that is over, and nobody else offers a slot.
            await in_thread(lambda: factories.task(now=timezone.now()))
            assert (await old.receive("goodbye"))["reason"] == "replaced"
            assert await old.close_code() == 4000
            assert await in_thread(TaskInstance.objects.count) == 0
            await new.take()

        run(conversation())


def test_a_server_that_stops_says_goodbye_closes_with_1012_and_leaves_nothing_behind(credentials):
    with processes.server() as port, processes.server() as other_port:

        async def conversation():
            peer, idle = await Peer.registered(port, **credentials), await Peer.connect(port, **credentials)
            process = process_on(port)
            process.send_signal(signal.SIGTERM)
            goodbye = await peer.receive("goodbye")
            assert goodbye["reconnect_after_ms"] >= 0
            assert await peer.close_code() == 1012
            await idle.close_code()
            await until(lambda: Server.objects.count() == 1)
            agent = await in_thread(lambda: Agent.objects.get(pk=peer.agent_id))
            assert (agent.status, agent.connected_at) == ("offline", None)
            await until(lambda: process.status() == psutil.STATUS_ZOMBIE)
            await Peer.registered(other_port, **credentials)

        run(conversation())


def test_after_a_kill_of_the_server_agents_go_on_at_another_one(credentials):
    with processes.server() as port, processes.server() as other_port:
        factories.task(now=timezone.now())

        async def conversation():
            epoch = str(uuid.uuid4())
            peer = await Peer.registered(port, epoch=epoch, **credentials)
            task = await peer.take()
            await peer.report(task, "running")
            await asyncio.to_thread(process_on(port).kill)
            await peer.close_code()
            peer = await Peer.connect(other_port, **credentials)
            held = [{**peer.ref(task), "status": "running", "output_size": {"stdout": 0, "stderr": 0}}]
            registered = await peer.register(epoch=epoch, attempts=held)
            assert [(a["instance_id"], a["action"]) for a in registered["attempts"]] == [
                (task["instance_id"], "continue")
            ]
            assert registered["resend"] == []
            await peer.report(task, "completed", seq=2, exit_code=0)

        run(conversation())
    assert TaskInstance.objects.get().status == "completed"


def test_the_agents_of_a_killed_server_are_offline_for_the_others(credentials):
    with processes.server() as port, processes.server():

        async def conversation():
            peer = await Peer.registered(port, **credentials)
            await asyncio.to_thread(process_on(port).kill)
            await until(lambda: Agent.objects.get(pk=peer.agent_id).status == "offline", limit_secs=15)

        run(conversation())


def test_a_server_takes_its_sessions_back_that_others_had_given_up(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await in_thread(lambda: Connection.objects.update(server=None))
        await until(lambda: Connection.objects.filter(server__isnull=False).exists())
        await peer.heartbeat()

    run(conversation())


def test_a_session_that_somebody_wants_closed_is_closed_with_4001(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await in_thread(lambda: Connection.objects.update(close_requested_at=timezone.now()))
        assert (await peer.receive("goodbye"))["reason"] == "disconnected"
        return await peer.close_code()

    assert run(conversation()) == 4001


def test_sessions_leases_and_reports_outlive_the_loss_of_every_database_connection(port, credentials):
    factories.task(now=timezone.now())
    kept = connection.connection.info.backend_pid

    def cut_connections():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
                [kept],
            )

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        task = await peer.take()
        for seq in (1, 2, 3):
            await in_thread(cut_connections)
            await peer.send("report", reports=[peer.fact(task, "running", seq=seq)])
            await peer.heartbeat(task, nonce=seq)
        await in_thread(cut_connections)
        await peer.report(task, "completed", seq=4, exit_code=0)

    run(conversation())
    assert TaskInstance.objects.get().status == "completed"


def process_on(port):
    for process in psutil.Process().children(recursive=True):
        if process.status() != psutil.STATUS_ZOMBIE and str(port) in process.cmdline():
            return process
    raise AssertionError("no server")


@pytest.mark.e2e
def test_silent_peers_are_found_out_within_15_seconds_and_unregistered_ones_after_10(port, credentials):
    half_open = new_credentials()

    async def timed(work):
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.timeout(25):
            result = await work
        return result, loop.time() - begin

    async def conversation():
        unregistered = await Peer.connect(port, **credentials)
        dead = await Peer.registered(port, **half_open)
        dead.socket.transport.pause_reading()  # it answers no ping from now on
        gone = until(
            lambda: not Connection.objects.filter(agent=dead.agent_id, server__isnull=False).exists(),
            limit_secs=20,
        )
        (code, register_secs), (_, silence_secs) = await asyncio.gather(
            timed(unregistered.close_code(limit_secs=20)), timed(gone)
        )
        assert (code, 9.5 < register_secs < 12) == (1008, True)
        assert silence_secs < 16

    run(conversation())
