"""End attempts whose agent was not heard of before their lease ran out (I8).

A lease can be held against an agent only while there was a server to renew it. Servers therefore keep one
shared row alive, which says since when they have been there without a break; after an outage of servers or
of the database every agent has `RECONNECT_GRACE_SECS` to come back before anything is called lost.
"""

from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from scheduling.models import Lease
from scheduling.services import lifecycle

GATEWAY_LEASE: Final = "gateway"
SCHEDULER_LEASE: Final = "scheduler"
# Each process has a row of its own besides, whose holder is its version.
_SCHEDULER_PROCESS: Final = f"{SCHEDULER_LEASE}/"
_NAME_LENGTH: Final = 64
SCHEDULERS_KEPT_FOR: Final = timedelta(days=1)
SERVER_DEAD_AFTER_SECS: Final = 6.0
RECONNECT_GRACE_SECS: Final = 30.0
ATTEMPTS_PER_BATCH: Final = 500

_KEEP_ALIVE: Final = """
INSERT INTO scheduling_lease (name, holder, since, renewed_at) VALUES (%(name)s, %(holder)s, %(now)s, %(now)s)
ON CONFLICT (name) DO UPDATE
SET holder = EXCLUDED.holder, renewed_at = GREATEST(scheduling_lease.renewed_at, EXCLUDED.renewed_at),
    since = CASE WHEN scheduling_lease.renewed_at < EXCLUDED.renewed_at - make_interval(secs => %(gap_secs)s)
            THEN EXCLUDED.renewed_at ELSE scheduling_lease.since END
"""


def note_servers_alive(*, holder: str, now: datetime) -> None:
    """Say that a server was there at `now`; called by every server every few seconds."""
    _note_alive(name=GATEWAY_LEASE, holder=holder, now=now)


def note_scheduler_alive(*, process: str, version: str, now: datetime) -> None:
    """Say that a scheduler was there at `now`, which one and of what version, to be seen."""
    _note_alive(name=SCHEDULER_LEASE, holder="", now=now)
    _note_alive(name=f"{_SCHEDULER_PROCESS}{process}"[:_NAME_LENGTH], holder=version[:_NAME_LENGTH], now=now)


def schedulers_alive(*, now: datetime) -> list[tuple[str, str]]:
    """Return the names and versions of the schedulers that were there lately."""
    alive_since = now - timedelta(seconds=SERVER_DEAD_AFTER_SECS)
    alive = Lease.objects.filter(name__startswith=_SCHEDULER_PROCESS, renewed_at__gt=alive_since)
    names = alive.order_by("name").values_list("name", "holder")
    return [(name.removeprefix(_SCHEDULER_PROCESS), version) for name, version in names]


def forget_schedulers(*, now: datetime) -> int:
    """Forget the schedulers that were not there for long; return how many."""
    gone = Lease.objects.filter(name__startswith=_SCHEDULER_PROCESS, renewed_at__lt=now - SCHEDULERS_KEPT_FOR)
    return gone.delete()[0]


def is_scheduler_alive(*, now: datetime) -> bool:
    """Tell whether any scheduler was there lately."""
    alive_since = now - timedelta(seconds=SERVER_DEAD_AFTER_SECS)
    return Lease.objects.filter(pk=SCHEDULER_LEASE, renewed_at__gt=alive_since).exists()


def _note_alive(*, name: str, holder: str, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _KEEP_ALIVE,
            {
                "name": name,
                "holder": holder,
                "now": now,
                "gap_secs": SERVER_DEAD_AFTER_SECS,
            },
        )


def run_once(*, now: datetime) -> int:
    """End every attempt that is lost by `now`; return how many. Any number of processes may race on it."""
    if not _agents_could_renew(now=now):
        return 0
    lost = 0
    while batch := lifecycle.lose_attempts(now=now, limit=ATTEMPTS_PER_BATCH):
        lost += batch
    return lost


def _agents_could_renew(*, now: datetime) -> bool:
    lease = Lease.objects.filter(pk=GATEWAY_LEASE).first()
    return (
        lease is not None
        and lease.renewed_at > now - timedelta(seconds=SERVER_DEAD_AFTER_SECS)
        and lease.since < now - timedelta(seconds=RECONNECT_GRACE_SECS)
    )
