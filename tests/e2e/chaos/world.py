"""The world of a game: every program twice or thrice on a PostgreSQL of their own, and who puts it right."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from django.db import InterfaceError, OperationalError, connection

from scheduling.clock import database_now
from scheduling.errors import SchedulingError
from scheduling.models import Lease, TaskInstance
from scheduling.services import rescue
from tests.e2e import oracle
from tests.e2e.chaos.work import Work
from tests.e2e.clocks import Clock
from tests.e2e.clusters import Cluster
from tests.e2e.installation import AgentProgram, Installation, ServerProgram, agent_python
from tests.e2e.network import Relay
from tests.e2e.oracle import until
from tests.processes import Program, wait_for_http

LEASE_SECS: Final = 3.0
SLOTS: Final = 4
# What agents need to come back, and attempts to be given up, after everything else is whole.
WHOLE_LIMIT_SECS: Final = 60.0
PEOPLE_COME_AGAIN_SECS: Final = 0.3
_SHORT: Final = {
    "HETUFLOW_LEASE_SECS": f"{LEASE_SECS:g}",
    "HETUFLOW_HEARTBEAT_SECS": "0.5",
    "PYTHONFAULTHANDLER": "1",
}


class World:
    """Two servers behind a relay each, two schedulers, three agents; one of each has a clock of its own."""

    def __init__(self, installation: Installation, relays: list[Relay]) -> None:
        self.installation = installation
        self.clocks = {name: Clock(installation.folder) for name in ("a server", "a scheduler", "an agent")}
        self.relays = relays
        self.servers: list[ServerProgram] = []
        self.schedulers: list[Program] = []
        self.agents: list[AgentProgram] = []
        self.work = Work(installation.ledger)
        self._people = ThreadPoolExecutor(1)
        self._asked: list[Future[None]] = []
        # What a fault of this round has ended or started: whether it runs says nothing.
        self._touched: set[Program] = set()
        self._copied_at: dict[AgentProgram, datetime] = {}

    def start(self) -> None:
        """Start all programs and return when they are at work."""
        clock = self.clocks["a server"].environment
        self.servers = [self.installation.server(**_SHORT, **clock), self.installation.server(**_SHORT)]
        self._turn_relays_home()
        python = agent_python(self.installation.folder / "venv")
        wrong = [self.clocks["an agent"].environment_of_agent(python), {}, {}]
        for relay, environment in zip([*self.relays, self.relays[0]], wrong, strict=True):
            self.agents.append(self.installation.agent(port=relay.port, slots=SLOTS, **environment))
        clock = self.clocks["a scheduler"].environment
        self.schedulers = [
            self.installation.scheduler(**_SHORT, **clock),
            self.installation.scheduler(**_SHORT),
        ]
        self.installation.wait_for_planning()

    @property
    def cluster(self) -> Cluster:
        assert self.installation.cluster is not None
        return self.installation.cluster

    def relay_to(self, server: ServerProgram) -> Relay:
        """Return the relay that is before this server when all is well."""
        return self.relays[self.servers.index(server)]

    # --- what faults do --------------------------------------------------------------------------------

    def kill(self, program: Program) -> None:
        """Let a program be gone at once."""
        self._touched.add(program)
        program.kill()

    def bring_back(self, program: Program) -> None:
        """Start a program that was killed; it may find the others away."""
        if not program.is_running:
            program.start()

    def copy_machine(self, original: AgentProgram) -> None:
        """Start a second agent with the identity of the first, which has to make room for it."""
        self._copied_at[original] = datetime.now(UTC)
        copy = self.installation.copy_of(original)
        copy.start()
        self._touched |= {original, copy}
        self.agents[self.agents.index(original)] = copy

    def ask(self, action: Callable[[], object]) -> None:
        """Let people do something; they come again while the database is away, and take no for an answer."""
        self._asked.append(self._people.submit(_persist, action))

    # --- and after them --------------------------------------------------------------------------------

    def make_whole(self) -> None:
        """Undo every fault; return when all programs run and all agents are online."""
        for program in self.installation.programs:
            program.send(signal.SIGCONT)
        self.cluster.make_whole()
        connection.close()
        for relay in self.relays:
            relay.heal()
        self._turn_relays_home()
        for clock in self.clocks.values():
            clock.set(0)
        self._make_programs_run()
        for asked in self._asked:
            asked.result(WHOLE_LIMIT_SECS)
        self._asked = []
        until(
            lambda: all(agent.is_online for agent in self.agents), "all agents are online", WHOLE_LIMIT_SECS
        )
        let_servers_have_been_there()

    def settle(self) -> None:
        """Wait until all work has ended, and judge it."""
        self.work.wait_for_end(WHOLE_LIMIT_SECS)
        self.work.check_schedules()
        oracle.check_all(self.installation)
        self.installation.ledger.check_alone()
        self.installation.check_logs()

    def _make_programs_run(self) -> None:
        touched, self._touched = self._touched, set()
        programs = [*self.servers, *self.schedulers, *self.agents]
        for program in programs:
            assert program.is_running or program in touched, f"ended by itself: {_last_words(program)}"
            self.bring_back(program)
        for server in self.servers:
            wait_for_http(server.port, still=lambda server=server: server.is_running)
        for program in programs:
            assert program.is_running, f"does not start: {_last_words(program)}"
        self._let_originals_go()

    def _let_originals_go(self) -> None:
        """Wait until agents are gone whose places copies have taken, and excuse their last attempts.

        What two machines with one identity were given is not promised to run once, nor to be reported.
        """
        for original, copied_at in self._copied_at.items():
            end = f"the original of {original.folder.name} makes room for its copy"
            until(lambda original=original: not original.is_running, end, WHOLE_LIMIT_SECS)
            given = TaskInstance.objects.filter(agent=original.row).exclude(completed_at__lt=copied_at)
            self.installation.ledger.excuse(given.values_list("pk", flat=True))
        self._copied_at = {}

    def _turn_relays_home(self) -> None:
        for relay, server in zip(self.relays, self.servers, strict=True):
            relay.target = server.port

    def close(self) -> None:
        """Send people home, who may be waiting for the database."""
        self.cluster.make_whole()
        # Which connection it is, the thread that has one tells; here it would be another.
        closed = self._people.submit(lambda: connection.close())
        self._people.shutdown()
        closed.result()


def let_servers_have_been_there() -> None:
    """Do as if servers had been up for long: until they have, no lease is held against an agent."""
    Lease.objects.filter(pk=rescue.GATEWAY_LEASE).update(since=database_now() - timedelta(minutes=5))


@contextlib.contextmanager
def running_world(folder: Path) -> Iterator[World]:
    """Run a world in a new folder; beside it are, or will be, what its kind has in common."""
    base = folder.parent
    agent_python(base / "venv")
    folder.mkdir()
    (folder / "venv").symlink_to(base / "venv")
    cluster = Cluster.copied(base / "seed", folder / "cluster")
    installation = Installation(folder, cluster=cluster)
    installation.enter()
    with contextlib.ExitStack() as stack:
        stack.callback(installation.close)
        relays = [stack.enter_context(Relay(0, seed=number).running()) for number in range(2)]
        world = World(installation, relays)
        stack.callback(world.close)
        world.start()
        yield world


def _persist(action: Callable[[], object]) -> None:
    deadline = time.monotonic() + WHOLE_LIMIT_SECS
    while True:
        try:
            action()
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(PEOPLE_COME_AGAIN_SECS)
        except SchedulingError:
            return
        else:
            return


def _last_words(program: Program) -> str:
    assert program.log is not None
    return f"{program.log.name}: {program.log.read_text(errors='replace')[-2000:]}"
