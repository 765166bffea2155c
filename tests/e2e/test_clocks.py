"""Clocks that are wrong by more than a day, or jump: work runs at its moment, times are the database's."""

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model

from access import tokens
from hetuflow.doctor import clocks
from hetuflow.doctor.report import Level
from scheduling.clock import database_now
from scheduling.services import definitions
from tests import factories
from tests.e2e import oracle
from tests.e2e.clocks import Clock
from tests.e2e.installation import agent_python, attempts_of, tasks_of
from tests.e2e.oracle import quiesce, until

pytestmark = pytest.mark.e2e
DAY_AND_HOUR_SECS = 25 * 3600.0
LATENESS_LIMIT_SECS = 1.5
PROGRAMS = ("server", "scheduler", "agent")


class World:
    """A server, a scheduler and an agent, each with a clock of its own, and work of every second."""

    def __init__(self, installation, **ahead_secs):
        self.installation = installation
        self.clocks = {
            name: Clock(installation.folder, ahead_secs=ahead_secs.get(name, 0.0)) for name in PROGRAMS
        }
        server = installation.server(HETUFLOW_HEARTBEAT_SECS="0.5", **self.clocks["server"].environment)
        python = agent_python(installation.folder / "venv")
        installation.agent(port=server.port, **self.clocks["agent"].environment_of_agent(python))
        installation.scheduler(**self.clocks["scheduler"].environment)
        installation.wait_for_planning()
        self.port = server.port
        self.job = factories.job(args=["-c", installation.ledger.script("echo a")])
        self.schedule = factories.schedule(job=self.job, now=database_now(), kind="interval", interval_secs=1)

    def ran(self, count):
        until(
            lambda: sum(run.ended_at is not None for run in self.installation.ledger.runs()) >= count,
            f"{count} commands have run",
        )

    def answer_to_token(self, *, expires_at):
        """Return what a server says to a token that expires then."""
        name = f"until {expires_at}"
        user = get_user_model().objects.create_superuser(name)
        _, secret = tokens.issue(user=user, name=name, expires_at=expires_at)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/jobs", headers={"Authorization": f"Bearer {secret}"}
        )
        try:
            return urllib.request.urlopen(request, timeout=10).status  # noqa: S310
        except urllib.error.HTTPError as error:
            return error.code

    def check(self):
        """Everything ran at its moment, and what the database says of it is as it was."""
        definitions.disable_schedule(schedule_id=self.schedule.pk, now=database_now())
        quiesce([task.pk for task in tasks_of(self.job)])
        oracle.check_all(self.installation)
        runs = {run.instance_id: run for run in self.installation.ledger.runs()}
        attempts = attempts_of(self.job)
        assert {attempt.status for attempt in attempts} == {"completed"}
        assert set(runs) == {str(attempt.pk) for attempt in attempts}
        for attempt in attempts:
            run = runs[str(attempt.pk)]
            late_secs = run.started_at - attempt.task.scheduled_at.timestamp()
            assert 0 <= late_secs + 0.05 < LATENESS_LIMIT_SECS
            assert apart_secs(attempt.started_at, run.started_at) < 2
            assert apart_secs(attempt.completed_at, run.ended_at) < 2


def apart_secs(stored, moment):
    return abs((stored - datetime.fromtimestamp(moment, UTC)).total_seconds())


BOTH_WAYS = pytest.mark.parametrize("ahead_secs", [DAY_AND_HOUR_SECS, -DAY_AND_HOUR_SECS])


@BOTH_WAYS
def test_a_server_whose_clock_is_wrong_by_25_hours_decides_by_the_databases(fresh, ahead_secs):
    world = World(fresh, server=ahead_secs)
    world.ran(5)
    check_doctor(clocks.look_at_servers, ahead_secs)
    hour = timedelta(hours=1)
    assert world.answer_to_token(expires_at=database_now() + hour) == 200
    assert world.answer_to_token(expires_at=database_now() - hour) == 401
    world.check()


@BOTH_WAYS
def test_a_scheduler_whose_clock_is_wrong_by_25_hours_plans_by_the_databases(fresh, ahead_secs):
    world = World(fresh, scheduler=ahead_secs)
    world.ran(5)
    world.check()


@BOTH_WAYS
def test_an_agent_whose_clock_is_wrong_by_25_hours_starts_commands_at_their_instants(fresh, ahead_secs):
    world = World(fresh, agent=ahead_secs)
    world.ran(5)
    check_doctor(clocks.look_at_agents, ahead_secs)
    world.check()


def check_doctor(look, ahead_secs):
    """The doctor tells by how much a clock is wrong."""
    (line,) = until(lambda: [each for each in look(database_now()) if each.level == Level.ERROR], "it tells")
    assert ("ahead of" if ahead_secs > 0 else "behind") in line.seen, line


@BOTH_WAYS
def test_clocks_that_jump_by_25_hours_decide_nothing(fresh, ahead_secs):
    world = World(fresh)
    world.ran(3)
    for clock in world.clocks.values():
        clock.set(ahead_secs)
    world.ran(8)
    for clock in world.clocks.values():
        clock.set(0)
    world.ran(12)
    world.check()
