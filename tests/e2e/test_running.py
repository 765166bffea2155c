"""What an installation of real processes does with jobs, from the plan to the stored output."""

import json
import random
import shutil
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise

import pytest

from scheduling.clock import database_now
from scheduling.models import Backfill, Task, TaskInstance
from scheduling.services import manual
from scheduling.services.backfills import create_backfill
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of, tasks_of
from tests.e2e.oracle import quiesce, until

pytestmark = pytest.mark.e2e
# Far above what an idle machine needs (milliseconds): tests may run on a busy one.
LATENESS_LIMIT_SECS = 1.5


@pytest.fixture
def run(installation, agent):
    """Return what triggers a job once, waits until its agent let go of it, and returns the last attempt."""

    def whole(job, **fields):
        task = factories.task(job=job, now=database_now(), **fields)
        quiesce([task.pk])
        instance = TaskInstance.objects.filter(task=task).order_by("attempt").last()
        until(lambda: not agent.holds(instance), "the output is stored")
        instance.refresh_from_db()
        return instance

    return whole


def bash(script, **fields):
    return factories.job(args=["-c", script], **fields)


# --- on time --------------------------------------------------------------------------------------------


def test_schedules_fire_at_their_instants_and_at_no_other(installation):
    rules = [{"kind": "cron", "cron_expression": "*/2 * * * * *"}, {"kind": "interval", "interval_secs": 1}]
    begin = database_now() + timedelta(seconds=2)
    schedules = [
        factories.schedule(
            job=bash(installation.ledger.script()),
            now=database_now(),
            start_time=begin,
            end_time=begin + timedelta(seconds=4),
            **rule,
        )
        for rule in rules
    ]
    for schedule in schedules:
        until(lambda schedule=schedule: expired(schedule), "the last instant is planned")
        quiesce([task.pk for task in tasks_of(schedule.job)])
    began = {run.instance_id: run.started_at for run in installation.ledger.runs()}
    for schedule, step in zip(schedules, (2, 1), strict=True):
        oracle.check_schedule(schedule)
        tasks = tasks_of(schedule.job)
        assert {(b.scheduled_at - a.scheduled_at).total_seconds() for a, b in pairwise(tasks)} == {step}
        attempts = attempts_of(schedule.job)
        assert len(attempts) == len(tasks) >= 2
        lateness = [
            began[str(attempt.pk)] - task.scheduled_at.timestamp()
            for attempt, task in zip(attempts, tasks, strict=True)
        ]
        assert min(lateness) >= 0
        assert max(lateness) < LATENESS_LIMIT_SECS
        installation.ledger.check(attempts)


def expired(schedule):
    schedule.refresh_from_db()
    return schedule.status == "expired"


def test_a_failing_job_is_retried_with_backoff_and_ends_failed_with_its_exit_code(run):
    config = {"max_retries": 2, "retry_interval_secs": 1, "retry_backoff": "linear"}
    job = bash("exit 7", config=config)
    last = run(job)
    first, second, third = attempts_of(job)
    assert last == third
    assert [one.exit_code for one in (first, second, third)] == [7, 7, 7]
    assert {one.status for one in (first, second, third)} == {last.task.status} == {"failed"}
    pauses = [(b.started_at - a.completed_at).total_seconds() for a, b in ((first, second), (second, third))]
    assert 0.9 < pauses[0] < 1 + LATENESS_LIMIT_SECS
    assert 1.9 < pauses[1] < 2 + LATENESS_LIMIT_SECS


def test_a_job_never_runs_more_often_at_once_than_it_may(installation):
    job = bash(installation.ledger.script("sleep 0.1"), config={"max_concurrency": 2})
    tasks = [factories.task(job=job, now=database_now()) for _ in range(8)]
    quiesce([task.pk for task in tasks])
    ids = [str(instance.pk) for instance in attempts_of(job)]
    assert installation.ledger.most_at_once(ids) == 2
    installation.ledger.check(attempts_of(job))


# --- output ---------------------------------------------------------------------------------------------


