"""The oracle sees what is wrong: a judge that finds nothing must be able to find something."""

import os
import subprocess
import sys
import types
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from agents.daemon.attempts import SUPERVISOR_DIED
from tests import broken
from tests.broken import change, chunk, end
from tests.e2e import oracle
from tests.e2e.oracle import Ledger
from tests.processes import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")


def attempt_with(ledger):
    instance = broken.attempt()
    change(
        instance.task, config={**instance.task.config, "args": ["-c", ledger.printing_script("echo hello")]}
    )
    return instance


def run(ledger, instance):
    """Do what an agent does: run the script of an attempt; return what it prints."""
    environment = {"PATH": os.environ["PATH"], "HETUFLOW_INSTANCE_ID": str(instance.pk)}
    script = ledger.printing_script("echo hello")
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, check=True).stdout


def test_one_run_with_its_result_and_its_output_is_as_it_should_be(ledger):
    instance = attempt_with(ledger)
    printed = run(ledger, instance)
    assert printed == b"hello\n"
    chunk(instance, 0, printed)
    end(instance, "completed", exit_code=0)
    ledger.check_starts()
    ledger.check_ends([instance])
    ledger.check([instance])


def test_what_ran_twice_is_found(ledger):
    instance = attempt_with(ledger)
    run(ledger, instance)
    run(ledger, instance)
    with pytest.raises(AssertionError):
        ledger.check_starts()


def test_what_is_said_to_have_run_and_did_not_is_found(ledger):
    instance = end(attempt_with(ledger), "completed", exit_code=0)
    with pytest.raises(AssertionError):
        ledger.check_ends([instance])


def test_a_result_that_was_lost_is_found(ledger):
    instance = attempt_with(ledger)
    run(ledger, instance)
    end(instance, "lost")
    with pytest.raises(AssertionError):
        ledger.check_ends([instance])
    ledger.check_ends([change(instance, exit_code=0)])


def test_what_ended_and_whose_supervisor_was_killed_needs_no_result(ledger):
    instance = attempt_with(ledger)
    run(ledger, instance)
    end(instance, "failed", error_message=f"Sorry. {SUPERVISOR_DIED}")
    ledger.check_ends([instance])


@pytest.mark.parametrize(("late_secs", "is_right"), [(-5, True), (0.5, True), (1.5, False)])
def test_what_began_after_it_was_given_up_is_found(ledger, late_secs, is_right):
    instance = attempt_with(ledger)
    run(ledger, instance)
    (begun,) = ledger.runs()
    lost_at = datetime.fromtimestamp(begun.started_at - late_secs, UTC)
    change(instance, status="lost", exit_code=0, started_at=None, completed_at=lost_at)
    assert is_refused(lambda: ledger.check_ends([instance])) is not is_right
    ledger.excuse([instance.pk])
    ledger.check_ends([instance])


def test_two_at_once_that_want_to_be_alone_are_found(ledger):
    environment = {"PATH": os.environ["PATH"], "HETUFLOW_INSTANCE_ID": "one"}
    first = subprocess.Popen(
        ["bash", "-c", ledger.lonely_script("echo in; read")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdout.readline() == b"in\n"
    ledger.check_alone()
    script = ["bash", "-c", ledger.lonely_script("true")]
    subprocess.run(script, env=environment | {"HETUFLOW_INSTANCE_ID": "two"}, check=True)
    first.communicate(b"\n")
    with pytest.raises(AssertionError, match="two"):
        ledger.check_alone()
    subprocess.run(script, env=environment | {"HETUFLOW_INSTANCE_ID": "three"}, check=True)
    assert "three clash" not in ledger.path.read_text()


@pytest.mark.parametrize("stored", [b"", b"hell", b"hello\n\n"])
def test_output_that_is_not_what_was_printed_is_found(ledger, stored):
    instance = attempt_with(ledger)
    run(ledger, instance)
    chunk(instance, 0, stored)
    end(instance, "completed", exit_code=0)
    with pytest.raises(AssertionError):
        ledger.check_ends([instance])


@pytest.mark.parametrize("way", [*broken.HISTORY, *broken.PROGRESS, *broken.INSTANTS])
def test_every_broken_invariant_is_found(way):
    way()
    assert any(
        is_refused(check) for check in (oracle.check_database, oracle.check_progress, oracle.check_instants)
    )


def is_refused(check):
    try:
        check()
    except AssertionError:
        return True
    return False


def test_an_attempt_that_is_missing_in_between_is_found():
    instance = broken.attempt()
    end(instance, "failed")
    broken.execute("SELECT nextval('scheduling_fencing_token')")
    broken.next_attempt(instance, status="pending", completed_at=None, token=instance.token + 1)
    oracle.check_database()
    instance.delete()
    with pytest.raises(AssertionError, match="without a gap"):
        oracle.check_database()


GROWING = """
import socket, time
kept = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(1, flush=True)
time.sleep(60)
"""


@contextmanager
def process_with(marker):
    environment = {**os.environ, "HETUFLOW_INSTANCE_ID": str(marker)}
    process = subprocess.Popen([sys.executable, "-c", GROWING], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"1\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_processes_that_are_left_and_those_that_grow_are_found(monkeypatch):
    marker = free_port()
    with process_with(marker) as process:
        assert oracle.processes_of_attempts([marker]) == [process.pid]
        program = types.SimpleNamespace(pid=process.pid, is_running=True)
        installation = types.SimpleNamespace(programs=[program])
        oracle.check_ceilings(installation)
        ceilings = {"MAX_RSS_BYTES": 1000, "MAX_SOCKETS": 5, "MAX_DATABASE_CONNECTIONS_EACH": -2}
        for ceiling, low in ceilings.items():
            with monkeypatch.context() as lowered:
                lowered.setattr(oracle, ceiling, low)
                assert is_refused(lambda: oracle.check_ceilings(installation))
    assert oracle.processes_of_attempts([marker]) == []
