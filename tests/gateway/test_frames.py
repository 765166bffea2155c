"""What an agent may send, and how each violation is answered."""

import asyncio
import json
import uuid

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from scheduling.models import TaskInstance
from tests import factories, processes
from tests.gateway.conftest import new_credentials
from tests.gateway.peer import Peer, in_thread, run

pytestmark = pytest.mark.django_db(transaction=True)

HEARTBEAT = '{"kind":"heartbeat","id":"%s","timestamp":1,"payload":{"nonce":1,"status":"idle","running":0}}'


def test_what_is_no_frame_closes_the_socket_with_1007(port, credentials):
    texts = {
        "empty": "",
        "not json": "not json",
        "a list": "[]",
        "nan": '{"a": NaN}',
        "infinity": '{"a": 1e999}',
        "duplicate key": '{"kind": "log", "kind": "log"}',
        "nul": '{"kind": "\\u0000"}',
        "lone surrogate": '{"kind": "\\ud800"}',
        "33 deep": '{"payload": ' + "[" * 32 + "]" * 32 + "}",
        "deep": "[" * 50_000,
        "binary": b'{"kind": "log", "id": "1", "timestamp": 1, "payload": {"lines": []}}',
    }

    async def conversation():
        codes = {}
        for name, text in texts.items():
            peer = await Peer.registered(port, **credentials)
            await peer.socket.send(text)
            codes[name] = await peer.close_code()
        return codes

    assert run(conversation()) == dict.fromkeys(texts, 1007)


def test_invalid_utf8_closes_the_socket_with_1007(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        await peer.socket.send(b"\xff\xfe", text=True)
        return await peer.close_code()

    assert run(conversation()) == 1007


def test_a_frame_of_256_kib_is_taken_and_a_larger_one_closes_the_socket_with_1009(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        frame = HEARTBEAT % "x"
        await peer.socket.send(frame + " " * (256 * 1024 - len(frame)))
        await peer.receive("lease")
        await peer.socket.send(frame + " " * (256 * 1024 - len(frame) + 1))
        codes = [await peer.close_code()]
        for filler in ("é" * (128 * 1024), " " * 1024 * 1024):
            peer = await Peer.registered(port, **credentials)
            await peer.socket.send(frame + filler)
            codes.append(await peer.close_code())
        return codes

    assert run(conversation()) == [1009, 1009, 1009]


def test_wrong_content_is_nacked_and_the_session_stays(port, credentials):
    key = {"instance_id": str(uuid.uuid4()), "token": 1}
    report = {**key, "seq": 1, "status": "running", "at_ms": 1}
    messages = [
        ("ready", {"nonce": "1", "slots": 1}, "invalid"),
        ("ready", {"nonce": 1, "slots": 1, "extra": 1}, "invalid"),
        ("ready", {"nonce": 1, "slots": -1}, "invalid"),
        ("ready", {"nonce": 1}, "invalid"),
        ("ready", [], "invalid"),
        ("heartbeat", {"nonce": 1, "status": "bored", "running": 0}, "invalid"),
        ("report", {"reports": []}, "invalid"),
        ("report", {"reports": [report] * 101}, "invalid"),
        ("report", {"reports": [{**report, "seq": 0}]}, "invalid"),
        ("report", {"reports": [{**report, "status": "lost"}]}, "invalid"),
        ("output", {"chunks": [{**key, "stream": "both", "offset": 0, "data": "", "at_ms": 1}]}, "invalid"),
        (
            "output",
            {"chunks": [{**key, "stream": "stdout", "offset": 0, "data": "%", "at_ms": 1}]},
            "invalid",
        ),
        ("dance", {}, "unknown_kind"),
        ("dispatch", {}, "unknown_kind"),
    ]

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        for kind, payload, code in messages:
            frame = {"kind": kind, "id": str(uuid.uuid4()), "timestamp": 1, "payload": payload}
            await peer.socket.send(json.dumps(frame))
            nack = await peer.receive("nack")
            assert (nack["id"], nack["code"]) == (frame["id"], code), (kind, payload, nack)
        for frame in (
            {},
            {"kind": "log"},
            {"kind": 1, "id": "a"},
            {"kind": "log", "id": "a", "timestamp": "1"},
        ):
            await peer.socket.send(json.dumps(frame))
            assert (await peer.receive("nack"))["code"] == "invalid"
        assert (await peer.heartbeat(nonce=7))["nonce"] == 7

    run(conversation())


def test_a_heartbeat_that_cannot_be_stored_is_nacked(port, credentials):
    async def conversation():
        peer = await Peer.registered(port, **credentials)
        frame_id = await peer.send("heartbeat", nonce=1, status="busy", running=2**40)
        nack = await peer.receive("nack")
        assert (nack["id"], nack["code"]) == (frame_id, "invalid")
        await peer.heartbeat()

    run(conversation())


def hold_instances(released, held):
    """Lock the attempts, so that no report is committed until `released`."""

    def hold():
        from django.db import transaction

        with transaction.atomic():
            list(TaskInstance.objects.select_for_update())
            held.set()
            released.wait(20)

    return in_thread(hold)


@pytest.mark.parametrize(("count", "padding"), [(1001, 0), (9, 120_000)])
def test_more_than_1000_messages_or_1_mib_unacknowledged_close_the_socket_with_1008(
    port, credentials, count, padding
):
    import threading

    factories.task(now=factories.NOW)
    released, held = threading.Event(), threading.Event()

    async def conversation():
        peer = await Peer.registered(port, **credentials)
        task = await peer.take()
        holding = asyncio.create_task(hold_instances(released, held))
        await asyncio.to_thread(held.wait, 10)
        try:
            for number in range(count):
                await peer.send(
                    "report",
                    reports=[
                        peer.fact(task, "running", seq=1, error_message="x" * min(padding, 60_000)),
                        peer.fact(task, "running", seq=1, error_message="x" * max(0, padding - 60_000)),
                    ],
                )
                if number == count - 2:
                    await peer.heartbeat()  # still within the window
            return await peer.close_code()
        finally:
            released.set()
            await holding

    assert run(conversation()) == 1008


def test_a_flood_that_is_never_read_neither_fills_the_server_nor_reaches_others(credentials):
    other = new_credentials()
    with processes.server() as port:

        async def conversation():
            peer = await Peer.registered(port, **credentials)
            bystander = await Peer.registered(port, **other)
            process = server_on(port)
            before = process.memory_info().rss
            # The transport's own interface: the library would read in the background and answer.
            transport = peer.socket.transport
            transport.pause_reading()
            flood = '{"kind":"dance","id":"1","timestamp":1,"payload":{}}'
            sent = 0
            try:
                async with asyncio.timeout(20):
                    while sent < 40_000_000 and not transport.is_closing():
                        await peer.socket.send(flood + " " * 200)
                        sent += 250
            except (ConnectionClosed, TimeoutError):
                pass
            await bystander.heartbeat()
            return process.memory_info().rss - before

        assert run(conversation()) < 64 * 1024 * 1024


def server_on(port):
    for process in psutil.Process().children(recursive=True):
        if str(port) in process.cmdline():
            return process
    raise AssertionError("no server")
