"""How long anything takes that must not take long, and how much it may use, with the default settings."""

import contextlib
import itertools
import json
import logging
import signal
import time
import uuid
from datetime import timedelta

import psutil
import psycopg
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model

from agents.tokens import issue_agent_token
from gateway.models import Connection, Server
from scheduling.clock import database_now
from scheduling.models import Task
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of, tasks_of
from tests.e2e.network import Relay
from tests.e2e.oracle import quiesce, until
from tests.e2e.test_faults import let_servers_have_been_there, started, trigger
from tests.flooding import PING, Flood, frame, message
from tests.openapi import CheckedClient
from tests.processes import database_url

pytestmark = pytest.mark.e2e
# What is measured is in the log of the test: `pytest -rP` shows it.
logger = logging.getLogger(__name__)

AGENT_KNOWN_SECS = 20
SERVER_MOVES_SECS = 30
SCHEDULER_MOVES_SECS = 2
# By so much a heartbeat may be late: agents send one every 5 s, and leases last for 30 s.
LATE_SECS = 4
MIB = 2**20


# --- an agent -------------------------------------------------------------------------------------------


def test_an_agent_that_is_dead_or_cut_off_is_known_within_20_seconds(fresh):
    server = fresh.server()
    client = CheckedClient()
    client.force_authenticate(get_user_model().objects.create_superuser("ann"))
    ways = {"cut off": ("up", "down"), "half-open up": ("up",), "half-open down": ("down",)}
    relays = {name: Relay(server.port) for name in ways}
    with relays["cut off"].running(), relays["half-open up"].running(), relays["half-open down"].running():
        agents = {name: fresh.agent(port=relay.port) for name, relay in relays.items()}
        agents |= {name: fresh.agent(port=server.port) for name in ("killed", "stopped", "healthy")}
        names = {str(agent.row.pk): name for name, agent in agents.items()}

        def offline():
            return {names[agent["id"]] for agent in client.get("/api/v1/agents/offline").json()}

        assert offline() == set()
        begun = time.monotonic()
        agents["killed"].kill()
        agents["stopped"].send(signal.SIGSTOP)
        for name, relay in relays.items():
            relay.hold(*ways[name])
        known = {}
        gone = agents.keys() - {"healthy"}
        while gone - known.keys():
            for name in offline() - known.keys():
                known[name] = round(time.monotonic() - begun, 1)
            assert time.monotonic() - begun < AGENT_KNOWN_SECS, known
            time.sleep(0.1)
        logger.info("known after: %s", known)
        assert offline() == gone
        held = Connection.objects.filter(server__isnull=False)
        assert {names[str(row.agent_id)] for row in held} == {"healthy"}
        agents["stopped"].send(signal.SIGCONT)
        for relay in relays.values():
            relay.heal()
        back = gone - {"killed"}
        until(lambda: offline() == {"killed"}, f"{back} are back")


# --- a server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "work_secs"), [(signal.SIGKILL, 6), (signal.SIGSTOP, 20)])
def test_the_death_of_a_server_moves_its_agents_within_30_seconds_and_fails_no_work(fresh, number, work_secs):
    dying, other = fresh.server(), fresh.server()
    fresh.scheduler()
    fresh.wait_for_planning()
    let_servers_have_been_there()
    with Relay(dying.port).running() as balancer:
        agents = [fresh.agent(port=balancer.port) for _ in range(3)]
        work = f"echo before; sleep {work_secs}; echo after"
        job = factories.job(args=["-c", fresh.ledger.script(work)], config={"max_retries": 0})
        tasks = trigger(job, 9)
        started(fresh, 9)
        (heir,) = Server.objects.exclude(connections__isnull=False)
        frozen = transaction_of_a_frozen_server() if number == signal.SIGSTOP else contextlib.nullcontext()
        begun = time.monotonic()
        with frozen:
            dying.send(number)
            balancer.target = other.port
            until(lambda: heir.connections.count() == len(agents), "the agents are at the other server")
        logger.info("moved after: %s", round(time.monotonic() - begun, 1))
        assert time.monotonic() - begun < SERVER_MOVES_SECS
        after = factories.job(args=["-c", "true"])
        quiesce([*tasks, *trigger(after, 3)])
        dying.send(signal.SIGCONT)
        assert {task.status for task in (*tasks_of(job), *tasks_of(after))} == {"completed"}
        assert len(attempts_of(job)) == len(tasks) == 9
        assert {oracle.stored_output(attempt) for attempt in attempts_of(job)} == {b"before\nafter\n"}
        oracle.check_all(fresh)


