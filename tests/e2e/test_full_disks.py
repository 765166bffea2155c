"""An agent whose disk is full: it lives on, says so, and nothing is lost or run twice when there is room."""

import contextlib
import subprocess

import pytest

from agents.models import Agent
from scheduling.clock import database_now
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import attempts_of
from tests.e2e.oracle import quiesce, until

pytestmark = pytest.mark.e2e
SIZE_BYTES = 512 * 1024


@pytest.fixture
def small_disk(fresh):
    """An agent whose folder is a disk of half a megabyte."""
    server = fresh.server(HETUFLOW_HEARTBEAT_SECS="0.5")
    agent = fresh.agent(port=server.port, slots=4)
    agent.stop()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", agent.folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        agent.start_and_register()
        yield agent
    finally:
        subprocess.run(["umount", "--lazy", agent.folder], check=True)


@contextlib.contextmanager
def filled(agent):
    """Let there be no room on the agent's disk."""
    filler = agent.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    try:
        yield
    finally:
        filler.unlink()


def test_what_ends_keeps_its_result_until_there_is_room_and_new_work_waits(fresh, small_disk):
    job = factories.job(args=["-c", fresh.ledger.script("echo before; sleep 3; echo after")])
    running = [factories.task(job=job, now=database_now()).pk for _ in range(3)]
    until(lambda: sum(attempt.stdout_bytes > 0 for attempt in attempts_of(job)) == 3, "three have printed")
    with filled(small_disk):
        waiting = factories.task(job=job, now=database_now()).pk
        until(lambda: len(attempts_of(job)) == 4, "the fourth is offered")
        until(lambda: all(run.ended_at for run in fresh.ledger.runs()), "the commands end")
        beat = last_beat(small_disk)
        until(lambda: last_beat(small_disk) > beat, "heartbeats go on")
        small_disk.kill()
        small_disk.start_and_register()
        until(lambda: len(attempts_of(job)) == 5, "the fourth is offered to the new daemon")
        beat = last_beat(small_disk)
        until(lambda: last_beat(small_disk) > beat, "the new one has heartbeats, too")
        assert {attempt.status for attempt in attempts_of(job)} == {"running", "skipped"}
        assert small_disk.is_running
    quiesce([*running, waiting])
    oracle.check_all(fresh)
    attempts = attempts_of(job)
    declined = [attempt for attempt in attempts if attempt.status == "skipped"]
    assert len(declined) == 2
    assert {attempt.error_message for attempt in declined} == {
        "declined by the agent: the agent cannot write its spool: No space left on device"
    }
    assert [attempt.status for attempt in attempts if attempt not in declined] == ["completed"] * 4
    assert len(fresh.ledger.runs()) == 4


def test_a_command_that_fills_the_disk_ends_as_it_would_and_its_output_says_that_it_was_cut(
    fresh, small_disk
):
    script = fresh.ledger.script(f"head -c {4 * SIZE_BYTES} /dev/zero | tr '\\0' x")
    job = factories.job(args=["-c", script])
    task = factories.task(job=job, now=database_now())
    until(lambda: any(run.ended_at for run in fresh.ledger.runs()), "the command ends")
    quiesce([task.pk])
    oracle.check_all(fresh)
    (attempt,) = attempts_of(job)
    assert (attempt.status, attempt.exit_code, attempt.output_truncated) == ("completed", 0, True)
    assert set(oracle.stored_output(attempt)) == {ord("x")}


def last_beat(agent):
    return Agent.objects.get(pk=agent.row.pk).last_heartbeat_at