def test_output_is_stored_byte_for_byte(run, tmp_path):
    data = random.Random(1).randbytes(5_000_000) + b"\x00\xff\xfe\r\n\x00"  # noqa: S311
    (tmp_path / "data").write_bytes(data)
    instance = run(bash(f"cat {tmp_path}/data; printf 'caf\\xe9\\x00' >&2"))
    assert oracle.digest(oracle.stored_output(instance)) == oracle.digest(data)
    assert oracle.stored_output(instance, stream=2) == b"caf\xe9\x00"
    assert (instance.status, instance.output_truncated) == ("completed", False)


def test_output_beyond_the_cap_is_cut_there_and_the_command_goes_on(run):
    job = bash("head -c 300000 /dev/zero | tr '\\0' a; exit 5", config={"max_output_size": 100_000})
    instance = run(job)
    assert oracle.stored_output(instance) == b"a" * 100_000
    assert (instance.output_truncated, instance.exit_code) == (True, 5)


def test_a_job_that_captures_no_output_stores_none(run):
    instance = run(bash("echo hello", config={"capture_output": False}))
    assert (instance.status, oracle.stored_output(instance)) == ("completed", b"")


# --- what a command gets --------------------------------------------------------------------------------


def test_a_command_gets_what_it_is_promised_and_no_secret(run, agent):
    job = factories.job(
        cmd="python",
        args=["-c", "import os, json; print(json.dumps(dict(os.environ)))"],
        environment={"STAGE": "test", "BOTH": "job"},
    )
    parameters = {"day": "monday", "max-rows": 5, "deep": {"a": [1]}, "ünï": "ö"}
    instance = run(job, parameters=parameters, environment={"BOTH": "task"})
    got = json.loads(oracle.stored_output(instance))
    task = instance.task
    expected = {
        "HETUFLOW_TASK_ID": str(task.pk),
        "HETUFLOW_INSTANCE_ID": str(instance.pk),
        "HETUFLOW_ATTEMPT": "1",
        "HETUFLOW_SCHEDULED_AT": task.scheduled_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "HETUFLOW_PARAM_DAY": "monday",
        "HETUFLOW_PARAM_MAX_ROWS": "5",
        "HETUFLOW_PARAM_DEEP": '{"a": [1]}',
        "STAGE": "test",
        "BOTH": "task",
    }
    assert {name: got.get(name) for name in expected} == expected
    assert json.loads(got["HETUFLOW_PARAMETERS"]) == parameters
    assert not {"DATABASE_URL", "HETUFLOW_AGENT_TOKEN", "HETUFLOW_SERVER", "HETUFLOW_AGENT_DIR"} & got.keys()
    assert agent.environment["HETUFLOW_AGENT_TOKEN"] not in json.dumps(got)


def test_no_process_that_a_command_can_look_into_holds_the_token(run, agent):
    script = """
import os
pid, seen = os.getppid(), []
while pid > 1:
    seen.append(open(f"/proc/{pid}/environ", "rb").read())
    pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    break
print(b"".join(seen).decode(errors="replace"))
"""
    instance = run(factories.job(cmd="python", args=["-c", script]))
    assert instance.exit_code == 0
    assert agent.environment["HETUFLOW_AGENT_TOKEN"].encode() not in oracle.stored_output(instance)


def test_arguments_reach_the_program_as_they_are(run):
    arguments = ["; echo no", "$(echo no)", "a\nb", "", "*", "-n", "ä'\"\\"]
    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    instance = run(factories.job(cmd="exec", args=[sys.executable, "-c", script, *arguments]))
    assert json.loads(oracle.stored_output(instance)) == arguments


KINDS = {
    "bash": ["-c", "echo $((6 * 7)) $BASH_VERSION"],
    "sh": ["-c", "echo $((6 * 7)); exit 3"],
    "python": ["-c", "print(6 * 7)"],
    "node": ["-e", "console.log(6 * 7)"],
    "npx": ["--version"],
    "uv": ["--version"],
    "cargo": ["--version"],
    "java": ["--version"],
    "exec": ["echo", "42"],
}


