"""Offering slots, being given work, accepting, declining and being told to stop."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from agents import hints
from agents.models import Agent
from gateway.models import AgentCommand
from scheduling.models import Task, TaskInstance
from scheduling.services import lifecycle, manual
from tests import factories, processes
from tests.gateway.peer import Peer, in_thread, run, until

pytestmark = pytest.mark.django_db(transaction=True)


def tasks(count, *, job=None, **fields):
    job = job or factories.job()
    return [factories.task(job=job, now=timezone.now(), **fields) for _ in range(count)]


def test_a_dispatch_answers_the_last_ready_and_never_exceeds_its_slots(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials, slots=10)
        await peer.send("ready", nonce=1, slots=9)
        await peer.send("ready", nonce=2, slots=3)
        await in_thread(lambda: tasks(5))
        given = []
        while len(given) < 3:
            dispatch = await peer.receive("dispatch")
            assert (dispatch["nonce"], dispatch["lease_ttl_ms"]) == (2, 30_000)
            given += dispatch["tasks"]
        assert await peer.hears_nothing("dispatch", secs=1)
        await peer.send("ready", nonce=3, slots=2)
        while len(given) < 5:
            dispatch = await peer.receive("dispatch")
            assert dispatch["nonce"] == 3
            given += dispatch["tasks"]

    run(conversation())


def test_an_agent_is_never_given_more_than_its_capacity_whatever_it_offers(port, credentials):
    tasks(5)

    async def conversation():
        peer = await Peer.registered(port, **credentials, slots=2)
        await peer.send("ready", nonce=1, slots=100)
        first = (await peer.receive("dispatch"))["tasks"]
        await peer.send("ready", nonce=2, slots=100)
        assert (len(first), await peer.hears_nothing("dispatch", secs=1)) == (2, True)
        await peer.send("report", reports=[peer.fact(first[0], "completed", exit_code=0)])
        assert len((await peer.receive("dispatch"))["tasks"]) == 1

    run(conversation())


def test_a_task_of_the_future_comes_a_lead_time_early_with_the_wait_until_its_instant(port, credentials):
    due = timezone.now() + timedelta(seconds=4)
    factories.task(now=timezone.now(), scheduled_at=due)

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await peer.send("ready", nonce=1, slots=1)
        dispatch = await peer.receive("dispatch")
        left_ms = (due - timezone.now()).total_seconds() * 1000
        assert abs(dispatch["tasks"][0]["start_in_ms"] - left_ms) < 100
        assert 1500 < left_ms <= 2000
        assert dispatch["tasks"][0]["scheduled_at"] == due.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    run(conversation())


def test_an_accepted_attempt_is_dispatched_and_a_declined_one_waits_again(port, credentials):
    tasks(2)

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await peer.send("ready", nonce=1, slots=2)
        taken, refused = (await peer.receive("dispatch"))["tasks"]
        await peer.send(
            "accepted",
            attempts=[peer.ref(taken)],
            declined=[{**peer.ref(refused), "reason": "no such interpreter"}],
        )
        await until(lambda: TaskInstance.objects.filter(status="skipped").exists())
        await until(lambda: TaskInstance.objects.filter(status="dispatched").exists())
        skipped = await in_thread(lambda: TaskInstance.objects.get(status="skipped"))
        assert "no such interpreter" in skipped.error_message
        assert str(skipped.pk) == refused["instance_id"]
        await peer.send("ready", nonce=2, slots=1)
        again = (await peer.receive("dispatch"))["tasks"][0]
        assert (again["task_id"], again["attempt"]) == (refused["task_id"], 2)
        assert again["token"] > refused["token"]

    run(conversation())


def test_a_draining_agent_is_given_nothing(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await peer.heartbeat(status="draining")
        await peer.send("ready", nonce=1, slots=2)
        await in_thread(lambda: tasks(1))
        assert await peer.hears_nothing("dispatch", secs=3)

    run(conversation())


def test_what_an_agent_was_given_and_does_not_name_comes_again_in_frames_it_can_take(port, credentials):
    tasks(8, job=factories.job(args=["-c", "x" * 60_000]))

    async def conversation():
        epoch = str(uuid.uuid4())
        peer = await Peer.registered(port, **credentials, slots=8, epoch=epoch)
        await peer.send("ready", nonce=1, slots=8)
        given = []
        while len(given) < 8:
            given += (await peer.receive("dispatch"))["tasks"]
        await peer.socket.close()
        peer = await Peer.connect(port, **credentials)
        held = [{**peer.ref(given[0]), "status": "running"}]
        again = (await peer.register(epoch=epoch, slots=8, attempts=held))["resend"]
        while len(again) < 7:
            again += (await peer.receive("dispatch"))["tasks"]
        expected = {task["instance_id"]: task["token"] for task in given[1:]}
        assert {task["instance_id"]: task["token"] for task in again} == expected

    run(conversation())


def test_a_task_that_fits_into_no_frame_fails_and_the_others_run(port, credentials):
    huge = factories.task(now=timezone.now())
    Task.objects.filter(pk=huge.pk).update(parameters={"text": "x" * 300_000})  # no door lets it be so large
    tasks(1)

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        task = await peer.take()
        assert task["task_id"] != huge.pk
        await until(lambda: Task.objects.get(pk=huge.pk).status == "failed")
        await peer.heartbeat(task)

    run(conversation())
    assert "does not fit" in TaskInstance.objects.get(task=huge).error_message


def test_the_end_of_a_limited_jobs_attempt_lets_the_next_one_start_at_once(port, credentials):
    job = factories.job(config={"max_concurrency": 1})
    tasks(3, job=job)

    async def conversation():
        loop = asyncio.get_running_loop()
        peer = await Peer.registered(port, **credentials)
        await peer.send("ready", nonce=1, slots=4)
        (task,) = (await peer.receive("dispatch"))["tasks"]
        for _ in range(2):
            # Half a poll interval is 1 s: only the commit of the report can have woken the pump.
            begin = loop.time()
            await peer.report(task, "completed", exit_code=0)
            (task,) = (await peer.receive("dispatch"))["tasks"]
            assert loop.time() - begin < 0.9

    run(conversation())


def test_the_slot_of_an_attempt_that_was_called_lost_is_free_again(port, credentials):
    tasks(1)

    async def conversation():
        peer = await Peer.registered(port, **credentials, slots=1)
        await peer.take(slots=1)
        await peer.send("ready", nonce=2, slots=1)

        def lose():
            # What the server still writes about it is waited for: who rescues passes over locked rows.
            with transaction.atomic():
                Task.objects.select_for_update().get()
                TaskInstance.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
                return lifecycle.lose_attempts(now=timezone.now(), limit=10)

        assert await in_thread(lose) == 1
        await in_thread(lambda: tasks(1))
        await peer.receive("dispatch")

    run(conversation())


@pytest.mark.parametrize("notify", [True, False])
def test_a_cancel_reaches_the_agent_within_two_seconds_also_when_its_hint_is_lost(
    port, credentials, monkeypatch, notify
):
    (task,) = tasks(1)
    if not notify:
        monkeypatch.setattr(hints, "_notify", lambda _payload: None)

    async def conversation():
        loop = asyncio.get_running_loop()
        peer = await Peer.registered(port, **credentials)
        given = await peer.take()
        await peer.report(given, "running")
        await in_thread(lambda: manual.cancel(task_id=task.pk, now=timezone.now(), by=factories.ANN))
        begin = loop.time()
        cancel = await peer.receive("cancel")
        assert loop.time() - begin < (2 if not notify else 0.9)
        assert cancel == {
            **peer.ref(given),
            "grace_secs": 10,
            "reason": "cancelled by ann",
        }
        # It is in every lease, and not sent again and again.
        assert (await peer.heartbeat(given))["kill"] == [peer.ref(given)]
        assert await peer.hears_nothing("cancel", secs=2.5)

    run(conversation())


def test_a_command_reaches_the_agent_and_its_answer_comes_back(port, credentials):
    def queue():
        agent = Agent.objects.get(pk=credentials["agent_id"])
        return AgentCommand.objects.create(
            agent=agent, command="ping", parameters={"n": 1}, timeout_secs=5, created_at=timezone.now()
        )

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        command = await in_thread(queue)
        asked = await peer.receive("command")
        assert asked == {
            "command_id": str(command.pk),
            "command": "ping",
            "parameters": {"n": 1},
            "timeout_secs": 5.0,
        }
        await peer.send("command_result", command_id=str(uuid.uuid4()), ok=True)
        await peer.send("command_result", command_id=str(command.pk), ok=False, error="no")
        answered = await until(lambda: AgentCommand.objects.filter(answered_at__isnull=False).first())
        assert (answered.ok, answered.error) == (False, "no")

    run(conversation())


def test_an_idle_server_asks_the_database_rarely_also_when_tasks_wait_that_nobody_can_serve(credentials):
    job = factories.job(config={"labels": {"gpu": "true"}})
    for milliseconds in range(0, 4000, 40):
        due = timezone.now() + timedelta(seconds=2, milliseconds=milliseconds)
        factories.task(job=job, now=timezone.now(), scheduled_at=due)
    tasks(20, job=job)
    with processes.server() as port:

        async def conversation():
            peer = await Peer.registered(port, **credentials)
            await peer.send("ready", nonce=1, slots=4)
            await peer.hears_nothing("dispatch", secs=1)
            before = await in_thread(transactions)
            await peer.hears_nothing("dispatch", secs=4)
            return await in_thread(transactions) - before

        # Each 2 s: a claim, a look at the sessions, a heartbeat. A pump that spun would do thousands.
        assert run(conversation()) < 120


def transactions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]