def transaction_of_a_frozen_server():
    """Return a connection that has locked the rows of all agents and says no more."""
    options = settings.DATABASES["default"]["OPTIONS"]["options"]
    frozen = psycopg.connect(database_url(), options=options)
    frozen.execute("SELECT 1 FROM agents_agent FOR UPDATE")
    return contextlib.closing(frozen)


# --- a scheduler ----------------------------------------------------------------------------------------


def test_a_schedule_fires_within_2_seconds_of_a_schedulers_death(fresh):
    server = fresh.server()
    fresh.agent(port=server.port, slots=8)
    schedulers = [fresh.scheduler(), fresh.scheduler()]
    until(lambda: all(map(is_at_work, schedulers)), "both schedulers have begun")
    job = factories.job(args=["-c", fresh.ledger.script()])
    begin = database_now() + timedelta(seconds=1)
    each_second = factories.schedule(
        job=job,
        now=database_now(),
        kind="interval",
        interval_secs=1,
        start_time=begin,
        end_time=begin + timedelta(seconds=12),
    )
    for scheduler in itertools.islice(itertools.cycle(schedulers), 6):
        until(lambda: all(map(is_at_work, schedulers)), "the one that was killed is back")
        now = database_now()
        once = factories.schedule(job=job, now=now, kind="once", start_time=now)
        scheduler.kill()
        until(lambda once=once: tasks_of(job, schedule=once), "the other one plans")
        scheduler.start()
    until(lambda: is_over(each_second), "the last instant is planned")
    quiesce([task.pk for task in tasks_of(job)])
    oracle.check_schedule(each_second)
    began = {run.instance_id: run.started_at for run in fresh.ledger.runs()}
    late = [began[str(one.pk)] - one.task.scheduled_at.timestamp() for one in attempts_of(job)]
    logger.info("latest: %s", round(max(late), 2))
    assert len(late) == 6 + 13
    assert max(late) < SCHEDULER_MOVES_SECS
    oracle.check_all(fresh)


# --- memory ---------------------------------------------------------------------------------------------


def again_and_again(*frames):
    return lambda: itertools.repeat(b"".join(frames))


def once_then(first, rest):
    return lambda: itertools.chain([first], itertools.repeat(rest))


def unknown_attempt(**more):
    return {"instance_id": str(uuid.uuid4()), "token": 5, "at_ms": 1, **more}


HEARTBEATS = message("heartbeat", nonce=1, status="idle", running=0, metrics={}, attempts=[]) * 100
REPORTS = message("report", reports=[unknown_attempt(seq=1, status="running") for _ in range(100)])
OUTPUT = message("output", chunks=[unknown_attempt(stream="stdout", offset=0, data="A" * 160_000)])
UNKNOWN = message("dance") * 100
LOG = message("log", lines=[{"at_ms": 1, "level": "info", "message": "x" * 1000}] * 100)
PINGS = frame(b"x" * 125, first=PING) * 100
NOTHING = frame(b"", first=0) * 1000
# What each says, and whether that must get it cut off soon, however little of it is heard.
FLOODS = {
    "heartbeats": (again_and_again(HEARTBEATS), {}, False),
    "reports with stale tokens": (again_and_again(REPORTS), {}, False),
    "log lines": (again_and_again(LOG), {}, False),
    "output of unknown attempts": (again_and_again(OUTPUT), {}, False),
    "fragments without end": (once_then(frame(b"x", first=1), NOTHING), {}, True),
    "a giant frame": (once_then(frame(b"", claimed=10**9), b"x" * 10**6), {}, True),
    "half a frame": (lambda: iter([frame(b"x" * 900_000, claimed=10**6)]), {"reads": False}, True),
    "what is unknown, and never reads": (again_and_again(UNKNOWN), {"reads": False}, False),
    "pings, and never reads": (again_and_again(PINGS), {"reads": False}, True),
    "nothing, and never reads": (lambda: iter([]), {"reads": False}, True),
    "no registration": (
        lambda: iter([frame(b"x" * 900_000, claimed=10**6)]),
        {"begins": "unregistered"},
        True,
    ),
    "much, and too early": (again_and_again(b"x" * 10**6), {"begins": "unanswered"}, True),
    "a wrong token": (again_and_again(b"x" * 10**6), {"begins": "unanswered", "token": "wrong"}, True),
}


