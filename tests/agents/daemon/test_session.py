"""What a session counts by: its own steady clock, from the moment at which it sent."""

import uuid
from types import SimpleNamespace

import pytest

from agents.daemon import session
from agents.daemon.session import Session
from agents.protocol import messages
from agents.protocol.codec import decode_frame


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
