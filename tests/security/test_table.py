"""The table of security checks: each row has tests, and each test that it names is there."""

import ast
import re

import pytest

from tests import security
from tests.processes import ROOT

ROWS = 18
_TEXT = (security.__doc__ or "").split("\n\n", 2)[2]
# A row, which may go on below with two spaces, then its tests with four.
TABLE = [
    (" ".join(row.split()), re.findall(r"^    (\S+)$", tests, re.MULTILINE))
    for row, tests in re.findall(r"^(\S.*\n(?:  \S.*\n)*)((?:    \S+\n)*)", _TEXT, re.MULTILINE)
]


def test_the_table_is_whole():
    assert len(TABLE) == ROWS == len({row for row, _ in TABLE})
    assert all(": " in row for row, _ in TABLE)
    named = sum(len(tests) for _, tests in TABLE)
    assert named == _TEXT.count("::")


@pytest.mark.parametrize(("row", "tests"), TABLE, ids=lambda value: value if isinstance(value, str) else "")
def test_every_row_has_tests_that_are_there(row, tests):
    assert tests
    for test in tests:
        module, _, name = test.partition("::")
        tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test
