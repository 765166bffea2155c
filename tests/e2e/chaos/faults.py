"""The faults: each is a place and something that happens there, step by step, while work runs.

A happening gets the world and its own dice, and yields how many seconds pass before its next step. What it
leaves broken, the end of the round makes whole.
"""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from scheduling.clock import database_now
from scheduling.models import Task
from scheduling.services import manual
from scheduling.states import TASK_TERMINAL
from tests.e2e import oracle
from tests.e2e.chaos.world import LEASE_SECS, World
from tests.processes import Program

Happening = Callable[[World, Random], Iterator[float]]

HOT_TABLES: Final = (
    "scheduling_task",
    "scheduling_taskinstance",
    "scheduling_schedule",
    "scheduling_outputchunk",
    "scheduling_lease",
    "gateway_connection",
    "gateway_server",
    "agents_agent",
)
DAY_AND_HOUR_SECS: Final = 25 * 3600.0


@dataclass(frozen=True)
class Fault:
    """Something that happens at a place; of one place, one thing happens at a time."""

    name: str
    place: str
    happening: Happening


FAULTS: Final[dict[str, Fault]] = {}


def fault(place: str) -> Callable[[Happening], Happening]:
    """Register a happening at `place` under its own name, as a sentence."""

    def register(happening: Happening) -> Happening:
        name = happening.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, place, happening)
        return happening

    return register


def _longer(dice: Random) -> float:
    """Return more than a lease and a little."""
    return dice.uniform(1.5, 2.2) * LEASE_SECS


def _shorter(dice: Random) -> float:
    return dice.uniform(0.2, 0.7) * LEASE_SECS


def _freeze(program: Program, secs: float) -> Iterator[float]:
    program.send(signal.SIGSTOP)
    yield secs
    program.send(signal.SIGCONT)


# --- servers --------------------------------------------------------------------------------------------


@fault("servers")
def a_server_dies(world: World, dice: Random) -> Iterator[float]:
    """The balancer sends its agents to the other one."""
    server = dice.choice(world.servers)
    world.kill(server)
    yield dice.uniform(0.1, 2)
    (other,) = set(world.servers) - {server}
    world.relay_to(server).target = other.port


@fault("servers")
def a_server_dies_and_comes_back(world: World, dice: Random) -> Iterator[float]:
    server = dice.choice(world.servers)
    world.kill(server)
    yield dice.uniform(0.1, 3)
    world.bring_back(server)


@fault("servers")
def a_server_freezes_for_less_than_a_lease(world: World, dice: Random) -> Iterator[float]:
    yield from _freeze(dice.choice(world.servers), _shorter(dice))


@fault("servers")
def a_server_freezes_until_the_others_take_it_for_dead(world: World, dice: Random) -> Iterator[float]:
    yield from _freeze(dice.choice(world.servers), dice.uniform(7, 9))


@fault("servers")
def all_servers_are_away(world: World, dice: Random) -> Iterator[float]:
    for server in world.servers:
        world.kill(server)
    yield _longer(dice)
    for server in world.servers:
        world.bring_back(server)


# --- schedulers -----------------------------------------------------------------------------------------


@fault("schedulers")
def a_scheduler_dies(world: World, dice: Random) -> Iterator[float]:
    world.kill(dice.choice(world.schedulers))
    yield 0


@fault("schedulers")
def a_scheduler_freezes(world: World, dice: Random) -> Iterator[float]:
    yield from _freeze(dice.choice(world.schedulers), _longer(dice))


@fault("schedulers")
def all_schedulers_die_and_come_back(world: World, dice: Random) -> Iterator[float]:
    for scheduler in world.schedulers:
        world.kill(scheduler)
    yield _longer(dice)
    for scheduler in world.schedulers:
        world.bring_back(scheduler)


# --- agents ---------------------------------------------------------------------------------------------


@fault("agents")
def an_agent_dies_and_comes_back_at_once(world: World, dice: Random) -> Iterator[float]:
    agent = dice.choice(world.agents)
    world.kill(agent)
    world.bring_back(agent)
    yield 0


@fault("agents")
def an_agent_dies_and_comes_back_after_its_work_has_ended(world: World, dice: Random) -> Iterator[float]:
    agent = dice.choice(world.agents)
    world.kill(agent)
    yield dice.uniform(4.5, 6)
    world.bring_back(agent)


@fault("agents")
def an_agent_freezes_for_less_than_a_lease(world: World, dice: Random) -> Iterator[float]:
    yield from _freeze(dice.choice(world.agents), _shorter(dice))


@fault("agents")
def an_agent_freezes_for_longer_than_a_lease(world: World, dice: Random) -> Iterator[float]:
    yield from _freeze(dice.choice(world.agents), _longer(dice))


@fault("agents")
def the_machine_of_an_agent_is_copied(world: World, dice: Random) -> Iterator[float]:
    world.copy_machine(dice.choice(world.agents))
    yield 0


@fault("agents")
def a_supervisor_of_an_attempt_is_killed(world: World, dice: Random) -> Iterator[float]:
    for _ in range(2):
        agent = dice.choice(world.agents)
        shims = sorted(set(oracle.supervisors_of(agent.folder)) - {agent.pid})
        oracle.kill(shims and [dice.choice(shims)])
        yield dice.uniform(0.5, 3)


# --- the database ---------------------------------------------------------------------------------------


@fault("the database")
def the_database_restarts(world: World, dice: Random) -> Iterator[float]:
    world.cluster.stop()
    yield dice.uniform(0, 4)
    world.cluster.start()


