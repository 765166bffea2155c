"""Reports, output and leases: what is applied, what is stale, and when it is acknowledged."""

import asyncio
import threading
import uuid

import pytest
from django.db import transaction
from django.utils import timezone

from access.models import AuditEntry
from agents.models import Agent
from gateway.models import AgentLog
from scheduling.models import Task, TaskInstance
from scheduling.services.output import read_output
from tests import factories
from tests.gateway.conftest import new_credentials
from tests.gateway.peer import Peer, in_thread, run, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def task():
    return factories.task(now=timezone.now())


def test_reports_may_come_twice_late_and_in_another_order(port, credentials, task):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        end = peer.fact(given, "failed", seq=2, exit_code=3)
        begin = peer.fact(given, "running", seq=1, start_delay_ms=1.5)
        for facts in ([end], [begin], [end, begin], [begin, end]):
            await peer.send("report", reports=facts)
            assert (await peer.receive("ack"))["stale"] == []

    run(conversation())
    instance = TaskInstance.objects.get()
    assert (instance.status, instance.exit_code, instance.task.status) == ("failed", 3, "failed")


def test_a_report_that_overtakes_its_acceptance_says_that_the_attempt_was_dispatched(port, credentials, task):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await peer.send("ready", nonce=1, slots=1)
        (given,) = (await peer.receive("dispatch"))["tasks"]
        await peer.report(given, "running")
        await peer.send("accepted", attempts=[peer.ref(given)])
        await peer.report(given, "completed", seq=2, exit_code=0)

    run(conversation())
    instance = TaskInstance.objects.get()
    assert instance.dispatched_at == instance.started_at is not None


def test_one_frame_may_hold_100_reports(port, credentials, task):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        facts = [peer.fact(given, "running", seq=seq) for seq in range(1, 100)]
        frame_id = await peer.send("report", reports=[*facts, peer.fact(given, "completed", seq=100)])
        ack = await peer.receive("ack")
        assert (ack["ids"], ack["stale"], ack["offsets"]) == ([frame_id], [], [])

    run(conversation())
    assert TaskInstance.objects.get().last_seq == 100


def test_what_matches_no_attempt_is_acknowledged_and_named_stale(port, credentials, task):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        old = {**given, "token": given["token"] + 1}
        unknown = {"instance_id": str(uuid.uuid4()), "token": 7}
        for wrong in (old, unknown):
            frame_id = await peer.send(
                "report", reports=[peer.fact(wrong, "completed", seq=5), peer.fact(given, "running", seq=1)]
            )
            ack = await peer.receive("ack")
            assert (ack["ids"], ack["stale"]) == ([frame_id], [{**peer.ref(wrong), "seq": 5}])
            stored = await peer.output(wrong, b"x")
            assert (stored["offsets"], stored["stale"]) == ([], [{**peer.ref(wrong), "seq": None}])
        await peer.heartbeat(given)

    run(conversation())
    assert TaskInstance.objects.get().status == "running"


@pytest.mark.parametrize("kind", ["report", "output"])
def test_an_agent_that_reports_on_anothers_attempt_changes_nothing_and_is_disconnected(
    port, credentials, task, kind
):
    intruder = new_credentials()

    async def conversation():
        owner = await Peer.registered(port, **credentials)
        given = await owner.take()
        await owner.report(given, "running")
        other = await Peer.registered(port, **intruder)
        lease = await other.heartbeat(given)
        assert lease["kill"] == [other.ref(given)]
        if kind == "report":
            ack = await other.report(given, "completed", seq=2, exit_code=0)
        else:
            ack = await other.output(given, b"forged")
        assert [stale["instance_id"] for stale in ack["stale"]] == [given["instance_id"]]
        assert ack["offsets"] == []
        assert await other.close_code() == 1008
        assert (await owner.heartbeat(given))["kill"] == []

    run(conversation())
    instance = TaskInstance.objects.get()
    assert (instance.status, instance.stdout_bytes) == ("running", 0)
    entry = AuditEntry.objects.get(action="task_instance.foreign_report")
    intruding = Agent.objects.get(pk=intruder["agent_id"])
    assert (entry.actor_kind, entry.actor, entry.address) == ("agent", intruding.name, "127.0.0.1")
    assert (entry.subject_id, entry.namespace) == (str(instance.pk), instance.task.namespace)
    assert entry.after == {"reported_by": intruder["agent_id"], "agent_id": credentials["agent_id"]}