def test_a_server_stays_flat_under_peers_that_flood_and_never_read(fresh):
    server = fresh.server(HETUFLOW_HEARTBEAT_SECS="0.5")
    with Relay(server.port).running() as relay:
        fresh.agent(port=relay.port)
        relay.record()
        floods = {}
        for name, (blocks, more, _) in FLOODS.items():
            row, token = issue_agent_token(name=name)
            credentials = {"agent_id": str(row.pk), "token": token}
            floods[name] = Flood(server.port, blocks=blocks, **(credentials | more))
        memory = Memory(server.pid)
        end_at = time.monotonic() + 10
        for flood in floods.values():
            flood.start()
        must_be_cut = {name for name, (_, _, must) in FLOODS.items() if must}
        uncut = must_be_cut
        while uncut or time.monotonic() < end_at:
            memory.read()
            uncut = {name for name in uncut if not floods[name].cut_off}
            assert time.monotonic() < end_at + 15, uncut
            time.sleep(0.05)
        for flood in floods.values():
            flood.end()
        waits, gaps = heartbeats(relay.recorded)
    figures = {name: (f"{flood.sent / MIB:.0f} MiB", flood.cut_off) for name, flood in floods.items()}
    logger.info("grew by %.0f MiB, waits up to %.1f s; %s", memory.growth / MIB, max(waits), figures)
    assert memory.growth < 64 * MIB
    assert max(waits) < LATE_SECS
    assert max(gaps) < 0.5 + LATE_SECS


GIB_OF = {"NUL bytes": "head -c 1G /dev/zero", "one line": "yes | tr -d '\\n' | head -c 1G"}
CAP_BYTES = 10 * MIB


def test_a_gib_of_output_costs_the_agent_neither_memory_nor_a_heartbeat(fresh):
    server = fresh.server(HETUFLOW_HEARTBEAT_SECS="0.5")
    with Relay(server.port).running() as relay:
        agent = fresh.agent(port=relay.port)
        memory = Memory(agent.pid)
        relay.record()
        jobs = {name: factories.job(args=["-c", script]) for name, script in GIB_OF.items()}
        tasks = [task for job in jobs.values() for task in trigger(job, 1)]
        shims = set()
        while Task.objects.filter(pk__in=tasks).exclude(status="completed").exists():
            memory.read()
            for pid in {*oracle.supervisors_of(agent.folder)} - {agent.pid}:
                with contextlib.suppress(psutil.NoSuchProcess):
                    shims.add(psutil.Process(pid).memory_info().rss)
        until(lambda: not any((agent.folder / "spool").iterdir()), "the output is stored")
        waits, gaps = heartbeats(relay.recorded)
    figures = memory.growth / MIB, max(shims) / MIB, max(waits), max(gaps)
    logger.info(
        "the daemon grew by %.0f MiB, a shim has %.0f; waits up to %.1f s, gaps up to %.1f s", *figures
    )
    assert memory.growth + max(shims) < 64 * MIB
    assert len(gaps) >= 4
    assert max(waits) < LATE_SECS
    assert max(gaps) < 0.5 + LATE_SECS
    for name, expected in (("NUL bytes", b"\0"), ("one line", b"y")):
        (attempt,) = attempts_of(jobs[name])
        assert (attempt.exit_code, attempt.output_truncated) == (0, True)
        assert oracle.stored_output(attempt) == expected * CAP_BYTES
    oracle.check_all(fresh)


class Memory:
    """How much a process has grown at most since this began."""

    def __init__(self, *pids):
        self._processes = [psutil.Process(pid) for pid in pids]
        self._before = self._now()
        self.growth = 0

    def read(self):
        self.growth = max(self.growth, self._now() - self._before)

    def _now(self):
        return sum(process.memory_info().rss for process in self._processes)


def heartbeats(recorded):
    """Return how long each heartbeat of a session waited for its lease, and the next one for its turn."""
    sent, answered = {}, {}
    for _way, text in recorded:
        said = json.loads(text)
        if said["kind"] in ("heartbeat", "lease"):
            known = sent if said["kind"] == "heartbeat" else answered
            known[said["payload"]["nonce"]] = said["timestamp"] / 1000
    waits = [answered[nonce] - at for nonce, at in sent.items() if nonce in answered]
    assert len(sent) - len(waits) <= 1
    return waits, [later - earlier for earlier, later in itertools.pairwise(sent.values())]


def is_at_work(scheduler):
    """Whether it has a connection to the database."""
    return len(psutil.Process(scheduler.pid).net_connections("all")) > 0


def is_over(schedule):
    schedule.refresh_from_db()
    return schedule.status == "expired"
