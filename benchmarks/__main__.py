"""`python -m benchmarks [--quick] [QUESTION …]`: print the figures of `docs/performance.md`."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from benchmarks import (
    admin_lists,
    claiming,
    connections,
    creates,
    forecasts,
    lateness,
    lists,
    overview,
    planning,
    recurrence,
    retention,
    throughput,
    year,
)
from benchmarks.installation import Installation, installation
from benchmarks.table import Row, heading, print_rows

QUESTIONS: Final[dict[str, Callable[[Installation, bool], list[Row]]]] = {
    "admin-lists": admin_lists.measure,
    "claiming": claiming.measure,
    "connections": connections.measure,
    "creates": creates.measure,
    "forecasts": forecasts.measure,
    "lateness": lateness.measure,
    "lists": lists.measure,
    "overview": overview.measure,
    "planning": planning.measure,
    "recurrence": recurrence.measure,
    "retention": retention.measure,
    "throughput": throughput.measure,
    "year": year.measure,
}


def main(arguments: Sequence[str]) -> int:
    """Answer the named questions, or all, each on an installation of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers: does it run at all?")
    parser.add_argument(
        "--tasks", type=int, default=year.TASKS, metavar="N", help="those of a year (default: %(default)s)"
    )
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    options = parser.parse_args(arguments)
    unknown = set(options.questions) - QUESTIONS.keys()
    if unknown:
        parser.error(f"unknown question {min(unknown)!r}; known are {', '.join(QUESTIONS)}")
    questions = {**QUESTIONS, "year": partial(year.measure, tasks=options.tasks)}
    with installation() as place:
        print(heading(place.postgres_version()))
        for name in options.questions or QUESTIONS:
            begin = time.monotonic()
            rows = questions[name](place, options.quick)
            print_rows(f"{name} ({time.monotonic() - begin:.0f} s)", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
