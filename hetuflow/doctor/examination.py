"""Look at everything in turn, each thing for a few seconds at most, and write nothing.

Every probe has a transaction of its own that can only read, and a limit; one that fails or takes too long
says so in its line and does not stop the others. It works while Hetuflow runs and while nothing of it does.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from hetuflow.database import UnreachableDatabase, check_reachable
from hetuflow.doctor import (
    clocks,
    database,
    invariants,
    liveness,
    schedules,
    schema,
    security,
    versions,
    zones,
)
from hetuflow.doctor.report import Line, Report, error, warning
from scheduling.clock import database_now
from scheduling.invariants.checks import reading

LIMIT_SECS: Final = 9.0
PROBE_SECS: Final = 2.0
_CANCELED: Final = "57014"
_LACKING: Final = ("42P01", "42703", "42883")  # a table, a column, a function
_TOO_LONG: Final = (
    "look again when the database is less busy, or with more time: manage.py doctor --limit 60; "
    "if it is slow even then, run ANALYZE in psql"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """One or a few lines that belong together; `look` gets the database's time."""

    name: str
    look: Callable[[datetime], Iterable[Line]]
    needs_database: bool = True


def probes() -> dict[str, Sequence[Probe]]:
    """Return what is looked at, by group."""
    return {
        "database": [Probe(name, look) for name, look in database.PROBES],
        "schema": [Probe(name, look) for name, look in schema.PROBES],
        "invariants": [Probe(name, look) for name, look in invariants.PROBES],
        "stuck rows": [Probe(name, look) for name, look in invariants.PROBES_OF_PROGRESS],
        "liveness": [Probe(name, look) for name, look in liveness.PROBES],
        "schedules": [Probe(name, look) for name, look in schedules.PROBES],
        "clocks": [Probe(name, look) for name, look in clocks.PROBES],
        "time zones": [Probe(name, look) for name, look in zones.PROBES],
        "versions": [
            *(Probe(name, look) for name, look in versions.PROBES),
            Probe("packages", versions.look_at_packages, needs_database=False),
        ],
        "security": [Probe(name, look, needs_database=False) for name, look in security.PROBES],
    }


def examine(*, only: Collection[str] | None = None, limit_secs: float = LIMIT_SECS) -> Report:
    """Look at all groups, or those of `only`, for about `limit_secs` at most."""
    begin = time.monotonic()
    report = Report(version=settings.HETUFLOW_VERSION, at=datetime.now(UTC))
    chosen = {name: group for name, group in probes().items() if only is None or name in only}
    unreachable = _unreachable()
    if unreachable is not None:
        report.groups["database"] = [unreachable]
    else:
        report.at = database_now()
    for name, group in chosen.items():
        lines = report.groups.setdefault(name, [])
        for probe in group:
            if unreachable is None or not probe.needs_database:
                lines += _look(probe, now=report.at, left_secs=limit_secs - (time.monotonic() - begin))
        if not lines:
            del report.groups[name]
    report.secs = time.monotonic() - begin
    return report


def _unreachable() -> Line | None:
    try:
        check_reachable()
    except UnreachableDatabase as reason:
        return error(
            "connection",
            str(reason),
            "then ask again: nothing else of the database could be looked at",
        )
    return None


def _look(probe: Probe, *, now: datetime, left_secs: float) -> list[Line]:
    if left_secs <= 0:
        return [warning(probe.name, "not looked at: the time was up", _TOO_LONG)]
    if not probe.needs_database:
        return list(probe.look(now))
    limit_secs = min(PROBE_SECS, left_secs)
    try:
        with reading(limit_secs=limit_secs):
            return list(probe.look(now))
    except (DatabaseError, InterfaceError) as failure:
        return [_failed(probe.name, failure, limit_secs)]


def _failed(name: str, failure: Exception, limit_secs: float) -> Line:
    state = getattr(failure.__cause__, "sqlstate", None)
    if state == _CANCELED:
        return warning(name, f"not known: the database did not answer within {limit_secs:.1f} s", _TOO_LONG)
    reason = " ".join(str(failure).split())
    if state in _LACKING:
        return error(name, f"cannot be looked at: {reason}", "run manage.py migrate")
    return error(name, f"cannot be looked at: {reason}", "see the log of PostgreSQL")


def names_of_groups() -> list[str]:
    """Return the groups in their order."""
    return list(probes())
