"""What a session counts by: its own steady clock, from the moment at which it sent."""

import json
import logging
import uuid
from types import SimpleNamespace

import pytest

from agents.daemon import session
from agents.daemon.session import Session
from agents.protocol import messages
from agents.protocol.codec import MessageError, decode_frame, encode_frame


class Supervisor:
    """Remembers until when leases were renewed."""

    def __init__(self) -> None:
        self.renewed: list[tuple[list[uuid.UUID], float]] = []

    def renew_leases(self, instance_ids: list[uuid.UUID], *, until: float) -> None:
        self.renewed.append((instance_ids, until))


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: now.at))
    return now


async def test_a_lease_runs_from_the_sending_of_the_heartbeat_that_it_answers(clock):
    supervisor, held = Supervisor(), uuid.uuid4()
    talk = Session(SimpleNamespace(supervisor=supervisor), SimpleNamespace(latency=0.0))
    beat = messages.Heartbeat(
        nonce=1,
        status="busy",
        running=1,
        attempts=[messages.AttemptRef(instance_id=held, token=7)],
    )
    talk.send_soon(beat)
    sent = talk._next_frame()
    assert decode_frame(sent, messages.AGENT_MESSAGES).payload == beat
    clock.at += 12
    await talk._on_lease(messages.Lease(nonce=1, ttl_ms=30_000, server_time_ms=0, kill=[]), clock.at)
    assert supervisor.renewed == [([held], 1030.0)]


async def test_an_answer_to_no_heartbeat_of_ours_renews_nothing(clock):
    supervisor = Supervisor()
    talk = Session(SimpleNamespace(supervisor=supervisor), SimpleNamespace(latency=0.0))
    await talk._on_lease(messages.Lease(nonce=9, ttl_ms=30_000, server_time_ms=0, kill=[]), clock.at)
    assert supervisor.renewed == [([], 30.0)]


class Server:
    """Says these texts, one after the other."""

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)

    async def recv(self) -> str:
        return self._texts.pop(0)


async def test_kinds_of_a_later_server_are_passed_over_and_told_once(caplog):
    ack = messages.Ack(ids=["1"])
    news = [
        json.dumps({"kind": kind, "id": "1", "timestamp": 1, "payload": {"of": "a later server"}})
        for kind in ("praise", "praise", "blame")
    ]
    talk = Session(SimpleNamespace(), Server(*news, encode_frame(ack)))
    with caplog.at_level(logging.INFO):
        payload, _ = await talk._next_message()
    assert payload == ack
    told = [line for line in caplog.messages if "a later server" in line]
    assert ["praise" in line for line in told] == [True, False]


async def test_a_message_of_a_known_kind_that_is_wrong_is_an_error():
    wrong = json.dumps({"kind": "ack", "id": "1", "timestamp": 1, "payload": {"ids": "1"}})
    with pytest.raises(MessageError, match="invalid"):
        await Session(SimpleNamespace(), Server(wrong))._next_message()


async def test_the_lease_of_a_dispatch_runs_from_the_offer_that_it_answers(clock):
    """A frame that lay in the socket while the machine stood still must not begin a lease when it is read."""
    taken_on = []

    async def take_on(tasks, *, received_at, lease_until):
        taken_on.append(lease_until)
        return [], []

    daemon = SimpleNamespace(take_on=take_on, offered_slots=2)
    talk = Session(daemon, SimpleNamespace(latency=0.0))
    talk.offer_slots()
    offer = decode_frame(talk._next_frame(), messages.AGENT_MESSAGES).payload
    clock.at += 12
    dispatch = messages.Dispatch(nonce=offer.nonce, lease_ttl_ms=30_000, tasks=[SimpleNamespace()])
    await talk._on_dispatch(dispatch, clock.at)
    # One that answers no offer of ours: its arrival is all that we know.
    await talk._on_dispatch(messages.Dispatch(nonce=99, lease_ttl_ms=30_000, tasks=dispatch.tasks), clock.at)
    assert taken_on == [1030.0, 1042.0]
