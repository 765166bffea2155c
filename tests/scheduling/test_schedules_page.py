"""The page on schedules says what is so."""

import re
from datetime import UTC, datetime
from itertools import islice

import pytest

from scheduling.recurrence import Recurrence, instants_after, validate
from scheduling.states import Outcome
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "schedules.md").read_text()
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROWS = re.findall(
    r"^\| `([^`]+)` \| [^|]+ \| (\d\d-\d\d \d\d:\d\d:\d\d(?:, [\d: -]+)*) \|$", PAGE, re.MULTILINE
)


def test_the_page_has_many_examples() -> None:
    assert len(ROWS) >= 20


@pytest.mark.parametrize(("expression", "runs"), ROWS)
def test_an_expression_of_the_page_runs_when_the_page_says(expression: str, runs: str) -> None:
    rule = Recurrence(kind="cron", cron_expression=expression, seed="1")
    validate(rule)
    assert ", ".join(f"{at:%m-%d %H:%M:%S}" for at in islice(instants_after(rule, NOON, 3), 3)) == runs


def test_the_page_has_every_outcome() -> None:
    table = PAGE[PAGE.index("## What became of an instant") :]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == Outcome.values
