"""JSON that other parsers take, on the agents' socket: it ends that session, and does nothing else."""

import contextlib
import json
import uuid
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.models import Connection
from scheduling.models import Task, TaskInstance
from tests import factories
from tests.database import fingerprint
from tests.gateway.conftest import new_credentials
from tests.gateway.peer import Peer, in_thread, run

pytestmark = pytest.mark.django_db(transaction=True)
MAX_FRAME_BYTES = 256 * 1024
NOT_JSON, TOO_BIG = 1007, 1009
# What sessions write by coming, going and being alive.
OF_SESSIONS = {
    "agents_agent",
    "agents_agenttoken",
    "gateway_connection",
    "gateway_server",
    "scheduling_lease",
    "scheduling_taskinstance",
}
# Each is put in place of the result of a report that would otherwise be taken.
RESULTS = {
    "deep": "[" * 60 + "]" * 60,
    "deep objects": '{"a":' * 60 + "1" + "}" * 60,
    "as deep as fits": "[" * 60_000 + "]" * 60_000,
    "deep and never closed": "[" * 60_000,
    "NaN": "NaN",
    "infinity": "-Infinity",
    "too large a number": "1e999",
    "too many digits": "9" * 5_000,
    "duplicate keys": '{"a": 1, "a": 2}',
    "NUL": '"\\u0000"',
    "NUL as a key": '{"a\\u0000": 1}',
    "a NUL as it is": '"\x00"',
    "a lone surrogate": '"\\ud800"',
    "surrogates the other way round": '"\\udc00\\ud800"',
    "a comment": "1 /* one */",
    "single quotes": "'a'",
    "another message": '1}]}}{"kind": "log"',
}
FRAMES = {
    "duplicate kinds": '{"kind": "log", %(rest)s, "kind": "report"}',
    "duplicate payloads": '{"kind": "report", %(rest)s, "payload": {}}',
    "a list": '[{"kind": "report", %(rest)s}]',
    "two messages": '{"kind": "report", %(rest)s}{"kind": "report", %(rest)s}',
    "a byte order mark": '\ufeff{"kind": "report", %(rest)s}',
}


@dataclass
class Session:
    """An agent with an attempt that runs."""

    peer: Peer
    task: dict
    credentials: dict

    def completed(self, result):
        """Return a frame that ends the attempt well, with this text as its result."""
        fact = {**self.peer.fact(self.task, "completed", seq=2, exit_code=0), "result": "HERE"}
        return self._frame(fact).replace('"HERE"', result)

    def in_frame(self, pattern):
        frame = self._frame(self.peer.fact(self.task, "completed", seq=2, exit_code=0))
        return pattern % {"rest": frame.removeprefix('{"kind": "report", ').removesuffix("}")}

    def _frame(self, fact):
        frame = {"kind": "report", "id": str(uuid.uuid4()), "timestamp": 1, "payload": {"reports": [fact]}}
        return json.dumps(frame)


async def session(port, credentials):
    peer = await Peer.registered(port, slots=1, **credentials)
    task = await peer.take(slots=1)
    await peer.report(task, "running")
    return Session(peer, task, credentials)


def everything():
    """Return what must stay: attempts without the leases that heartbeats renew, and all other tables."""
    attempts = TaskInstance.objects.order_by("pk").values_list(
        "pk", "status", "last_seq", "exit_code", "result", "error_message"
    )
    return list(attempts), fingerprint(but_for=OF_SESSIONS)


async def hurt(port, hostile, other, make):
    """Let a session say something, see how it is closed, and that it changed nothing; return it anew."""
    before = await in_thread(everything)
    # What is refused by its size alone may be refused before all of it is sent.
    with contextlib.suppress(ConnectionClosed):
        await hostile.peer.socket.send(make(hostile))
    code = await hostile.peer.close_code()
    assert await in_thread(everything) == before
    # Whoever else is there has noticed nothing, and the attempt is still its agent's.
    await other.peer.heartbeat(other.task)
    back = await Peer.connect(port, **hostile.credentials)
    held = [{**Peer.ref(hostile.task), "status": "running"}]
    answer = await back.register(slots=1, attempts=held)
    assert [each["action"] for each in answer["attempts"]] == ["continue"]
    return code, Session(back, hostile.task, hostile.credentials)


def test_hostile_json_ends_its_own_session_and_changes_nothing(port, credentials):
    for _ in range(2):
        factories.task(now=factories.NOW)
    makes = {name: lambda s, text=text: s.completed(text) for name, text in RESULTS.items()}
    makes |= {name: lambda s, text=text: s.in_frame(text) for name, text in FRAMES.items()}

    async def conversation():
        other = await session(port, await in_thread(new_credentials))
        hostile = await session(port, credentials)
        codes = {}
        for name, make in makes.items():
            codes[name], hostile = await hurt(port, hostile, other, make)
        # The very frame that was broken each time is a good one.
        await hostile.peer.socket.send(hostile.completed('{"a": [1]}'))
        await hostile.peer.receive("ack")
        await other.peer.report(other.task, "completed", seq=2, exit_code=0)
        return codes

    assert run(conversation()) == dict.fromkeys(makes, NOT_JSON)
    assert set(Task.objects.values_list("status", flat=True)) == {"completed"}
    assert TaskInstance.objects.exclude(result=None).get().result == {"a": [1]}


@pytest.mark.parametrize("extra", [1, 10_000_000])
def test_a_frame_that_is_too_large_ends_its_own_session_and_changes_nothing(port, credentials, extra):
    for _ in range(2):
        factories.task(now=factories.NOW)

    def too_large(s):
        frame = s.completed('"small"')
        return frame + " " * (MAX_FRAME_BYTES - len(frame) + extra)

    async def conversation():
        other = await session(port, await in_thread(new_credentials))
        hostile = await session(port, credentials)
        code, _ = await hurt(port, hostile, other, too_large)
        return code

    assert run(conversation()) == TOO_BIG
    assert set(Task.objects.values_list("status", flat=True)) == {"running"}


def test_before_it_registers_a_peer_may_say_no_more(port, credentials):
    async def conversation():
        codes = {}
        for name, text in RESULTS.items():
            peer = await Peer.connect(port, **credentials)
            payload = peer.registration(hostname="HERE")
            frame = {"kind": "register", "id": "1", "timestamp": 1, "payload": payload}
            await peer.socket.send(json.dumps(frame).replace('"HERE"', text))
            codes[name] = await peer.close_code()
        assert not await in_thread(Connection.objects.exists)
        await (await Peer.connect(port, **credentials)).register()
        return codes

    assert run(conversation()) == dict.fromkeys(RESULTS, NOT_JSON)
