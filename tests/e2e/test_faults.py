"""Servers, schedulers and agents die while work runs: nothing runs twice, and no result is lost."""

import signal
from datetime import timedelta

import pytest

from gateway.models import AgentCommand
from scheduling.clock import database_now
from scheduling.models import Lease, Task, TaskInstance
from scheduling.services import manual, rescue
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of, tasks_of
from tests.e2e.network import Relay
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
    oracle.check_all(installation)


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


def test_where_the_supervisors_die_too_commands_are_ended_and_never_started_again(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port)
    job = factories.job(args=["-c", fresh.ledger.script("sleep 765.4")], config={"max_retries": 0})
    tasks = trigger(job, 3)
    started(fresh, 3)
    agent.kill()
    oracle.kill(oracle.supervisors_of(agent.folder))
    assert len(oracle.processes_with("sleep\x00765.4")) == 3
    agent.start_and_register()
    quiesce(tasks)
    attempts = attempts_of(job)
    assert [(attempt.status, attempt.exit_code) for attempt in attempts] == [("failed", None)] * 3
    assert "was killed" in attempts[0].error_message
    assert oracle.processes_with("sleep\x00765.4") == []
    assert len(fresh.ledger.runs()) == 3


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


def test_a_dispatch_that_the_server_committed_and_did_not_deliver_runs_once(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port)
    job = ledger_job(fresh, 0)
    # The first shows that the agent's offer of slots has come: stopped before that, it would get nothing.
    tasks = trigger(job, 1)
    quiesce(tasks)
    agent.send(signal.SIGSTOP)
    tasks += trigger(job, 2)
    until(lambda: TaskInstance.objects.filter(job=job).count() == 3, "the server claims for the agent")
    server.kill()
    agent.send(signal.SIGCONT)
    server.start_and_listen()
    quiesce(tasks)
    check(fresh, job, agent)


def test_broken_database_connections_cost_time_and_nothing_else(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port, slots=8)
    fresh.scheduler()
    fresh.wait_for_planning()
    job = ledger_job(fresh, 0.2)
    tasks = trigger(job, 24)
    for count in (4, 10, 16):
        started(fresh, count)
        until(lambda: fresh.cut_database_connections() > 0, "there are connections to cut")
    quiesce(tasks)
    check(fresh, job, agent)


def test_output_and_results_pass_a_network_that_cuts_every_connection_somewhere(fresh):
    server = fresh.server()
    with Relay(server.port, cut_after_bytes=(20_000, 120_000), seed=7).running() as relay:
        agent = fresh.agent(port=relay.port, slots=4)
        job = factories.job(args=["-c", fresh.ledger.printing_script("head -c 150000 /dev/urandom")])
        tasks = trigger(job, 6)
        until(lambda: relay.cuts >= 5, "five connections were cut")
        relay.heal()
        quiesce(tasks)
        let_go(agent)
    attempts = attempts_of(job)
    assert [(attempt.stdout_bytes, attempt.output_truncated) for attempt in attempts] == [
        (150_000, False)
    ] * 6
    fresh.ledger.check(attempts)
    oracle.check_all(fresh)


# --- cancelling -----------------------------------------------------------------------------------------

DEAF = "trap '' TERM; echo deaf; while :; do sleep 0.2; done"


def test_a_cancelled_command_that_takes_its_whole_grace_is_reported_as_cancelled(fresh):
    server = fresh.server(HETUFLOW_HEARTBEAT_SECS="0.3")
    agent = fresh.agent(port=server.port)
    job = factories.job(args=["-c", DEAF], config={"kill_grace_secs": 2})
    (task,) = trigger(job, 1)
    until(lambda: attempts_of(job)[:1] and attempts_of(job)[0].stdout_bytes, "the command runs")
    manual.cancel(task_id=task, now=database_now())
    quiesce([task])
    (attempt,) = attempts_of(job)
    let_go(agent)
    assert (Task.objects.get(pk=task).status, attempt.status) == ("cancelled", "cancelled")


def test_a_cancel_while_the_agent_is_away_reaches_it_when_it_is_back(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port)
    job = factories.job(args=["-c", DEAF], config={"kill_grace_secs": 1})
    (task,) = trigger(job, 1)
    until(lambda: attempts_of(job)[:1] and attempts_of(job)[0].stdout_bytes, "the command runs")
    agent.kill()
    manual.cancel(task_id=task, now=database_now())
    agent.start_and_register()
    quiesce([task])
    (attempt,) = attempts_of(job)
    let_go(agent)
    assert (Task.objects.get(pk=task).status, attempt.status) == ("cancelled", "cancelled")
    assert oracle.stored_output(attempt) == b"deaf\n"


# --- leases ---------------------------------------------------------------------------------------------


def test_an_agent_frozen_beyond_its_lease_loses_its_attempts_and_their_late_results_are_kept(fresh):
    short = {"HETUFLOW_LEASE_SECS": "2", "HETUFLOW_HEARTBEAT_SECS": "0.5"}
    server = fresh.server(**short)
    agent = fresh.agent(port=server.port)
    fresh.scheduler()
    fresh.wait_for_planning()
    keeps = ledger_job(fresh, 4)
    gives_up = ledger_job(fresh, 60, on_lease_lost="kill", kill_grace_secs=1)
    tasks = trigger(keeps, 1) + trigger(gives_up, 1)
    started(fresh, 2)
    let_servers_have_been_there()
    agent.send(signal.SIGSTOP)
    quiesce(tasks)
    (kept,), (given_up,) = attempts_of(keeps), attempts_of(gives_up)
    assert (kept.status, given_up.status) == ("lost", "lost")
    assert set(Task.objects.filter(pk__in=tasks).values_list("status", flat=True)) == {"failed"}
    until(lambda: not oracle.processes_with("echo before; sleep 60"), "the exclusive command is stopped")
    ended(fresh, 1)
    agent.send(signal.SIGCONT)
    let_go(agent)
    kept.refresh_from_db()
    assert (kept.status, kept.exit_code) == ("lost", 0)
    assert "reported later" in kept.error_message
    assert oracle.stored_output(kept) == b"before\nafter\n"
    oracle.check_all(fresh)


def let_servers_have_been_there():
    """Do as if servers had been up for long: until they have, no lease is held against an agent."""
    Lease.objects.filter(pk=rescue.GATEWAY_LEASE).update(since=database_now() - timedelta(minutes=5))


def test_a_copied_machine_takes_the_place_of_the_first_which_stops_with_what_it_ran(fresh):
    server = fresh.server()
    agent = fresh.agent(port=server.port)
    job = factories.job(args=["-c", "exec sleep 876.5"], config={"kill_grace_secs": 1})
    trigger(job, 1)
    until(lambda: oracle.processes_with("876.5"), "the command runs")
    clone = fresh.clone(agent)
    assert agent.wait() == 3
    assert oracle.processes_with("876.5") == []
    assert clone.is_online


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