@fault("the database")
def the_database_crashes_and_recovers(world: World, dice: Random) -> Iterator[float]:
    world.cluster.crash()
    yield dice.uniform(0, 2)
    world.cluster.start()


@fault("the database")
def a_process_of_the_database_is_killed(world: World, _dice: Random) -> Iterator[float]:
    world.cluster.kill_a_backend()
    yield 0


@fault("the database")
def the_database_says_nothing(world: World, dice: Random) -> Iterator[float]:
    with world.cluster.paused():
        yield dice.uniform(1, 8)


@fault("the database")
def the_database_has_no_connections_left(world: World, dice: Random) -> Iterator[float]:
    with world.cluster.without_connections():
        yield _longer(dice)


@fault("the database")
def commits_fail(world: World, dice: Random) -> Iterator[float]:
    with world.cluster.failing_commits(HOT_TABLES, probability=0.05):
        yield dice.uniform(4, 8)


# --- the network ----------------------------------------------------------------------------------------


@fault("the network")
def the_network_is_cut_for_less_than_a_lease(world: World, dice: Random) -> Iterator[float]:
    with dice.choice(world.relays).parted():
        yield _shorter(dice)


@fault("the network")
def the_network_is_cut_for_longer_than_a_lease(world: World, dice: Random) -> Iterator[float]:
    with dice.choice(world.relays).parted():
        yield _longer(dice)


@fault("the network")
def the_network_is_half_open(world: World, dice: Random) -> Iterator[float]:
    with dice.choice(world.relays).held(dice.choice(("up", "down"))):
        yield _longer(dice)


@fault("the network")
def frames_are_cut(world: World, dice: Random) -> Iterator[float]:
    for relay in world.relays:
        relay.cut_frames = 0.05
    yield dice.uniform(3, 6)
    for relay in world.relays:
        relay.cut_frames = 0.0


@fault("the network")
def messages_pass_twice(world: World, dice: Random) -> Iterator[float]:
    for relay in world.relays:
        relay.twice = frozenset({"up", "down"})
    yield dice.uniform(4, 8)
    for relay in world.relays:
        relay.twice = frozenset()


@fault("the network")
def the_network_is_slow(world: World, dice: Random) -> Iterator[float]:
    relay = dice.choice(world.relays)
    relay.delay_secs, relay.bytes_per_sec = dice.uniform(0.05, 0.4), 100_000
    yield dice.uniform(4, 8)
    relay.delay_secs, relay.bytes_per_sec = 0.0, None


# --- clocks ---------------------------------------------------------------------------------------------


def _jump(world: World, whose: str, dice: Random) -> Iterator[float]:
    world.clocks[whose].set(dice.choice((-1, 1)) * dice.choice((2.0, 40.0, DAY_AND_HOUR_SECS)))
    yield dice.uniform(2, 8)
    world.clocks[whose].set(0)


@fault("clocks")
def the_clock_of_a_server_jumps_and_jumps_back(world: World, dice: Random) -> Iterator[float]:
    yield from _jump(world, "a server", dice)


@fault("clocks")
def the_clock_of_a_scheduler_jumps_and_jumps_back(world: World, dice: Random) -> Iterator[float]:
    yield from _jump(world, "a scheduler", dice)


@fault("clocks")
def the_clock_of_an_agent_jumps_and_jumps_back(world: World, dice: Random) -> Iterator[float]:
    yield from _jump(world, "an agent", dice)


# --- people ---------------------------------------------------------------------------------------------


@fault("people")
def somebody_edits_schedules_while_they_are_planned(world: World, dice: Random) -> Iterator[float]:
    for _ in range(4):
        schedule, secs = dice.choice(world.work.schedules[:2]), dice.randint(1, 3)
        world.ask(partial(world.work.edit, schedule, interval_secs=secs))
        yield dice.uniform(0.2, 2)


@fault("people")
def somebody_disables_a_job_and_enables_it_again(world: World, dice: Random) -> Iterator[float]:
    for enabled in (False, True):
        world.ask(partial(world.work.switch, "prints", enabled=enabled))
        yield dice.uniform(0.5, 3)


@fault("people")
def somebody_cancels_tasks(world: World, dice: Random) -> Iterator[float]:
    for _ in range(4):
        world.ask(partial(_cancel_some, _dice_of_its_own(dice)))
        yield dice.uniform(0.2, 2)


def _dice_of_its_own(dice: Random) -> Random:
    """Return dice for another thread: which numbers come must not depend on which is quicker."""
    return Random(dice.random())  # noqa: S311


def _cancel_some(dice: Random) -> None:
    live = list(Task.objects.exclude(status__in=TASK_TERMINAL).order_by("pk").values_list("pk", flat=True))
    for task_id in dice.sample(live, min(2, len(live))):
        manual.cancel(task_id=task_id, now=database_now())


@fault("people")
def somebody_triggers_a_burst(world: World, dice: Random) -> Iterator[float]:
    for _ in range(2):
        world.ask(partial(world.work.trigger, "prints", 10))
        yield dice.uniform(0.5, 3)


@fault("people")
def somebody_retries_what_has_failed(world: World, dice: Random) -> Iterator[float]:
    yield dice.uniform(2, 4)
    for _ in range(3):
        world.ask(partial(_retry_some, _dice_of_its_own(dice)))
        yield dice.uniform(0.5, 2)


def _retry_some(dice: Random) -> None:
    ended = Task.objects.filter(status__in=("failed", "cancelled"), attempt_count__gt=0).order_by("pk")
    ids = list(ended.values_list("pk", flat=True))
    for task_id in dice.sample(ids, min(2, len(ids))):
        manual.retry(task_id=task_id, now=database_now())
