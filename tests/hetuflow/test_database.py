"""Whether the database can be used, asked at any moment of its life."""

import psycopg
import pytest
from django.db import connection

from hetuflow.database import UnreachableDatabase, check_usable
from tests.processes import database_url

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_database_that_goes_away_while_it_is_looked_at_is_not_reachable():
    connection.ensure_connection()
    with psycopg.connect(database_url(), autocommit=True) as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    with pytest.raises(UnreachableDatabase, match="terminating connection"):
        check_usable()
    check_usable()
