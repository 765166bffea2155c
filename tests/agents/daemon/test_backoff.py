import asyncio
import random
import uuid
from types import SimpleNamespace

import pytest

from agents.daemon import agent
from agents.daemon.agent import AgentDaemon
from agents.daemon.backoff import Backoff
from agents.daemon.config import parse
from agents.daemon.logs import LogLines
from agents.daemon.session import Replaced
from agents.daemon.tokens import TokenSource


def test_waits_double_up_to_half_a_minute_and_begin_again_after_a_good_session():
    backoff = Backoff(random=lambda: 1.0)
    assert [backoff.next_delay_secs() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    backoff.reset()
    assert backoff.next_delay_secs() == 0.5


def test_waits_are_spread_over_the_whole_range():
    assert Backoff(random=lambda: 0.0).next_delay_secs() == 0


@pytest.mark.parametrize("outage_secs", [1, 5, 14])
def test_of_a_large_crowd_everybody_is_back_within_twice_the_outage(outage_secs):
    for seed in range(2000):
        backoff = Backoff(random=random.Random(seed).random)  # noqa: S311
        waited = 0.0
        while waited < outage_secs:
            waited += backoff.next_delay_secs()
        assert waited <= 2 * outage_secs + 0.5


async def test_after_a_good_session_the_wait_is_short_however_long_it_took_to_get_it(tmp_path, monkeypatch):
    token = f"hfa_{uuid.uuid4().hex}_{'x' * 43}"
    config = parse(["--server", "ws://127.0.0.1:1", "--token", token, "--dir", str(tmp_path)], {})
    daemon = AgentDaemon(config, TokenSource(config.credentials, tmp_path), LogLines())
    daemon._backoff = Backoff(random=lambda: 1.0)
    outcomes = iter([OSError()] * 4 + [None, Replaced()])
    waits = []

    async def connect_once():
        if (outcome := next(outcomes)) is not None:
            raise outcome
        daemon._backoff.reset()

    async def sleep(secs):
        waits.append(secs)

    monkeypatch.setattr(daemon, "_connect_once", connect_once)
    monkeypatch.setattr(agent, "asyncio", SimpleNamespace(sleep=sleep, timeout=asyncio.timeout))
    await daemon._stay_connected()
    assert waits == [0.5, 1, 2, 4, 0.5]
