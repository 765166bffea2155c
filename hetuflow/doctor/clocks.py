"""Clocks: nothing is decided by them but the database's, yet logs, certificates and sessions go by them."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from gateway.models import Connection, Server
from hetuflow.doctor.report import Line, error, ok, warning
from scheduling.clock import database_now
from scheduling.services.rescue import SERVER_DEAD_AFTER_SECS

READINGS: Final = 5
NOTABLE_SECS: Final = 2.0
# Beyond, certificates and signed cookies begin to be refused.
WRONG_SECS: Final = 60.0
NAMED: Final = 5
_REMEDY: Final = "let it keep time: timedatectl set-ntp true, or chronyc makestep"


def look_at_this_machine(now: datetime) -> Iterator[Line]:
    """Hold this machine's clock against the database's."""
    yield _judge("this machine", socket.gethostname(), ahead_secs())


def look_at_servers(now: datetime) -> Iterator[Line]:
    """Look at what live servers noted of their clocks."""
    alive = Server.objects.filter(
        last_heartbeat_at__gt=now - timedelta(seconds=SERVER_DEAD_AFTER_SECS), clock_ahead_ms__isnull=False
    )
    yield from _judge_all("servers", alive.values_list("name", "clock_ahead_ms"))


def look_at_agents(now: datetime) -> Iterator[Line]:
    """Look at what servers noted of the clocks of connected agents."""
    connected = Connection.objects.filter(server__isnull=False, clock_ahead_ms__isnull=False)
    yield from _judge_all("agents", connected.values_list("agent__name", "clock_ahead_ms"))


def ahead_secs() -> float:
    """Return by how much this machine's clock goes before the database's; the quickest reading counts."""
    readings = []
    for _ in range(READINGS):
        before = time.time()
        there = database_now().timestamp()
        after = time.time()
        readings.append((after - before, (before + after) / 2 - there))
    return min(readings)[1]


def _judge_all(name: str, clocks: Iterable[tuple[str, float | None]]) -> Iterator[Line]:
    known = [(who, ms / 1000) for who, ms in clocks if ms is not None]
    wrong = sorted((pair for pair in known if abs(pair[1]) > NOTABLE_SECS), key=lambda pair: -abs(pair[1]))
    for who, secs in wrong[:NAMED]:
        yield _judge(name, who, secs)
    if not wrong:
        most = max((abs(secs) for _, secs in known), default=0.0)
        yield ok(name, f"{len(known)} known, at most {most:.3f} s away from the database's")


def _judge(name: str, who: str, secs: float) -> Line:
    seen = f"{who} is {abs(secs):.3f} s {'ahead of' if secs > 0 else 'behind'} the database"
    if abs(secs) > WRONG_SECS:
        return error(name, seen, f"{_REMEDY}, on {who}", [who])
    if abs(secs) > NOTABLE_SECS:
        return warning(name, seen, f"{_REMEDY}, on {who}", [who])
    return ok(name, seen)


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    ("this machine", look_at_this_machine),
    ("servers", look_at_servers),
    ("agents", look_at_agents),
]