@pytest.mark.parametrize("cmd", KINDS)
def test_every_kind_of_command_that_is_installed_does_what_it_does_by_hand_and_no_other_is_offered(
    run, agent, cmd
):
    agent.row.refresh_from_db()
    program = [] if cmd == "exec" else [shutil.which("python3" if cmd == "python" else cmd)]
    is_installed = program != [None]
    assert (cmd in agent.row.capabilities["commands"]) == is_installed
    job = factories.job(cmd=cmd, args=KINDS[cmd])
    if is_installed:
        by_hand = subprocess.run(
            [*program, *KINDS[cmd]],
            capture_output=True,
            env={name: agent.environment[name] for name in ("PATH", "HOME")},
            check=False,
        )
        instance = run(job)
        assert (instance.exit_code, oracle.stored_output(instance)) == (by_hand.returncode, by_hand.stdout)
    else:
        task = factories.task(job=job, now=database_now())
        run(bash("true"))
        task.refresh_from_db()
        assert task.status == "pending"
        manual.cancel(task_id=task.pk, now=database_now())


def test_a_program_that_does_not_exist_fails_with_the_reason(run):
    instance = run(factories.job(cmd="exec", args=["/no/such/program"]))
    assert (instance.status, instance.exit_code) == ("failed", 127)
    assert "/no/such/program" in instance.error_message


# --- the end --------------------------------------------------------------------------------------------

# A grandchild in a session of its own, double-forked, with an empty environment, that ignores SIGTERM.
RUNAWAY = """
import os, signal, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        os.execve(sys.executable, [sys.executable, "-c", deaf, "{marker}"], {{}})
    os._exit(0)
time.sleep(600)
"""


def runaway(marker, **config):
    return factories.job(
        cmd="python", args=["-c", RUNAWAY.format(marker=marker)], config={"kill_grace_secs": 1} | config
    )


def test_cancel_ends_the_whole_tree_of_a_command_however_it_hides(installation):
    job = runaway("marker-of-the-cancelled")
    task = factories.task(job=job, now=database_now())
    until(lambda: len(oracle.processes_with("marker-of-the-cancelled")) >= 2, "the grandchild runs")
    manual.cancel(task_id=task.pk, now=database_now(), by=factories.ANN)
    quiesce([task.pk])
    task.refresh_from_db()
    (instance,) = attempts_of(job)
    assert (task.status, instance.status) == ("cancelled", "cancelled")
    assert oracle.processes_with("marker-of-the-cancelled") == []


def test_a_timeout_ends_the_whole_tree_and_says_so(run):
    instance = run(runaway("marker-of-the-late", timeout_secs=1))
    assert (instance.status, instance.task.status) == ("timeout", "failed")
    assert "timed out" in instance.error_message
    assert oracle.processes_with("marker-of-the-late") == []


def test_a_command_that_ends_while_a_child_holds_its_output_has_ended(run):
    job = bash("(trap '' TERM; exec sleep 987.1) & echo done", config={"kill_grace_secs": 1})
    instance = run(job)
    assert (instance.status, instance.exit_code) == ("completed", 0)
    assert (oracle.stored_output(instance), instance.output_truncated) == (b"done\n", True)
    assert oracle.processes_with("sleep\x00987.1") == []


def test_a_waiting_task_is_cancelled_before_anything_of_it_runs(installation):
    job = bash(installation.ledger.script())
    task = factories.task(job=job, now=database_now(), scheduled_at=database_now() + timedelta(hours=1))
    manual.cancel(task_id=task.pk, now=database_now())
    task.refresh_from_db()
    assert (task.status, attempts_of(job)) == ("cancelled", [])


def test_after_all_that_the_installation_is_as_the_invariants_say(run, installation):
    run(bash("true"))
    oracle.check_all(installation)


# --- the past -------------------------------------------------------------------------------------------


def test_a_backfill_runs_every_instant_once_in_order_and_one_at_a_time(installation):
    now = database_now()
    job = bash(installation.ledger.script())
    schedule = factories.schedule(job=job, now=now, kind="cron", cron_expression="0 6 * * *")
    begin = now - timedelta(days=20)
    backfill = create_backfill(schedule_id=schedule.pk, range_from=begin, range_to=now, now=now)
    until(lambda: Backfill.objects.get(pk=backfill.pk).status == "completed", "the backfill is through")

    tasks = sorted(Task.objects.filter(backfill=backfill), key=lambda task: task.scheduled_at)
    assert (len(tasks), {task.status for task in tasks}) == (backfill.total, {"completed"})
    attempts = list(TaskInstance.objects.filter(task__in=tasks).order_by("task__scheduled_at"))
    installation.ledger.check(attempts)
    assert all(one.completed_at <= other.started_at for one, other in pairwise(attempts))
