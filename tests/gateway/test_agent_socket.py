import asyncio
import uuid

import pytest
from django.db import connection
from websockets.exceptions import InvalidStatus

from agents.services import issue_token
from scheduling.clock import database_now
from scheduling.models import TaskInstance
from scheduling.services import manual
from scheduling.services.output import read_output
from tests import factories, processes
from tests.gateway.peer import Peer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def credentials():
    agent = factories.agent()
    return {"agent_id": str(agent.id), "token": issue_token(agent=agent)}


@pytest.fixture
def port(credentials):
    with processes.server() as port:
        yield port


def run(conversation):
    """Run a conversation to its end and close its sockets, so that nothing of it outlives the test."""

    async def whole():
        try:
            return await conversation
        finally:
            await Peer.close_all()

    return asyncio.run(whole())


def instance_of(task):
    return TaskInstance.objects.select_related("task").get(pk=task["instance_id"])


def test_a_task_is_dispatched_run_and_acknowledged(port, credentials):
    job = factories.job(args=["-c", "echo hi"], environment={"STAGE": "test"})
    factories.task(job=job, now=database_now(), parameters={"n": 1})

    async def conversation():
        peer = await Peer.connect(port, **credentials)
        registered = await peer.register()
        assert registered["config"]["lease_secs"] == 30
        task = await peer.take()
        assert (task["cmd"], task["args"], task["attempt"]) == ("bash", ["-c", "echo hi"], 1)
        assert (task["environment"], task["parameters"]) == ({"STAGE": "test"}, {"n": 1})
        await peer.report(task, "running")
        stored = await peer.output(task, b"hi\n\x00\xff")
        assert stored["offsets"][0]["offset"] == 5
        ack = await peer.report(task, "completed", seq=2, exit_code=0)
        assert ack["stale"] == []
        return task

    instance = instance_of(run(conversation()))
    assert (instance.status, instance.exit_code, instance.task.status) == ("completed", 0, "completed")
    assert read_output(instance=instance, stream="stdout") == b"hi\n\x00\xff"


@pytest.mark.parametrize("token", ["", "wrong", "hfa_00000000000000000000000000000000_x"])
def test_a_socket_without_a_valid_token_gets_403(port, credentials, token):
    with pytest.raises(InvalidStatus) as refusal:
        run(Peer.connect(port, agent_id=credentials["agent_id"], token=token))
    assert refusal.value.response.status_code == 403


def test_a_running_task_is_cancelled_on_its_agent(port, credentials):
    task = factories.task(now=database_now())

    async def conversation():
        peer = await Peer.connect(port, **credentials)
        await peer.register()
        dispatched = await peer.take()
        await peer.report(dispatched, "running")
        await asyncio.to_thread(cancel)
        asked = await peer.receive("cancel")
        assert asked["instance_id"] == dispatched["instance_id"]
        await peer.report(dispatched, "cancelled", seq=2)
        return dispatched

    def cancel():
        manual.cancel(task_id=task.pk, now=database_now())
        connection.close()

    assert instance_of(run(conversation())).task.status == "cancelled"


def test_a_report_with_another_token_changes_nothing_and_is_stale(port, credentials):
    factories.task(now=database_now())

    async def conversation():
        peer = await Peer.connect(port, **credentials)
        await peer.register()
        task = await peer.take()
        ack = await peer.report({**task, "token": task["token"] + 1}, "completed", exit_code=0)
        assert [stale["instance_id"] for stale in ack["stale"]] == [task["instance_id"]]
        return task

    assert instance_of(run(conversation())).status == "dispatched"


@pytest.mark.parametrize(
    ("text", "code"), [("not json", 1007), ("[]", 1007), ('{"a": NaN}', 1007), ("[" * 50_000, 1007)]
)
def test_what_is_no_frame_closes_the_socket(port, credentials, text, code):
    async def conversation():
        peer = await Peer.connect(port, **credentials)
        await peer.register()
        await peer.socket.send(text)
        return await peer.close_code()

    assert run(conversation()) == code


def test_a_frame_with_a_wrong_content_is_refused_and_the_session_stays(port, credentials):
    async def conversation():
        peer = await Peer.connect(port, **credentials)
        await peer.register()
        for kind, payload, code in [
            ("ready", {"nonce": "1", "slots": 1}, "invalid"),
            ("ready", {"nonce": 1, "slots": 1, "extra": 1}, "invalid"),
            ("ready", {"nonce": 1, "slots": -1}, "invalid"),
            ("dance", {}, "unknown_kind"),
        ]:
            frame_id = await peer.send(kind, **payload)
            nack = await peer.receive("nack")
            assert (nack["id"], nack["code"]) == (frame_id, code)
        await peer.send("heartbeat", nonce=7, status="idle", running=0, metrics={}, attempts=[])
        assert (await peer.receive("lease"))["nonce"] == 7

    run(conversation())


def test_a_newer_start_of_the_daemon_evicts_the_older_one_for_good(port, credentials):
    async def conversation():
        old, old_epoch = await Peer.connect(port, **credentials), str(uuid.uuid4())
        await old.register(epoch=old_epoch)
        new = await Peer.connect(port, **credentials)
        await new.register()
        assert (await old.receive("goodbye"))["reason"] == "replaced"
        assert await old.close_code() == 4000
        back = await Peer.connect(port, **credentials)
        await back.send("register", **registration(credentials, old_epoch))
        assert (await back.receive("goodbye"))["reason"] == "replaced"
        await new.send("heartbeat", nonce=1, status="idle", running=0, metrics={}, attempts=[])
        await new.receive("lease")

    def registration(credentials, epoch):
        return {
            "protocol": 1,
            "agent_id": credentials["agent_id"],
            "epoch": epoch,
            "name": "peer",
            "version": "1",
            "hostname": "host",
            "labels": {},
            "capabilities": {"max_concurrent_tasks": 1, "commands": ["bash"]},
        }

    run(conversation())


def test_a_dispatch_that_was_not_accepted_comes_again_after_a_reconnect(port, credentials):
    factories.task(now=database_now())

    async def conversation():
        peer, epoch = await Peer.connect(port, **credentials), str(uuid.uuid4())
        await peer.register(epoch=epoch)
        await peer.send("ready", nonce=1, slots=1)
        first = (await peer.receive("dispatch"))["tasks"][0]
        await peer.socket.close()
        peer = await Peer.connect(port, **credentials)
        registered = await peer.register(epoch=epoch)
        assert [task["instance_id"] for task in registered["resend"]] == [first["instance_id"]]

    run(conversation())
