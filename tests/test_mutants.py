"""The mistakes of the catalogue can still be made, and change what they are made in."""

import ast

import pytest

from tests.mutants.__main__ import mutated
from tests.mutants.catalogue import MUTANTS
from tests.processes import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_can_be_made_just_there(mutant):
    changed = mutated((ROOT / mutant.path).read_text(), mutant)
    ast.parse(changed)
    assert changed != (ROOT / mutant.path).read_text()
    assert all((ROOT / killer.partition("::")[0]).exists() for killer in mutant.killers)


def test_every_invariant_has_its_mistakes():
    named = {mutant.name.partition(":")[0] for mutant in MUTANTS}
    assert {f"I{number}" for number in range(1, 15)} <= named
