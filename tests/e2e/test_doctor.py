"""The doctor on a live installation: real server, scheduler and agent, at work."""

import json
from datetime import timedelta

import pytest

from gateway.models import Connection, Server
from hetuflow.doctor.examination import examine
from hetuflow.doctor.report import Level
from scheduling.clock import database_now
from scheduling.models import Task
from scheduling.services.definitions import disable_schedule
from scheduling.states import TASK_TERMINAL
from tests import factories
from tests.e2e.oracle import until
from tests.processes import database_url, run_manage

pytestmark = pytest.mark.e2e

# PostgreSQL of the tests is thrown away, and what a developer has installed is their own.
OF_THE_TESTS = {"durability", "packages"}


def examined(*arguments):
    done = run_manage("doctor", "--json", *arguments, DATABASE_URL=database_url())
    assert done.stderr == ""
    return json.loads(done.stdout)


def not_fine(report):
    lines = [line for group in report["groups"] for line in group["lines"]]
    return {line["name"]: line["seen"] for line in lines if line["level"] != "ok"}


def clocks_are_known():
    servers = Server.objects.values_list("clock_ahead_ms", flat=True)
    agents = Connection.objects.filter(server__isnull=False).values_list("clock_ahead_ms", flat=True)
    found = [*servers, *agents]
    return len(found) >= 2 and None not in found and found


def test_an_installation_at_work_is_well_in_every_respect(installation):
    job = factories.job(args=["-c", "echo hello; sleep 0.2"])
    begin = database_now()
    schedule = factories.schedule(job=job, now=begin, kind="interval", interval_secs=1)
    until(lambda: schedule.tasks.filter(status="completed").count() >= 2, "two runs are through")
    until(clocks_are_known, "server and agent tell their clocks")
    report = examined()
    assert not_fine(report).keys() <= OF_THE_TESTS, not_fine(report)
    assert report["secs"] < 10
    (line,) = [
        line
        for group in report["groups"]
        for line in group["lines"]
        if line["name"] == "I2 every planned instant has its task"
    ]
    assert int(line["seen"].split()[0]) >= 2
    disable_schedule(schedule_id=schedule.pk, now=database_now())


def test_the_clocks_of_a_machine_are_the_same_for_its_server_and_its_agent(installation):
    found = until(clocks_are_known, "server and agent tell their clocks")
    assert max(abs(ms) for ms in found) < timedelta(seconds=1).total_seconds() * 1000


def test_what_moves_is_never_taken_for_broken(installation):
    limited = factories.job(args=["-c", "sleep 0.3"], config={"max_concurrency": 2})
    jobs = [factories.job(args=["-c", "echo $RANDOM"]), factories.job(args=["-c", "exit 1"]), limited]
    factories.schedule(job=jobs[0], now=database_now(), kind="interval", interval_secs=1, max_count=8)
    tasks = [factories.task(job=job, now=database_now()).pk for _ in range(30) for job in jobs]
    looks = 0
    while Task.objects.filter(pk__in=tasks).exclude(status__in=TASK_TERMINAL).exists():
        report = examine(only=["invariants", "stuck rows"])
        assert report.level == Level.OK, report.as_text()
        looks += 1
    assert looks
