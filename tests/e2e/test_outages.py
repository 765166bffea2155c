"""Outages of servers and schedulers that last: nothing is lost, doubled or missed without a word."""

import random
import time
from datetime import timedelta

import pytest

from scheduling.clock import database_now
from scheduling.models import Schedule, Task
from scheduling.services import definitions
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of
from tests.e2e.oracle import quiesce, until

pytestmark = pytest.mark.e2e
LEASE_SECS = 3
WEEK = timedelta(days=7)


def test_with_all_servers_down_for_many_leases_work_runs_on_and_none_of_it_is_taken_for_lost(fresh):
    short = {"HETUFLOW_LEASE_SECS": str(LEASE_SECS), "HETUFLOW_HEARTBEAT_SECS": "0.5"}
    servers = [fresh.server(**short) for _ in range(2)]
    agents = [fresh.agent(port=server.port, slots=8) for server in servers]
    fresh.scheduler(**short)
    fresh.wait_for_planning()
    quick = factories.job(args=["-c", fresh.ledger.script("echo before; sleep 1; echo after")])
    slow = factories.job(args=["-c", fresh.ledger.script("echo before; sleep 15; echo after")])
    now = database_now()
    tasks = [factories.task(job=job, now=now).pk for job in (quick, slow) for _ in range(5)]
    until(lambda: len(fresh.ledger.runs()) == 10, "all commands have started")
    for server in servers:
        server.kill()
    time.sleep(4 * LEASE_SECS)
    for server in servers:
        server.start()  # all at once: from the first one on, agents have a grace to come back in
    quiesce(tasks)
    oracle.check_all(fresh)
    attempts = attempts_of(quick) + attempts_of(slow)
    assert [attempt.status for attempt in attempts] == ["completed"] * 10
    assert len(fresh.ledger.runs()) == 10
    assert {attempt.agent_id for attempt in attempts} == {agent.row.pk for agent in agents}


@pytest.mark.parametrize(("schedulers", "seed"), [(2, 1), (4, 2)])
def test_schedulers_that_race_are_killed_and_plan_what_is_edited_keep_one_task_an_instant(
    fresh, schedulers, seed
):
    dice = random.Random(seed)  # noqa: S311
    now = database_now()
    schedules = [factories.schedule(now=now, kind="interval", interval_secs=1) for _ in range(20)]
    running = [fresh.scheduler() for _ in range(schedulers)]
    for number in range(10):
        seen = Task.objects.count()
        until(lambda seen=seen: Task.objects.count() > seen, "somebody plans")
        time.sleep(dice.random())  # anywhere in what they do
        victim = dice.choice(running)
        victim.kill()
        definitions.update_schedule(
            schedule_id=dice.choice(schedules).pk, now=database_now(), interval_secs=2 + number % 3
        )
        victim.start()
    end = database_now()
    until(
        lambda: not Schedule.objects.filter(pk__in=[s.pk for s in schedules], planned_until__lt=end).exists(),
        "all is planned up to now",
    )
    assert all(program.is_running for program in running)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("skip", {"missed": 168}),
        ("run_once", {"coalesced": 167, "late": 1}),
        ("run_all", {"late": 168}),
    ],
)
def test_after_seven_days_without_a_scheduler_each_instant_has_the_row_of_its_policy(fresh, policy, expected):
    # A week of hours ends before the test does, so that no instant falls into it.
    end = database_now() - timedelta(minutes=30)
    job = factories.job(config={"misfire_policy": policy, "misfire_grace_secs": 60})
    bounds = {"now": end - WEEK, "end_time": end}
    schedule = factories.schedule(job=job, kind="interval", interval_secs=3600, **bounds)
    for _ in range(2):
        fresh.scheduler(HETUFLOW_CATCH_UP_SECS=str(int(2 * WEEK.total_seconds())))
    until(lambda: is_expired(schedule), "all is planned")
    outcomes = list(Task.objects.filter(schedule=schedule).values_list("outcome", flat=True))
    assert {outcome: outcomes.count(outcome) for outcome in set(outcomes)} == expected


def is_expired(schedule):
    schedule.refresh_from_db()
    return schedule.status == "expired"
