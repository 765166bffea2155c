"""An installation at work becomes the next release: nobody waits for long, and no work is lost or doubled.

Its database is one of the run's PostgreSQL: locks, and what builds indexes waits for, are of one database.
"""

import threading

import psycopg
import pytest

from gateway.models import Server
from scheduling.clock import database_now
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of, tasks_of
from tests.e2e.network import Relay
from tests.e2e.oracle import quiesce, until
from tests.e2e.test_faults import ended, ledger_job, let_go, started, trigger
from tests.processes import manage_program
from tests.upgrades.settings import HETUFLOW_VERSION
from tests.upgrades.test_migrating import LATER, LOCK_TIMEOUT_SECS, has_note

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
# What is planned when schedulers stop for good comes within this.
HORIZON = {"HETUFLOW_PLANNING_HORIZON_SECS": "2"}
# What a machine of tests may add to the lock timeout.
MARGIN_SECS = 1.5


class Waits(threading.Thread):
    """Looks at who waits for a lock, and remembers for how long anybody did.

    Whoever builds an index waits for old transactions, and nobody for them.
    """

    _LONGEST = """
        SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float
        FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE NOT granted AND locktype <> 'virtualxid' AND datname = current_database()
    """

    def __init__(self, address):
        super().__init__()
        self._address = address
        self._stopped = threading.Event()
        self.longest_secs = 0.0

    def run(self):
        with psycopg.connect(self._address, autocommit=True) as looking:
            while not self._stopped.wait(0.02):
                (secs,) = looking.execute(self._LONGEST).fetchone()
                self.longest_secs = max(self.longest_secs, secs)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self.join(30)


@pytest.fixture
def migrating(fresh):
    program = manage_program(
        "migrate",
        f"--lock-timeout-secs={LOCK_TIMEOUT_SECS}",
        log=fresh.folder / "migrate.log",
        DJANGO_SETTINGS_MODULE=LATER,
    )
    yield program
    if program.is_running:
        program.kill()


def reading(fresh, statement):
    """Return a connection whose transaction has read, as a long report would."""
    report = psycopg.connect(fresh.address, application_name="a long report")
    report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    report.execute(statement)
    return report


def every_second(job, count):
    """Let schedules go on until nobody plans them any more."""
    for _ in range(count):
        factories.schedule(job=job, now=database_now(), kind="interval", interval_secs=1)


def work_goes_on(fresh, jobs):
    """Return when more has begun and ended than until now, also of what is asked for only now."""
    tasks = [task for job in jobs for task in trigger(job, 1)]
    runs = fresh.ledger.runs()
    started(fresh, len(runs) + 4)
    ended(fresh, sum(run.ended_at is not None for run in runs) + 4)
    quiesce(tasks)


def check_at_the_end(fresh, schedulers, jobs, agents):
    """Every instant had its task, and each ran once and to its end, at the first attempt."""
    assert [scheduler.stop() for scheduler in schedulers] == [0] * len(schedulers)
    tasks = [task for job in jobs for task in tasks_of(job)]
    quiesce([task.pk for task in tasks])
    let_go(*agents)
    attempts = [attempt for job in jobs for attempt in attempts_of(job)]
    assert {(attempt.status, attempt.attempt) for attempt in attempts} == {("completed", 1)}
    assert len(attempts) == len(tasks) == len(fresh.ledger.runs())
    assert {oracle.stored_output(attempt) for attempt in attempts} == {b"before\nafter\n"}
    oracle.check_all(fresh)


def test_a_later_release_migrates_while_work_goes_on_and_nobody_waits_long(fresh, migrating):
    server, scheduler = fresh.server(), fresh.scheduler(**HORIZON)
    agent = fresh.agent(port=server.port, slots=8)
    job = ledger_job(fresh, 0.1)
    every_second(job, 2)
    started(fresh, 4)
    says = migrating.log.read_text
    with (
        Waits(fresh.address) as waits,
        reading(fresh, "SELECT 1") as old,
        reading(fresh, "SELECT count(*) FROM scheduling_task") as report,
    ):
        migrating.start()
        until(lambda: "l001_note: no lock in time" in says(), "the new column waits for the report")
        work_goes_on(fresh, [job])
        report.rollback()
        until(lambda: has_note(fresh.address), "the new column is there")
        until(lambda: builds_an_index(fresh), "the new index waits for the old transaction")
        work_goes_on(fresh, [job])
        old.rollback()
        assert migrating.wait(90) == 0, says()
    assert LOCK_TIMEOUT_SECS / 2 < waits.longest_secs < LOCK_TIMEOUT_SECS + MARGIN_SECS
    # Whoever goes back starts the release before on these tables.
    assert server.stop() == 0
    server.start_and_listen()
    work_goes_on(fresh, [job])
    # What was there was filled in; rows that came since are of servers that do not know the column.
    assert noted(fresh) == {"nothing", "of old"}
    check_at_the_end(fresh, [scheduler], [job], [agent])


def builds_an_index(fresh):
    with psycopg.connect(fresh.address) as looking:
        return looking.execute(
            "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND locktype = 'virtualxid' AND query LIKE 'CREATE INDEX CONCURRENTLY%'"
            " AND datname = current_database()"
        ).fetchone()


def noted(fresh):
    with psycopg.connect(fresh.address) as looking:
        return {note for (note,) in looking.execute("SELECT DISTINCT note FROM scheduling_task")}


def test_servers_and_schedulers_become_the_later_release_one_by_one_under_load(fresh, migrating):
    servers = [fresh.server(), fresh.server()]
    schedulers = [fresh.scheduler(**HORIZON), fresh.scheduler(**HORIZON)]
    # One agent waits for its server to come back, the other is sent on to the next server.
    with Relay(servers[1].port).running() as balancer:
        agents = [fresh.agent(port=port, slots=8) for port in (servers[0].port, balancer.port)]
        quick, slow = ledger_job(fresh, 0.05), ledger_job(fresh, 3)
        every_second(quick, 2)
        every_second(slow, 1)
        started(fresh, 4)
        migrating.start()
        assert migrating.wait(90) == 0, migrating.log.read_text()
        for program in (*schedulers, *servers):
            balancer.target = next(server.port for server in servers if server is not program)
            assert program.stop() == 0
            program.environment["DJANGO_SETTINGS_MODULE"] = LATER
            if program in servers:
                program.start_and_listen()
            else:
                program.start()
            work_goes_on(fresh, [quick])
        check_at_the_end(fresh, schedulers, [quick, slow], agents)
    assert Server.objects.filter(version=HETUFLOW_VERSION).count() == len(servers)
    assert {attempt.agent_id for attempt in attempts_of(slow)} == {agent.row.pk for agent in agents}
