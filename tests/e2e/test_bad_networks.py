"""The network between agents and servers is bad in every way: no work is lost, and none runs twice."""

import contextlib
import json

import pytest
from websockets.exceptions import ConnectionClosed

from scheduling.clock import database_now
from scheduling.models import Task, TaskInstance
from scheduling.services import manual
from tests import factories
from tests.database import fingerprint
from tests.e2e import oracle
from tests.e2e.installation import attempts_of, tasks_of
from tests.e2e.network import Relay
from tests.e2e.oracle import quiesce, until
from tests.e2e.test_faults import let_go, let_servers_have_been_there, started, trigger
from tests.gateway.peer import Peer, run
from tests.gateway.test_hostile_frames import OF_SESSIONS

pytestmark = pytest.mark.e2e
CLOSE_REPLACED = 4000
SHORT = {"HETUFLOW_LEASE_SECS": "3", "HETUFLOW_HEARTBEAT_SECS": "0.5"}


def printing_job(fresh, *, secs=0, **config):
    """Return a job that prints 100 KB, lasts so long and enters itself in the ledger."""
    work = f"head -c 100000 /dev/urandom; sleep {secs}"
    return factories.job(args=["-c", fresh.ledger.printing_script(work)], config=config)


def check(fresh, job, *agents):
    """Everything ran once and to its end, and all that it printed is stored."""
    let_go(*agents)
    attempts = attempts_of(job)
    assert {(attempt.status, attempt.stdout_bytes) for attempt in attempts} == {("completed", 100_000)}
    assert [task.status for task in tasks_of(job)] == ["completed"] * len(attempts)
    fresh.ledger.check(attempts)
    assert len(fresh.ledger.runs()) == len(attempts)
    oracle.check_all(fresh)


def test_thirty_percent_of_all_frames_are_cut(fresh):
    server = fresh.server()
    with Relay(server.port, seed=3).running() as relay:
        agent = fresh.agent(port=relay.port)
        job = printing_job(fresh)
        relay.cut_frames = 0.3
        tasks = trigger(job, 4)
        until(lambda: relay.cuts >= 6, "six frames were cut", limit_secs=60)
        relay.heal()
        quiesce(tasks)
        check(fresh, job, agent)


def test_every_message_passes_twice_on_both_ways(fresh):
    server = fresh.server()
    with Relay(server.port).running() as relay:
        relay.twice = frozenset({"up", "down"})
        agent = fresh.agent(port=relay.port)
        job = printing_job(fresh)
        quiesce(trigger(job, 6))
        check(fresh, job, agent)


def test_a_network_that_is_away_for_less_than_the_lease_costs_nothing_but_time(fresh):
    server = fresh.server()
    fresh.scheduler()
    fresh.wait_for_planning()
    let_servers_have_been_there()
    with Relay(server.port).running() as relay:
        agent = fresh.agent(port=relay.port)
        job = printing_job(fresh, secs=1, max_retries=0)
        tasks = trigger(job, 4)
        started(fresh, 4)
        with relay.parted():
            until(lambda: all(run.ended_at for run in fresh.ledger.runs()), "the commands have ended")
            assert not Task.objects.filter(pk__in=tasks, status="completed").exists()
        quiesce(tasks)
        check(fresh, job, agent)


def test_a_network_that_is_away_for_longer_than_the_lease_lets_nothing_run_twice_at_once(fresh):
    server = fresh.server(**SHORT)
    fresh.scheduler()
    fresh.wait_for_planning()
    with Relay(server.port).running() as relay:
        cut_off = fresh.agent(port=relay.port)
        exclusive = factories.job(
            args=["-c", fresh.ledger.script('[ "$HETUFLOW_ATTEMPT" = 2 ] || sleep 764.3')],
            config={
                "on_lease_lost": "kill",
                "max_retries": 1,
                "retry_interval_secs": 0,
                "kill_grace_secs": 1,
            },
        )
        kept = printing_job(fresh, secs=6, max_retries=0)
        tasks = trigger(exclusive, 1) + trigger(kept, 1)
        started(fresh, 2)
        let_servers_have_been_there()
        fresh.agent(port=server.port)
        with relay.parted():
            started(fresh, 3)
            # The other agent begins only when nothing is left of the first attempt.
            assert oracle.processes_with("sleep\x00764.3") == []
            quiesce(tasks)
        let_go(cut_off)
    assert [attempt.status for attempt in attempts_of(exclusive)] == ["lost", "completed"]
    (attempt,) = attempts_of(kept)
    assert (attempt.status, attempt.exit_code, attempt.stdout_bytes) == ("lost", 0, 100_000)
    oracle.check_all(fresh)


# --- yesterday's capture --------------------------------------------------------------------------------


def test_yesterdays_capture_played_again_changes_nothing(fresh):
    server = fresh.server()
    with Relay(server.port).running() as relay:
        relay.record()
        agent = fresh.agent(port=relay.port)
        quiesce(trigger(printing_job(fresh), 3))
        let_go(agent)
        agent.kill()
        captured = [text for way, text in relay.recorded if way == "up"]
    assert {json.loads(text)["kind"] for text in captured} >= {"register", "accepted", "report", "output"}
    server.kill()
    server.start_and_listen()
    agent.environment["HETUFLOW_SERVER"] = f"ws://127.0.0.1:{server.port}"
    agent.start_and_register()
    job = factories.job(args=["-c", "exec sleep 654.3"], config={"kill_grace_secs": 1})
    later = trigger(job, 1)
    until(lambda: [attempt.status for attempt in attempts_of(job)] == ["running"], "it runs")
    before = everything()
    credentials = {"agent_id": str(agent.row.pk), "token": agent.environment["HETUFLOW_AGENT_TOKEN"]}

    # As it was: the session is refused, and that of the agent lives.
    assert run(played_again(captured, server.port, credentials)) == CLOSE_REPLACED
    assert everything() == before
    assert agent.is_online

    # In a session of today, by somebody who has the token and says that he is the agent.
    agent.kill()
    run(said_again(captured, server.port, credentials, attempts_of(job)[0]))
    assert everything() == before
    agent.start_and_register()
    manual.cancel(task_id=later[0], now=database_now())
    quiesce(later)
    oracle.check_all(fresh)


def everything():
    """Return what replayed messages must not change: all but what sessions write by being there."""
    attempts = TaskInstance.objects.order_by("pk").values_list(
        "pk", "status", "last_seq", "exit_code", "token"
    )
    return list(attempts), fingerprint(but_for=OF_SESSIONS | {"gateway_agentlog"})


async def played_again(captured, port, credentials):
    peer = await Peer.connect(port, **credentials)
    with contextlib.suppress(ConnectionClosed):
        for text in captured:
            await peer.socket.send(text)
    return await peer.close_code()


async def said_again(captured, port, credentials, attempt):
    peer = await Peer.connect(port, **credentials)
    held = {"instance_id": str(attempt.pk), "token": attempt.token, "status": "running"}
    await peer.register(attempts=[held])
    messages = [json.loads(text) for text in captured]
    for message in messages:
        if message["kind"] != "register":
            await peer.socket.send(json.dumps(message))
        if message["kind"] in ("report", "output"):
            await peer.acknowledged(message["id"])
    await peer.heartbeat(peer.ref(held), nonce=10**9)
