"""Whether the database can be reached, and which one this process talks to."""

from typing import Final

import psycopg
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

from hetuflow.database_url import parse_database_url

# What PostgreSQL says to those who are there when it stops or has crashed, and to those who come too early.
_AWAY: Final = ("57P01", "57P02", "57P03")


class UnusableDatabase(Exception):
    """The database cannot be used as it is; the message is one line for a person."""


class UnreachableDatabase(UnusableDatabase):
    """The database cannot be reached."""

    def __init__(self, error: BaseException) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        super().__init__(
            f"The database cannot be reached: {reason}; start Hetuflow with `make run`, "
            "or set DATABASE_URL to the address of a PostgreSQL that runs"
        )


def is_connection_failure(error: OperationalError) -> bool:
    """Tell whether the error means that there is no database, rather than that it refused a statement."""
    cause = error.__cause__ if error.__cause__ is not None else error
    state = getattr(cause, "sqlstate", None)
    return state is None or state in _AWAY


def check_reachable() -> None:
    """Raise UnreachableDatabase unless one connection succeeds; the pool would try for a long time."""
    parameters = {k: v for k, v in connection.get_connection_params().items() if k != "pool"}
    try:
        psycopg.connect(**parameters, autocommit=True).close()
    except psycopg.OperationalError as error:
        raise UnreachableDatabase(error) from error


def has_unapplied_migrations() -> bool:
    """Tell whether the database lacks tables or columns of this version."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def check_usable() -> None:
    """Raise UnusableDatabase unless the database can be reached and has the tables of this version."""
    check_reachable()
    try:
        is_behind = has_unapplied_migrations()
    except OperationalError as error:
        if not is_connection_failure(error):
            raise
        # It went away just now.
        connection.close()
        raise UnreachableDatabase(error) from error
    if is_behind:
        raise UnusableDatabase(
            "The database lacks tables of this version; run `manage.py migrate` once, then start again"
        )


def use_database(url: str) -> None:
    """Let this process talk to the database at `url` from now on; no connection may be open yet."""
    parsed = parse_database_url(url)
    entry = connections.databases["default"]
    parsed["OPTIONS"] = {**entry["OPTIONS"], **parsed["OPTIONS"]}
    entry.update(parsed)
