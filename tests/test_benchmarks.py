"""The benchmarks run and print figures; how good these are is no test's business."""

import re
import subprocess
import sys

import pytest

from tests.processes import ROOT

FIGURES = {
    "admin-lists": r"lists of the admin within 300 ms of those over 500\s+\d+ of \d+",
    "claiming": r"ratio of the medians\s+\d+\.\d\d",
    "connections": r"20 idle connections\s+-?\d+\.\d KiB each",
    "creates": r"jobs over HTTP: share of the bare rate\s+\d+\.\d\d",
    "lists": r"lists within 1\.5 times the cost over 500\s+\d+ of \d+",
    "lateness": r"10 tasks at one instant, \d+ slots\s+p50 -?\d+\.\d, p99 -?\d+\.\d, max -?\d+\.\d ms",
    "overview": r"counted of the day, and exactly\s+([\d,]+) and \1\b",
    "planning": r"tick among 2,000 against 1,000\s+\d+\.\d\d",
    "recurrence": r"30 2 \* \* \*: next\s+\d+\.\d\d of cronsim",
    "retention": r"looks that saw the writer wait for a lock\s+0 of \d+",
    "throughput": r"share of the limit\s+\d+\.\d\d",
    "year": r"a batch of retention, 500 tasks\s+\d+\.\d\d",
}


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_every_question_is_answered_with_figures():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for question, figure in FIGURES.items():
        assert re.search(figure, done.stdout), question


def test_an_unknown_question_is_refused_in_words():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "weather"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "unknown question 'weather'" in done.stderr) == (2, True)
