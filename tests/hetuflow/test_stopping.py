"""How server and scheduler end when they are told to."""

import time
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from gateway.models import Server
from tests.processes import free_port, manage

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

LIMIT_SECS = 30.0


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECS
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition never came"
        time.sleep(0.05)


def _count(query: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query)
        (count,) = cursor.fetchone()
    return int(count)


def _server_is_up() -> bool:
    return Server.objects.exists()


def _scheduler_is_up() -> bool:
    """Tell whether somebody else has a connection: the scheduler listens to signals before it has one."""
    return bool(
        _count(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        )
    )


def _is_waiting_for_a_lock() -> bool:
    # Other tests wait for locks of their own in databases beside this one.
    return bool(
        _count(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database"
            " WHERE NOT granted AND d.datname = current_database()"
        )
    )


def _nobody_else_is_connected() -> bool:
    return not _count(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


@pytest.mark.parametrize(("command", "is_up"), [("server", _server_is_up), ("scheduler", _scheduler_is_up)])
def test_sigterm_ends_it_with_status_0(command: str, is_up: Callable[[], bool]) -> None:
    with manage(command, HETUFLOW_PORT=str(free_port())) as program:
        _until(is_up)

        assert program.stop() == 0


@pytest.mark.parametrize("command", ["server", "scheduler"])
def test_sigterm_ends_it_also_while_the_database_hangs(command: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE gateway_server, scheduling_schedule IN ACCESS EXCLUSIVE MODE")
        with manage(command, HETUFLOW_PORT=str(free_port())) as program:
            _until(_is_waiting_for_a_lock)

            assert program.stop() == 0
    # What it asked the database for goes on there until the lock is gone, and would meet what comes next.
    _until(_nobody_else_is_connected)
