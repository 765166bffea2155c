"""The game: each round some faults of different places happen while work runs, and then all must be well."""

import heapq
import itertools
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

from scheduling.models import TaskInstance
from tests.e2e.chaos.faults import Fault
from tests.e2e.chaos.world import World, running_world

logger = logging.getLogger(__name__)

FIRST_STEP_WITHIN_SECS: Final = 5.0
ROUNDS_OF_A_WORLD: Final = 8


@dataclass
class Round:
    """What happens in one round; `violation` says what was not as it must be."""

    seed: int
    number: int
    faults: Sequence[Fault]
    secs: float = 0.0
    attempts: int = 0
    lost: int = 0
    violation: str = ""

    def dice(self, of: str) -> Random:
        """Return the dice of something in this round."""
        return Random(f"{self.seed} {self.number} {of}")  # noqa: S311


def rounds(seed: int, faults: Sequence[Fault], together: int) -> Iterator[Round]:
    """Return what a seed decides: rounds without end, numbered from one, with `together` faults in each."""
    for number, hand in enumerate(deal(seed, faults, together), start=1):
        yield Round(seed, number, hand)


def play(folder: Path, waiting: Iterator[Round]) -> Iterator[Round]:
    """Play rounds and yield each when it is over, in worlds below `folder`; after a violation, a new one."""
    for first in waiting:
        rest = itertools.islice(waiting, ROUNDS_OF_A_WORLD - 1)
        yield from _play_in_one_world(folder / f"world-{uuid.uuid4().hex[:6]}", first, rest)


def deal(seed: int, faults: Sequence[Fault], together: int) -> Iterator[list[Fault]]:
    """Deal hands of faults of different places from a shuffled deck, so that each fault comes as often."""
    dice = Random(seed)  # noqa: S311
    together = min(together, len({fault.place for fault in faults}))
    deck: list[Fault] = []
    while True:
        hand: list[Fault] = []
        while len(hand) < together:
            taken = {fault.place for fault in hand}
            fitting = next((fault for fault in deck if fault.place not in taken), None)
            if fitting is None:
                deck += dice.sample(faults, len(faults))
            else:
                deck.remove(fitting)
                hand.append(fitting)
        yield hand


def _play_in_one_world(folder: Path, first: Round, rest: Iterator[Round]) -> Iterator[Round]:
    played = first
    try:
        with running_world(folder) as world:
            for played in itertools.chain([first], rest):
                _play(world, played)
                yield played
                if played.violation:
                    break
    except Exception as error:
        logger.exception("a world does not begin or end as it should")
        # Of a world in which something was wrong already, the end tells nothing new.
        if not played.violation:
            yield replace(played, violation=f"where its world begins or ends: {error}")


def _play(world: World, played: Round) -> None:
    begun = time.monotonic()
    try:
        world.work.begin(played.dice("work"))
        _let_happen(world, played)
        world.make_whole()
        world.settle()
    except Exception as error:
        logger.exception("round %s of seed %s", played.number, played.seed)
        played.violation = str(error) or repr(error)
    else:
        attempts = TaskInstance.objects.filter(job__in=list(world.work.jobs.values()))
        played.attempts, played.lost = attempts.count(), attempts.filter(status="lost").count()
    played.secs = time.monotonic() - begun


def _let_happen(world: World, played: Round) -> None:
    """Take the steps of all happenings, each at its moment."""
    happenings = [world.work.go_on(world.ask, played.dice("people"))]
    moments = [0.0]
    for fault in played.faults:
        dice = played.dice(fault.name)
        moments.append(dice.uniform(0, FIRST_STEP_WITHIN_SECS))
        happenings.append(fault.happening(world, dice))
    due = [(moment, number) for number, moment in enumerate(moments)]
    heapq.heapify(due)
    begun = time.monotonic()
    while due:
        moment, number = heapq.heappop(due)
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        secs = next(happenings[number], None)
        if secs is not None:
            heapq.heappush(due, (time.monotonic() - begun + secs, number))
