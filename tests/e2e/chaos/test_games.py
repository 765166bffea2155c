"""Short games of fixed seeds, in which each fault happens; and the rules of the game."""

import itertools
import logging
from collections import Counter

import pytest

from tests.e2e.chaos import game, report
from tests.e2e.chaos.faults import FAULTS
from tests.e2e.chaos.game import Round

logger = logging.getLogger(__name__)
PLACES = {fault.place for fault in FAULTS.values()}


def chosen(*names):
    return [FAULTS[name] for name in names]


def check(folder, rounds):
    """Play these rounds; nothing may be wrong in any."""
    for played in game.play(folder, iter(rounds)):
        logger.info(report.line_of(played))
        assert not played.violation, report.line_of(played)


# --- games ----------------------------------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_work_survives_every_fault_with_one_of_every_other_place(e2e_folder):
    left, rounds = set(FAULTS), []
    for played in game.rounds(1, list(FAULTS.values()), len(PLACES)):
        left -= {fault.name for fault in played.faults}
        rounds.append(played)
        if not left:
            break
    check(e2e_folder, rounds)


# --- the rules ------------------------------------------------------------------------------------------


def hands(seed, together, count):
    played = itertools.islice(game.rounds(seed, list(FAULTS.values()), together), count)
    return [[fault.name for fault in each.faults] for each in played]


def test_a_seed_decides_what_happens():
    assert hands(5, 3, 20) == hands(5, 3, 20)
    assert hands(5, 3, 20) != hands(6, 3, 20)
    one, two = (Round(5, 7, []) for _ in range(2))
    assert one.dice("a server dies").random() == two.dice("a server dies").random()
    assert len({Round(5, number, []).dice("a server dies").random() for number in range(9)}) == 9


@pytest.mark.parametrize("together", range(1, len(PLACES) + 2))
def test_faults_of_a_round_are_of_different_places_and_each_comes_as_often(together):
    names = hands(2, together, 120)
    counts = Counter(name for hand in names for name in hand)
    assert {len(hand) for hand in names} == {min(together, len(PLACES))}
    for hand in names:
        assert len({FAULTS[name].place for name in hand}) == len(hand)
    assert set(counts) == set(FAULTS)
    if together <= 3:
        assert max(counts.values()) - min(counts.values()) <= 2


def test_the_report_tells_each_violation_and_how_to_repeat_it():
    faults = chosen("a server dies", "the network is slow")
    rounds = [
        Round(4, 1, faults, 12.3, attempts=40, lost=2),
        Round(4, 2, faults[:1], violation="ran twice: x"),
    ]
    lines = report.table(rounds, faults=faults, again="make chaos ARGS='--seed 4").splitlines()
    assert "servers: a server dies 2 1" in {" ".join(line.split()) for line in lines}
    assert "the network: the network is slow 1 0" in {" ".join(line.split()) for line in lines}
    assert "I3 nothing ran twice 1 2" in {" ".join(line.split()) for line in lines}
    assert "  ran twice: x" in lines
    assert "  again: make chaos ARGS='--seed 4 --first 2 --rounds 1'" in lines
    assert lines[-1] == "2 rounds, 40 attempts of which 2 were lost, the longest round 12 s: 1 violations"


def test_a_violation_is_found_told_and_begun_after_anew(monkeypatch, tmp_path):
    """In a world that is none, so that it costs nothing."""
    worlds = []

    class Broken:
        def __enter__(self):
            worlds.append(self)
            return self

        def __exit__(self, *_problem):
            raise AssertionError("what the end says of a world that is broken")

    wrong = {2: "ran twice", 3: ""}

    def play(_world, played):
        played.violation = wrong.get(played.number, "")

    monkeypatch.setattr(game, "running_world", lambda _folder: Broken())
    monkeypatch.setattr(game, "_play", play)
    waiting = itertools.islice(game.rounds(1, list(FAULTS.values()), 1), 3)
    told = [(each.number, each.violation) for each in game.play(tmp_path, waiting)]
    of_the_end = "where its world begins or ends: what the end says of a world that is broken"
    assert told == [(1, ""), (2, "ran twice"), (3, ""), (3, of_the_end)]
    assert len(worlds) == 2
