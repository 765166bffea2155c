"""Servers, schedulers and agents die while work runs: nothing runs twice, and no result is lost."""

import signal
from datetime import timedelta

import pytest

from gateway.models import AgentCommand
from scheduling.clock import database_now
from scheduling.models import Task, TaskInstance
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of, tasks_of
from tests.e2e.oracle import quiesce, until

pytestmark = pytest.mark.e2e


def ledger_job(installation, secs, **config):
    """Return a job whose command takes so long, prints before and after, and enters itself in the ledger."""
    script = installation.ledger.script(f"echo before; sleep {secs}; echo after")
    return factories.job(args=["-c", script], config=config)


def trigger(job, count):
    return [factories.task(job=job, now=database_now()).pk for _ in range(count)]


def started(installation, count):
    until(lambda: len(installation.ledger.runs()) >= count, f"{count} commands have started")


def ended(installation, count):
    until(
        lambda: sum(run.ended_at is not None for run in installation.ledger.runs()) >= count,
        f"{count} commands have ended",
    )


def let_go(*agents):
    for agent in agents:
        until(lambda agent=agent: not any((agent.folder / "spool").iterdir()), "the agent has delivered all")


def check(installation, job, *agents):
    """Everything ran once and to its end, and all that it printed is stored."""
    let_go(*agents)
    attempts = attempts_of(job)
    assert {attempt.status for attempt in attempts} == {"completed"}
    assert [task.status for task in tasks_of(job)] == ["completed"] * len(attempts)
    assert {oracle.stored_output(attempt) for attempt in attempts} == {b"before\nafter\n"}
    installation.ledger.check(attempts)
    assert len(installation.ledger.runs()) == len(attempts)
    oracle.check_database()


# --- the agent ------------------------------------------------------------------------------------------


def test_an_agent_killed_and_started_again_delivers_every_result_and_runs_nothing_twice(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port, slots=8)
    job = ledger_job(fresh, 2)
    tasks = trigger(job, 6)
    started(fresh, 6)
    agent.kill()
    agent.start_and_register()
    quiesce(tasks)
    check(fresh, job, agent)


def test_results_of_commands_that_ended_while_no_daemon_was_there_are_delivered_later(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port, slots=8)
    job = ledger_job(fresh, 1)
    tasks = trigger(job, 6)
    started(fresh, 6)
    agent.kill()
    ended(fresh, 6)
    assert Task.objects.filter(pk__in=tasks, status="completed").count() == 0
    agent.start_and_register()
    quiesce(tasks)
    check(fresh, job, agent)


def test_an_agent_killed_again_and_again_under_load_loses_nothing(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port, slots=4)
    job = ledger_job(fresh, 0.3)
    tasks = trigger(job, 24)
    for count in (2, 6, 11, 15):
        started(fresh, count)
        agent.kill()
        agent.start_and_register()
    quiesce(tasks)
    check(fresh, job, agent)
    assert fresh.ledger.most_at_once(str(attempt.pk) for attempt in attempts_of(job)) <= 4


def test_a_draining_agent_finishes_what_runs_takes_nothing_new_and_ends_with_0(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port, slots=2)
    job = ledger_job(fresh, 1.5)
    tasks = trigger(job, 2)
    started(fresh, 2)
    AgentCommand.objects.create(agent=agent.row, command="drain", timeout_secs=10, created_at=database_now())
    until(lambda: AgentCommand.objects.get().answered_at, "the agent answers")
    later = trigger(job, 1)
    assert agent.wait() == 0
    assert set(Task.objects.filter(pk__in=tasks).values_list("status", flat=True)) == {"completed"}
    assert Task.objects.get(pk=later[0]).status == "pending"
    agent.start_and_register()
    quiesce(later)
    check(fresh, job, agent)


def test_an_agent_told_to_stop_leaves_its_commands_to_the_next_start(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port)
    job = ledger_job(fresh, 1)
    tasks = trigger(job, 3)
    started(fresh, 3)
    assert agent.stop(signal.SIGTERM) == 0
    agent.start_and_register()
    quiesce(tasks)
    check(fresh, job, agent)


# --- the server -----------------------------------------------------------------------------------------


def test_a_server_killed_and_started_again_gets_every_result(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port, slots=8)
    job = ledger_job(fresh, 2)
    tasks = trigger(job, 12)
    started(fresh, 6)
    server.kill()
    server.start_and_listen()
    quiesce(tasks)
    check(fresh, job, agent)


def test_with_all_servers_down_for_a_while_work_goes_on_and_is_reported_later(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port, slots=8)
    fresh.scheduler()
    fresh.wait_for_planning()
    job = ledger_job(fresh, 1)
    tasks = trigger(job, 8)
    started(fresh, 8)
    server.kill()
    ended(fresh, 8)
    assert not TaskInstance.objects.filter(job=job, status="completed").exists()
    server.start_and_listen()
    quiesce(tasks)
    check(fresh, job, agent)


# --- all at once ----------------------------------------------------------------------------------------


def test_two_servers_and_two_schedulers_run_each_instant_once_and_lose_none(fresh):
    servers = [fresh.server(), fresh.server()]
    agents = [fresh.agent(port=server.port, slots=8) for server in servers]
    schedulers = [fresh.scheduler(), fresh.scheduler()]
    fresh.wait_for_planning()
    job = ledger_job(fresh, 0.05)
    begin = database_now() + timedelta(seconds=1)
    bounds = {"start_time": begin, "end_time": begin + timedelta(seconds=5)}
    schedules = [
        factories.schedule(job=job, now=database_now(), kind="interval", interval_secs=1, **bounds)
        for _ in range(5)
    ]
    started(fresh, 5)
    schedulers[0].kill()
    schedulers[0].start()
    agents[0].kill()
    started(fresh, 12)
    servers[1].kill()
    servers[1].start_and_listen()
    agents[0].start_and_register()
    until(lambda: all(is_expired(schedule) for schedule in schedules), "the last instants are planned")
    quiesce([task.pk for task in tasks_of(job)])
    for schedule in schedules:
        oracle.check_schedule(schedule)
    assert len(tasks_of(job)) == 30
    check(fresh, job, *agents)
    assert {attempt.agent_id for attempt in attempts_of(job)} == {agent.row.pk for agent in agents}


def is_expired(schedule):
    schedule.refresh_from_db()
    return schedule.status == "expired"
