"""Hints are hints: losing one costs latency, and neither the work nor the peace of who reads the log."""

import psycopg
import pytest
from django.db import connection, transaction

from agents import hints
from tests import factories
from tests.processes import database_url

pytestmark = pytest.mark.django_db(transaction=True)


def end_connection():
    """Let the database go away, for this connection."""
    with psycopg.connect(database_url(), autocommit=True) as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])


def test_a_hint_that_is_lost_behind_the_commit_is_one_line_in_the_log(caplog):
    with transaction.atomic():
        agent = factories.agent()
        transaction.on_commit(end_connection)
        hints.session_changed(agent.pk)
    connection.close()
    agent.refresh_from_db()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the hint 'session {agent.pk}' is lost: terminating connection")
    assert record.exc_info is None
