"""What happens to databases, with work running: it costs time, and no process, no result."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

import pytest
from django.contrib.auth import get_user_model

from access import tokens
from scheduling.clock import database_now
from scheduling.services import definitions
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of, tasks_of
from tests.e2e.oracle import quiesce, until

pytestmark = pytest.mark.e2e
# A caller waits for a connection of the pool, and for the database, at most so long.
PATIENCE_SECS = 20.0
HOT_TABLES = (
    "scheduling_task",
    "scheduling_taskinstance",
    "scheduling_schedule",
    "scheduling_outputchunk",
    "scheduling_lease",
    "gateway_connection",
    "gateway_server",
    "agents_agent",
)


class Caller(threading.Thread):
    """Asks a server by REST again and again, and keeps what it got and how long that took."""

    def __init__(self, port, path="/api/v1/jobs"):
        super().__init__()
        user = get_user_model().objects.create_superuser(f"caller-{port}")
        _, secret = tokens.issue(user=user, name="caller")
        self.answers = []
        self._stop_asking = threading.Event()
        self._request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {secret}"}
        )

    def __enter__(self):
        self.start()
        until(lambda: self.answers, "the first answer")
        return self

    def __exit__(self, *_problem):
        self._stop_asking.set()
        self.join()

    def run(self):
        while not self._stop_asking.wait(0.1):
            begin = time.monotonic()
            try:
                status = urllib.request.urlopen(self._request, timeout=60).status  # noqa: S310
            except urllib.error.HTTPError as error:
                status = error.code
                json.load(error)  # the shape of all errors
            self.answers.append((status, time.monotonic() - begin))

    def check(self, *, patience_secs=PATIENCE_SECS):
        """It was answered each time, and within its patience: with what it asked for, or 503."""
        assert {status for status, _ in self.answers} <= {200, 503}, Counter(s for s, _ in self.answers)
        assert max(secs for _, secs in self.answers) < patience_secs
        assert self.answers[-1][0] == 200


@pytest.fixture
def work(apart):
    """Work on a database of its own: tasks that wait, a schedule of every second, and all that does them."""
    server = apart.server()
    agent = apart.agent(port=server.port, slots=4)
    scheduler = apart.scheduler()
    apart.wait_for_planning()
    return Work(apart, server, agent, scheduler)


class Work:
    def __init__(self, installation, server, agent, scheduler):
        self.installation = installation
        self.cluster = installation.cluster
        self.programs = {program: program.pid for program in (server, agent, scheduler)}
        self.caller = Caller(server.port)
        self.job = factories.job(
            args=["-c", installation.ledger.printing_script("echo a; sleep 0.3; echo b")]
        )
        now = database_now()
        self.schedule = factories.schedule(job=self.job, now=now, kind="interval", interval_secs=1)
        for _ in range(12):
            factories.task(job=self.job, now=now)

    def started(self, count):
        until(lambda: len(self.installation.ledger.runs()) >= count, f"{count} commands have started")

    def check(self, *, limit_secs=30):
        """All goes on by itself, nothing was lost or doubled, and nobody had to be started again."""
        until(lambda: self.caller.answers[-1][0] == 200, "REST answers again", limit_secs)
        count = len(self.installation.ledger.runs())
        until(lambda: len(self.installation.ledger.runs()) >= count + 6, "work goes on", limit_secs)
        end = database_now()
        until(lambda: self.planned_past(end), "planning goes on", limit_secs)
        assert {program: program.pid for program in self.programs if program.is_running} == self.programs
        oracle.check_instants()
        definitions.disable_schedule(schedule_id=self.schedule.pk, now=database_now())
        quiesce([task.pk for task in tasks_of(self.job)], limit_secs)
        oracle.check_all(self.installation)
        attempts = attempts_of(self.job)
        assert {attempt.status for attempt in attempts} == {"completed"}
        assert len(self.installation.ledger.runs()) == len(attempts)

    def planned_past(self, moment):
        self.schedule.refresh_from_db()
        return self.schedule.planned_until > moment


def test_a_postgresql_that_restarts_and_one_that_is_away_cost_time_only(work):
    with work.caller:
        work.started(2)
        work.cluster.restart()
        work.started(6)
        work.cluster.stop()
        time.sleep(10)  # as long as a restart on a busy machine may take
        work.cluster.start()
        work.check()
    work.caller.check()


def test_a_postgresql_that_crashes_and_recovers_costs_time_only(work):
    with work.caller:
        work.started(4)
        work.cluster.crash()
        work.cluster.start()
        work.started(8)
        work.cluster.kill_a_backend()
        work.cluster.make_whole()
        work.check()
    work.caller.check()


def test_callers_of_a_paused_postgresql_are_told_to_come_again_and_work_goes_on_afterwards(work):
    with work.caller:
        work.started(4)
        with work.cluster.paused():
            time.sleep(30)
        work.check()
    assert 503 in {status for status, _ in work.caller.answers}
    work.caller.check(patience_secs=10)


def test_work_goes_on_when_there_are_connections_again(work):
    with work.caller:
        work.started(4)
        with work.cluster.without_connections():
            time.sleep(10)
        work.check()
    work.caller.check()


def test_transactions_that_cannot_be_serialised_are_repeated(work):
    with work.caller, work.cluster.failing_commits(HOT_TABLES):
        work.started(40)
    assert work.cluster.log_text().count("could not serialize access") > 3
    work.check()
    work.caller.check()
