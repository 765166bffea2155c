import threading

import pytest
from django.db import ProgrammingError, connection, connections

from gateway import database_meter


def test_without_a_pool_the_connections_of_all_threads_are_counted(db, monkeypatch):
    meter = database_meter.DatabaseMeter()
    monkeypatch.setattr(database_meter, "METER", meter)
    meter.watch(connections["default"])
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_connections")
        limit = int(cursor.fetchone()[0])
    # The test itself is in a transaction.
    assert meter.open_connections() == (1, 0)
    assert database_meter.pool_status() == database_meter.PoolStatus(1, 0, limit, 0)


@pytest.mark.django_db(transaction=True)
def test_a_connection_counts_as_long_as_it_is_open():
    opened = []

    def look():
        connection.ensure_connection()
        opened.append(database_meter.METER.open_connections())
        connection.close()
        opened.append(database_meter.METER.open_connections())

    before = database_meter.METER.open_connections()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10)
    assert opened == [(before[0], before[1] + 1), before]


def test_with_a_pool_its_own_figures_are_told(db, monkeypatch):
    class Pool:
        def get_stats(self):
            return {"pool_size": 5, "pool_available": 2, "pool_max": 16, "requests_waiting": 1}

    class Connection:
        pool = Pool()

    monkeypatch.setattr(database_meter, "connection", Connection())
    status = database_meter.pool_status()
    assert status == database_meter.PoolStatus(3, 2, 16, 1)
    assert status.usage_percent == 18.75


def test_a_statement_is_counted_once_and_with_its_time(db):
    before = database_meter.METER.read()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.02)")
    after = database_meter.METER.read()
    assert after.total == before.total + 1
    assert 0.02 <= after.seconds - before.seconds < 5
    assert sum(after.buckets) == after.total


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_fails_is_counted_too():
    before = database_meter.METER.read().total
    with pytest.raises(ProgrammingError), connection.cursor() as cursor:
        cursor.execute("SELECT nothing_of_that_name")
    assert database_meter.METER.read().total == before + 1


def test_only_a_second_is_slow():
    meter = database_meter.DatabaseMeter()
    for seconds in (0.0005, 0.9, 1.0, 60.0):
        meter.note(seconds)
    stats = meter.read()
    assert (stats.total, stats.slow) == (4, 2)
    assert (stats.buckets[0], stats.buckets[9], stats.buckets[-1]) == (1, 2, 1)
    assert stats.average_ms == pytest.approx(1000 * 61.9005 / 4)


def test_nothing_asked_takes_no_time():
    assert database_meter.DatabaseMeter().read().average_ms == 0.0


def test_a_wrapper_for_a_while_leaves_the_meter_where_it_is(db):
    def passing(execute, sql, params, many, context):
        meter.watch(connections["default"])  # as when the connection is opened anew meanwhile
        return execute(sql, params, many, context)

    meter = database_meter.DatabaseMeter()
    with connection.execute_wrapper(passing), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert meter in connection.execute_wrappers
    assert passing not in connection.execute_wrappers
    connection.execute_wrappers.remove(meter)
