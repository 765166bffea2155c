"""Databases for installations of real processes: copies of one that was migrated, once for all workers."""

import os
import subprocess
import sys
from typing import Final
from urllib.parse import urlsplit

import psycopg
from django.db import connection
from psycopg import sql

from hetuflow.database_url import parse_database_url
from tests.processes import ROOT

# All workers of a run share the template; another run on the same server has one of its own.
TEMPLATE: Final = f"hetuflow_template_{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
_LOCK: Final = 7_116_340


def create_database(name: str) -> str:
    """Create a migrated database and return its address."""
    with _administrator() as administrator:
        administrator.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        if not administrator.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone():
            _make_template(administrator)
        _execute(administrator, "CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
    return _address(name)


def drop_database(name: str) -> None:
    """Drop a database, with whoever is connected to it."""
    with _administrator() as administrator:
        _execute(administrator, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def query(address: str) -> None:
    """Let this test's own queries go to the database at `address` from now on."""
    connection.close()
    settings, parsed = connection.settings_dict, parse_database_url(address)
    settings.update({name: parsed[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")})
    settings["OPTIONS"] = {**settings["OPTIONS"], **parsed["OPTIONS"]}


def drop_template() -> None:
    """Drop the template; whoever needs it still makes it anew."""
    with _administrator() as administrator:
        administrator.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        _execute(administrator, "DROP DATABASE IF EXISTS {}", TEMPLATE)


def _make_template(administrator: psycopg.Connection) -> None:
    unfinished = f"{TEMPLATE}_unfinished"
    _execute(administrator, "DROP DATABASE IF EXISTS {}", unfinished)
    _execute(administrator, "CREATE DATABASE {}", unfinished)
    subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": _address(unfinished)},
        check=True,
    )
    _execute(administrator, "ALTER DATABASE {} RENAME TO {}", unfinished, TEMPLATE)


def _administrator() -> psycopg.Connection:
    return psycopg.connect(os.environ["HETUFLOW_TEST_CLUSTER"], autocommit=True)


def _execute(administrator: psycopg.Connection, statement: str, *names: str) -> None:
    administrator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]


def _address(name: str) -> str:
    return urlsplit(os.environ["HETUFLOW_TEST_CLUSTER"])._replace(path=f"/{name}").geturl()
