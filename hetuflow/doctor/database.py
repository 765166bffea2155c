"""PostgreSQL: version, settings that lose data, connections, long transactions, room."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import connection

from gateway.models import Server
from hetuflow.doctor.report import Line, error, ok, warning
from scheduling.services.rescue import SERVER_DEAD_AFTER_SECS

OLDEST_VERSION: Final = 130_000
LONG_TRANSACTION_SECS: Final = 300
MAX_STATEMENT_TIMEOUT_MS: Final = 300_000
FEW_CONNECTIONS_LEFT: Final = 0.1
LITTLE_ROOM: Final = 0.1
VERY_LITTLE_ROOM: Final = 0.03
WRAPAROUND_WARNING: Final = 1_000_000_000
_GIB: Final = 2**30

_SESSION: Final = """
SELECT name, reset_val FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout', 'TimeZone',
               'server_encoding', 'fsync', 'full_page_writes', 'synchronous_commit', 'max_connections',
               'superuser_reserved_connections')
"""
_LONG_TRANSACTIONS: Final = """
SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::int,
       COALESCE(NULLIF(application_name, ''), usename, '')
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND xact_start < clock_timestamp() - make_interval(secs => %s)
ORDER BY xact_start LIMIT 10
"""


def look_at_version(now: datetime) -> Iterator[Line]:
    """Look whether PostgreSQL is new enough."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), current_setting('server_version_num')::int")
        text, number = cursor.fetchone()
    if number < OLDEST_VERSION:
        yield error("version", f"PostgreSQL {text}", "upgrade PostgreSQL to 13 or later (pg_upgrade)")
    else:
        yield ok("version", f"PostgreSQL {text}")


def look_at_settings(now: datetime) -> Iterator[Line]:
    """Look for settings that lose what was acknowledged, and for those that a pooler dropped."""
    values = _settings()
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if values[name] == "off"]
    if off:
        remedy = f"ALTER SYSTEM SET {off[0]} = on, and so on; then SELECT pg_reload_conf()"
        seen = f"off: {', '.join(off)}; a crash of its machine loses results that agents have deleted (I6)"
        yield error("durability", seen, remedy)
    else:
        yield ok("durability", "fsync, full_page_writes and synchronous_commit are on")
    timeout_ms = int(values["statement_timeout"] or 0)
    dropped = "a pooler may drop options of connections: let it work by session and pass them on"
    if not 0 < timeout_ms <= MAX_STATEMENT_TIMEOUT_MS:
        yield warning(
            "statement timeout",
            f"{timeout_ms} ms, so that one statement may hold up others for long",
            f"{dropped}; HETUFLOW_STATEMENT_TIMEOUT_MS says how long a statement may take",
        )
    else:
        yield ok("statement timeout", f"{timeout_ms} ms")
    if values["TimeZone"] != "UTC":
        yield warning("time zone", f"sessions are in {values['TimeZone']}, not UTC", dropped)
    else:
        yield ok("time zone", "UTC")
    if values["server_encoding"] != "UTF8":
        seen = f"{values['server_encoding']}: names in other languages are refused"
        yield error("encoding", seen, "dump, createdb --encoding UTF8 --template template0, restore")
    else:
        yield ok("encoding", "UTF8")


def look_at_connections(now: datetime) -> Iterator[Line]:
    """Hold what PostgreSQL allows against what is open and what all servers may open."""
    values = _settings()
    allowed = int(values["max_connections"]) - int(values["superuser_reserved_connections"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        (opened,) = cursor.fetchone()
    seen = f"{opened} of {allowed} are open"
    if opened > allowed * (1 - FEW_CONNECTIONS_LEFT):
        remedy = "raise max_connections and restart PostgreSQL, or find in pg_stat_activity who holds them"
        yield error("connections", seen, remedy)
        return
    alive = sum(
        (now - beat).total_seconds() < SERVER_DEAD_AFTER_SECS
        for beat in Server.objects.values_list("last_heartbeat_at", flat=True)
    )
    pool = settings.DATABASE_POOL_SIZE
    # One more for notifications; schedulers and commands have one each.
    wanted = alive * (pool + 1) + 2
    if pool and wanted > allowed:
        seen += f", and servers may want {wanted} ({alive} with pools of {pool})"
        remedy = f"set max_connections to {wanted + 10} or more, or lower HETUFLOW_DATABASE_POOL_SIZE"
        yield warning("connections", seen, remedy)
    else:
        yield ok("connections", f"{seen}; servers may want {wanted} ({alive} with pools of {pool})")


def look_at_transactions(now: datetime) -> Iterator[Line]:
    """Look for transactions that have been open for long: claims become slow, and dead rows stay."""
    with connection.cursor() as cursor:
        cursor.execute(_LONG_TRANSACTIONS, [LONG_TRANSACTION_SECS])
        rows = cursor.fetchall()
        cursor.execute("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
        (age,) = cursor.fetchone()
    if rows:
        pid, secs, who = rows[0]
        seen = f"{who} (process {pid}) has been in one for {secs} s; claims become slower and slower"
        remedy = f"find out what it does (pg_stat_activity), or end it: SELECT pg_terminate_backend({pid})"
        yield warning("long transactions", seen, remedy, [str(row[0]) for row in rows])
    else:
        yield ok("long transactions", f"none of {LONG_TRANSACTION_SECS} s or more")
    if age > WRAPAROUND_WARNING:
        seen = f"the oldest transaction id is {age} old; PostgreSQL stops at 2 thousand million"
        yield error("vacuum", seen, "run VACUUM FREEZE as a superuser, and see why autovacuum does not")
    else:
        yield ok("vacuum", f"the oldest transaction id is {age} old")


def look_at_room(now: datetime) -> Iterator[Line]:
    """Look at the size of the database, and at the room on its disk where that is this machine's."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_database_size(current_database()), "
            "(SELECT setting FROM pg_settings WHERE name = 'data_directory')"
        )
        size, folder = cursor.fetchone()
    seen = f"the database has {size / _GIB:.2f} GiB"
    host = str(connection.settings_dict["HOST"] or "")
    options_host = str(connection.settings_dict["OPTIONS"].get("host", ""))
    is_here = (host or options_host or "/").startswith("/") and folder and Path(folder).exists()
    if not is_here:
        yield ok("room", f"{seen}; the room on its disk cannot be seen from here")
        return
    usage = shutil.disk_usage(folder)
    seen += f", and its disk {usage.free / _GIB:.1f} of {usage.total / _GIB:.1f} GiB free"
    remedy = f"make room on the disk of {folder}: without it PostgreSQL stops, and agents keep all results"
    share = usage.free / usage.total
    if share < VERY_LITTLE_ROOM:
        yield error("room", seen, remedy)
    elif share < LITTLE_ROOM:
        yield warning("room", seen, remedy)
    else:
        yield ok("room", seen)


def _settings() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(_SESSION)
        return dict(cursor.fetchall())


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    ("version", look_at_version),
    ("settings", look_at_settings),
    ("connections", look_at_connections),
    ("transactions", look_at_transactions),
    ("room", look_at_room),
]
