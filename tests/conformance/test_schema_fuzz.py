"""Whatever schemathesis makes of the OpenAPI document, the server answers as the document says.

A traceback in a log fails the fixture's end, as everywhere in this folder.
"""

import os
from collections.abc import Iterator

import pytest

from tests.conformance.fuzz import Fuzz, Outcome

# `make fuzz` gives other figures; with these it takes about a minute.
SEED = int(os.environ.get("HETUFLOW_FUZZ_SEED", "20261128"))
EXAMPLES = int(os.environ.get("HETUFLOW_FUZZ_EXAMPLES", "5"))
PHASES = os.environ.get("HETUFLOW_FUZZ_PHASES", "examples,fuzzing")
LIMIT_SECS = float(os.environ.get("HETUFLOW_FUZZ_LIMIT_SECS", "300"))
# An enrolment token opens this once, and chance finds none.
NEVER_ACCEPTED = {"agents_enroll"}
MOST_ACCEPTED = 0.95

pytestmark = pytest.mark.timeout(LIMIT_SECS + 120)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    made = Fuzz(tmp_path_factory.mktemp("fuzz"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def outcome(fuzz: Fuzz) -> Outcome:
    return fuzz.run(seed=SEED, phases=PHASES, max_examples=EXAMPLES, limit_secs=LIMIT_SECS)


def test_no_request_brings_an_error_of_the_server(outcome: Outcome) -> None:
    assert outcome.failures == []


def test_every_answer_is_what_the_document_says(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome.said


def test_every_operation_is_tried(fuzz: Fuzz, outcome: Outcome) -> None:
    assert outcome.answers.keys() == fuzz.operations()


def test_nearly_every_operation_does_what_it_is_for(fuzz: Fuzz, outcome: Outcome) -> None:
    """Else the answers would tell of refusals only."""
    expected = fuzz.operations() - NEVER_ACCEPTED
    missing = expected - outcome.accepted
    assert len(missing) <= (1 - MOST_ACCEPTED) * len(expected), sorted(missing)
    assert not NEVER_ACCEPTED & outcome.accepted
