import asyncio
import uuid

import pytest
from django.db import connection

from scheduling.clock import database_now
from scheduling.models import TaskInstance
from scheduling.services import manual
from scheduling.services.output import read_output
from tests import factories
from tests.gateway.peer import Peer, run

pytestmark = pytest.mark.django_db(transaction=True)


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
