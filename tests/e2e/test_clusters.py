"""The PostgreSQL of an installation's own does what its tests say it does."""

import time

import psycopg
import pytest

from scheduling.clock import database_now
from scheduling.models import Job
from tests import factories

pytestmark = pytest.mark.e2e


def is_answering(cluster):
    """Whether it answers within half a second; one that is paused neither answers nor refuses."""
    probe = psycopg.pq.PGconn.connect_start(cluster.url.encode())
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        state = probe.connect_poll()
        if state in (psycopg.pq.PollingStatus.OK, psycopg.pq.PollingStatus.FAILED):
            return state == psycopg.pq.PollingStatus.OK
        time.sleep(0.01)
    return False


def test_it_keeps_what_was_committed_over_a_restart_a_crash_and_a_killed_backend(apart):
    job = factories.job()
    apart.cluster.restart()
    assert Job.objects.filter(pk=job.pk).exists()
    apart.cluster.crash()
    assert not is_answering(apart.cluster)
    apart.cluster.start()
    assert Job.objects.filter(pk=job.pk).exists()
    apart.cluster.kill_a_backend()
    apart.cluster.make_whole()
    assert Job.objects.filter(pk=job.pk).exists()


def test_it_is_silent_while_it_is_paused_and_goes_on_where_it_was(apart):
    with apart.cluster.paused():
        assert not is_answering(apart.cluster)
    assert is_answering(apart.cluster)
    assert database_now() is not None


def test_its_connections_can_be_exhausted(apart):
    with apart.cluster.without_connections() as number:
        assert number > 40
        assert not is_answering(apart.cluster)
    assert is_answering(apart.cluster)


def test_an_installation_ends_with_its_postgresql_in_whatever_state(apart):
    apart.cluster.pause()
