"""The invariants, as lines."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Final

from hetuflow.doctor.report import Line, error, ok
from scheduling.invariants import history, instants, progress
from scheduling.invariants.checks import RECENT, Check, find

_INSTANTS_SECS: Final = 1.5


def look_for(check: Check, now: datetime) -> Iterator[Line]:
    """Look for what breaks one rule."""
    found = find(check, now=now)
    if found is not None:
        yield error(check.name, str(found), check.remedy, found.ids)
    else:
        yield ok(check.name, _scope(check))


def look_at_instants(now: datetime) -> Iterator[Line]:
    """Hold schedules against their tasks."""
    compared = instants.compare(limit_secs=_INSTANTS_SECS)
    found = {finding.name: finding for finding in compared.findings()}
    for check in (instants.MISSING, instants.SURPLUS, instants.NEXT):
        if check.name in found:
            finding = found[check.name]
            yield error(check.name, str(finding), check.remedy, finding.ids)
        else:
            seen = f"{compared.instants} instants of {compared.schedules} schedules ({check.looks_at})"
            yield ok(check.name, seen)


def _scope(check: Check) -> str:
    if not check.looks_at:
        return "yes"
    return f"yes, of {check.looks_at.format(RECENT // check.share)}"


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    *((check.name, partial(look_for, check)) for check in history.CHECKS),
    ("I2", look_at_instants),
]
PROBES_OF_PROGRESS: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    (check.name, partial(look_for, check)) for check in progress.CHECKS
]