def test_an_acknowledgement_is_sent_only_after_the_commit(port, credentials, task):
    held, released = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Task.objects.select_for_update().get()
            held.set()
            released.wait(20)

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        await until(lambda: TaskInstance.objects.filter(status="dispatched").exists())
        holding = asyncio.create_task(in_thread(hold))
        await asyncio.to_thread(held.wait, 10)
        await peer.send("report", reports=[peer.fact(given, "completed", exit_code=0)])
        try:
            assert await peer.hears_nothing("ack", secs=1)
        finally:
            released.set()
            await holding
        await peer.receive("ack")
        assert await in_thread(lambda: TaskInstance.objects.get().status) == "completed"

    run(conversation())


def test_a_bad_report_is_nacked_alone_and_the_others_of_the_moment_are_applied(port, credentials, task):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        bad_id = await peer.send("report", reports=[peer.fact(given, "running", result={"n": 10**399})])
        good_id = await peer.send("report", reports=[peer.fact(given, "completed", seq=2, exit_code=0)])
        answers = {}
        while len(answers) < 2:
            frame = await peer.receive_any("ack", "nack")
            for frame_id in frame.get("ids", [frame.get("id")]):
                answers[frame_id] = "code" not in frame
        assert good_id in answers
        assert answers[good_id]
        assert bad_id in answers

    run(conversation())
    assert TaskInstance.objects.get().status == "completed"


def test_output_is_acknowledged_by_the_highest_contiguous_byte(port, credentials, task):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        offsets = []
        for offset, data in (
            (4, b"late"),
            (0, b"abcd"),
            (0, b"abcd"),
            (2, b"cdlate"),
            (9, b"gap"),
            (8, b"!"),
        ):
            ack = await peer.output(given, data, offset=offset)
            offsets.append(ack["offsets"][0]["offset"])
        assert offsets == [0, 4, 4, 8, 8, 9]

    run(conversation())
    assert read_output(instance=TaskInstance.objects.get(), stream="stdout") == b"abcdlate!"


def test_a_heartbeat_renews_the_leases_it_names_and_lists_what_must_stop(port, credentials, task):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        await in_thread(lambda: TaskInstance.objects.update(lease_expires_at=timezone.now()))
        unknown = {"instance_id": str(uuid.uuid4()), "token": 1}
        lease = await peer.heartbeat(given, unknown, nonce=9)
        assert (lease["nonce"], lease["ttl_ms"]) == (9, 30_000)
        assert lease["kill"] == [peer.ref(unknown)]

    run(conversation())
    left_secs = (TaskInstance.objects.get().lease_expires_at - timezone.now()).total_seconds()
    assert 20 < left_secs <= 30


def test_a_registration_says_of_each_attempt_what_becomes_of_it(port, credentials):
    job = factories.job()
    rows = [factories.task(job=job, now=timezone.now()) for _ in range(3)]

    async def conversation():
        epoch = str(uuid.uuid4())
        peer = await Peer.registered(port, **credentials, epoch=epoch)
        await peer.send("ready", nonce=1, slots=3)
        given = []
        while len(given) < 3:
            given += (await peer.receive("dispatch"))["tasks"]
        running, cancelled, ended = given
        await peer.output(running, b"12345")
        await in_thread(
            lambda: TaskInstance.objects.filter(pk=cancelled["instance_id"]).update(
                cancel_requested_at=timezone.now()
            )
        )
        await peer.report(ended, "completed", exit_code=0)
        await peer.socket.close()
        peer = await Peer.connect(port, **credentials)
        unknown = {"instance_id": str(uuid.uuid4()), "token": 1}
        held = [
            {**peer.ref(running), "status": "running"},
            {**peer.ref(cancelled), "status": "running"},
            {**peer.ref(ended), "status": "completed"},
            {**unknown, "status": "running"},
            {**unknown, "status": "failed"},
        ]
        registered = await peer.register(epoch=epoch, attempts=held)
        actions = [attempt["action"] for attempt in registered["attempts"]]
        assert actions == ["continue", "kill", "continue", "kill", "forget"]
        assert registered["attempts"][0]["output_offset"] == {"stdout": 5, "stderr": 0}
        assert registered["resend"] == []

    assert len(rows) == 3
    run(conversation())


def test_an_agents_log_lines_are_kept(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await peer.send("log", lines=[{"at_ms": 1, "level": "info", "message": "hello"}])
        await until(AgentLog.objects.exists)

    run(conversation())
    assert AgentLog.objects.get().message == "hello"
