"""The supervisor with its real launcher, shims and commands; only the server is not there."""

import asyncio
import os
import signal
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.daemon import processes, spool
from agents.daemon.attempts import SUPERVISOR_DIED
from agents.daemon.launching import KEPT_IDLE
from agents.daemon.supervisor import Supervisor
from agents.protocol.messages import DispatchedTask

LIMIT_SECS = 20


class Machine:
    """One start of a daemon's supervisor, and what it tells."""

    def __init__(self, directory, *, slots=8, use_cgroups=True):
        self.ended = {}
        self.started = set()
        self.supervisor = Supervisor(
            directory,
            slots=slots,
            use_cgroups=use_cgroups,
            on_start=lambda attempt: self.started.add(attempt.instance_id),
            on_output=lambda attempt: None,
            on_end=lambda attempt: self.ended.update({attempt.instance_id: attempt}),
        )

    async def __aenter__(self):
        await self.supervisor.start()
        return self

    async def __aexit__(self, *_):
        for attempt in self.supervisor.attempts.values():
            self.supervisor.stop_attempt(
                attempt.instance_id, status="cancelled", reason="test ends", grace_secs=0
            )
        await self.until(lambda: self.supervisor.in_hand == 0)
        await self.supervisor.stop()

    async def run(self, *tasks, lease_secs=60):
        now = time.monotonic()
        return await self.supervisor.take_on(tasks, received_at=now, lease_until=now + lease_secs)

    async def until(self, condition):
        async with asyncio.timeout(LIMIT_SECS):
            while not condition():
                self.supervisor.sweep()
                await asyncio.sleep(0.01)

    async def end_of(self, task):
        await self.until(lambda: task.instance_id in self.ended)
        return self.ended[task.instance_id]


def task(script, **changes):
    fields = {
        "instance_id": uuid.uuid4(),
        "token": 1,
        "task_id": 1,
        "job_id": 1,
        "job_name": "job",
        "attempt": 1,
        "start_in_ms": 0,
        "scheduled_at": "2026-01-02T03:04:05.000000Z",
        "cmd": "bash",
        "args": ["-c", script],
        "environment": {},
        "parameters": {},
        "working_dir": None,
        "timeout_secs": 60,
        "kill_grace_secs": 1,
        "max_output_size": 1000,
        "resource_limits": {},
        "on_lease_lost": "keep",
    }
    return DispatchedTask(**{**fields, **changes})


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def launcher_of_this_process():
    (pid,) = [
        pid
        for pid in processes.descendants(os.getpid())
        if b"launcher.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid())
    ]
    return pid


def cwd_of(pid):
    return Path(f"/proc/{pid}/cwd").readlink()


def outcome(attempt, *names):
    return tuple(attempt.outcome[name] for name in names)


async def test_a_command_ends_with_its_exit_code_its_output_and_its_metrics(tmp_path):
    one = task("printf 'a\\0b'; printf err >&2; exit 3")
    async with Machine(tmp_path) as machine:
        accepted, declined = await machine.run(one)
        attempt = await machine.end_of(one)
    assert ([ref.instance_id for ref in accepted], declined) == ([one.instance_id], [])
    assert outcome(attempt, "status", "exit_code", "signal") == ("failed", 3, None)
    assert spool.read_output(attempt.folder, "stdout", 0, 100) == b"a\0b"
    assert spool.read_output(attempt.folder, "stderr", 0, 100) == b"err"
    assert attempt.outcome["metrics"]["memory_peak"] > 0
    assert one.instance_id in machine.started


async def test_a_command_starts_at_its_instant_and_not_before(tmp_path):
    one = task("true", start_in_ms=600)
    begin = time.monotonic()
    async with Machine(tmp_path) as machine:
        await machine.run(one)
        attempt = await machine.end_of(one)
    assert time.monotonic() - begin >= 0.6
    assert 0 <= attempt.start_delay_ms < 2000


async def test_a_command_never_begins_a_little_early_by_the_clock_on_the_wall(tmp_path):
    at = datetime.now(UTC) + timedelta(seconds=0.5)
    one = task("echo $EPOCHREALTIME", start_in_ms=470, scheduled_at=at.isoformat())
    async with Machine(tmp_path) as machine:
        await machine.run(one)
        attempt = await machine.end_of(one)
    began = float(spool.read_output(attempt.folder, "stdout", 0, 100))
    assert began >= at.timestamp()


async def test_what_cannot_be_executed_fails_and_says_why(tmp_path):
    missing = task("", cmd="exec", args=["no-such-program"])
    nowhere = task("true", working_dir="/no/such/folder")
    async with Machine(tmp_path) as machine:
        await machine.run(missing, nowhere)
        first, second = await machine.end_of(missing), await machine.end_of(nowhere)
    assert outcome(first, "status", "exit_code") == ("failed", 127)
    assert "no-such-program" in first.outcome["error_message"]
    assert "/no/such/folder" in second.outcome["error_message"]
    assert missing.instance_id not in machine.started


async def test_output_stops_at_its_cap_and_says_so(tmp_path):
    one = task("head -c 100000 /dev/zero")
    async with Machine(tmp_path) as machine:
        await machine.run(one)
        attempt = await machine.end_of(one)
    assert (attempt.sizes["stdout"], *outcome(attempt, "status", "output_truncated")) == (
        1000,
        "completed",
        True,
    )


async def test_a_command_that_takes_too_long_is_ended(tmp_path):
    one = task("trap '' TERM; sleep 60", timeout_secs=0.3, kill_grace_secs=0.3)
    async with Machine(tmp_path) as machine:
        await machine.run(one)
        attempt = await machine.end_of(one)
    assert outcome(attempt, "status", "signal") == ("timeout", signal.SIGKILL)


async def test_no_process_of_a_cancelled_tree_gets_away(tmp_path):
    pids = tmp_path / "pids"
    double_forked = f"(setsid env -i bash -c 'trap \"\" TERM; echo $$ >> {pids}; exec sleep 60' &)"
    one = task(f"{double_forked}; echo $$ >> {pids}; exec sleep 60")
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        await machine.until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        machine.supervisor.stop_attempt(
            one.instance_id, status="cancelled", reason="by a test", grace_secs=0.2
        )
        attempt = await machine.end_of(one)
    assert outcome(attempt, "status", "error_message") == ("cancelled", "by a test")
    assert [pid for pid in pids.read_text().split() if is_alive(pid)] == []


async def test_what_a_command_leaves_behind_is_ended_with_it(tmp_path):
    pids = tmp_path / "pids"
    one = task(f"sleep 60 > /dev/null 2>&1 & echo $! > {pids}")
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        attempt = await machine.end_of(one)
    assert outcome(attempt, "status", "exit_code") == ("completed", 0)
    assert not is_alive(pids.read_text().strip())


async def test_an_exclusive_attempt_ends_when_its_lease_does(tmp_path):
    kept, lost = task("sleep 60", on_lease_lost="kill"), task("sleep 60", on_lease_lost="kill")
    async with Machine(tmp_path) as machine:
        await machine.run(kept, lost, lease_secs=1)
        machine.supervisor.renew_leases([kept.instance_id], until=time.monotonic() + 60)
        attempt = await machine.end_of(lost)
        assert kept.instance_id not in machine.ended
    assert attempt.outcome["status"] == "failed"
    assert "lease" in attempt.outcome["error_message"]


async def test_more_than_there_are_slots_for_is_declined(tmp_path):
    tasks = [task("sleep 60") for _ in range(3)]
    async with Machine(tmp_path, slots=2) as machine:
        accepted, declined = await machine.run(*tasks)
        assert (len(accepted), [one.instance_id for one in declined]) == (2, [tasks[2].instance_id])
        assert machine.supervisor.free_slots == 0


async def test_a_dispatch_that_comes_twice_runs_once(tmp_path):
    runs = tmp_path / "runs"
    one = task(f"echo run >> {runs}; sleep 0.5")
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        accepted, _ = await machine.run(one)
        await machine.end_of(one)
    assert [ref.instance_id for ref in accepted] == [one.instance_id]
    assert runs.read_text() == "run\n"


async def test_an_attempt_given_back_before_its_instant_never_runs(tmp_path):
    runs = tmp_path / "runs"
    one = task(f"echo run >> {runs}", start_in_ms=60_000)
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        machine.supervisor.stop_attempt(one.instance_id, status="declined", reason="stopping", grace_secs=0)
        attempt = await machine.end_of(one)
    assert attempt.was_declined
    assert not runs.exists()


async def test_attempts_are_found_again_after_the_daemon_was_killed(tmp_path):
    runs = tmp_path / "runs"
    running = task(f"echo a >> {runs}; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 5")
    waiting = task(f"echo b >> {runs}; exit 6", start_in_ms=1500)
    quick = task(f"echo c >> {runs}; exit 7")
    first = Machine(tmp_path / "agent")
    await first.supervisor.start()
    await first.run(running, waiting, quick)
    await first.until(lambda: runs.exists() and len(runs.read_text()) == 4)
    await first.supervisor.stop()  # as a crash leaves it: nothing is told to the shims
    async with Machine(tmp_path / "agent") as second:
        (tmp_path / "go").touch()
        codes = [(await second.end_of(one)).outcome["exit_code"] for one in (running, waiting, quick)]
    assert codes == [5, 6, 7]
    assert sorted(runs.read_text().split()) == ["a", "b", "c"]


async def test_when_the_supervisor_of_an_attempt_is_killed_so_is_its_command(tmp_path):
    pids = tmp_path / "pids"
    one = task(f"echo $$ $PPID > {pids}; exec sleep 60")
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        await machine.until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        command, shim = pids.read_text().split()
        os.kill(int(shim), signal.SIGKILL)
        attempt = await machine.end_of(one)
        await machine.until(lambda: not is_alive(command))
    assert outcome(attempt, "status", "error_message") == ("failed", SUPERVISOR_DIED)


async def test_when_the_folder_of_an_attempt_is_removed_its_supervisor_ends_with_its_command(tmp_path):
    pids = tmp_path / "pids"
    one = task(f"echo $$ $PPID > {pids}; sleep 0.6")
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        await machine.until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        spool.remove(machine.supervisor.attempts[one.instance_id].folder)
        attempt = await machine.end_of(one)
        assert attempt.outcome["status"] == "failed"
    await machine.until(lambda: not any(map(is_alive, pids.read_text().split())))


async def test_when_the_launcher_is_killed_work_goes_on(tmp_path):
    one, two = task("sleep 0.4; exit 4"), task("exit 5")
    async with Machine(tmp_path) as machine:
        await machine.run(one)
        await machine.until(lambda: one.instance_id in machine.started)
        os.kill(launcher_of_this_process(), signal.SIGKILL)
        await machine.run(two)
        codes = [(await machine.end_of(each)).outcome["exit_code"] for each in (one, two)]
    assert codes == [4, 5]


async def test_a_shim_takes_one_attempt_after_the_other(tmp_path):
    pids = tmp_path / "pids"
    async with Machine(tmp_path / "agent") as machine:
        for _ in range(5):
            one = task(f"echo $PPID >> {pids}; exit 3", working_dir=str(tmp_path))
            await machine.run(one)
            assert (await machine.end_of(one)).outcome["exit_code"] == 3
        shims = set(pids.read_text().split())
        assert len(shims) == 1
        assert cwd_of(shims.pop()) == Path("/")


async def test_idle_shims_end_with_their_daemon_and_when_there_are_many(tmp_path):
    pids = tmp_path / "pids"
    tasks = [task(f"echo $PPID >> {pids}; sleep 0.5") for _ in range(7)]
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(*tasks)
        for one in tasks:
            await machine.end_of(one)
        shims = pids.read_text().split()
        await machine.until(lambda: sum(map(is_alive, shims)) == KEPT_IDLE)
    await machine.until(lambda: not any(map(is_alive, shims)))


async def test_after_a_power_cut_nothing_runs_that_may_have_run(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    one = task(f"echo run >> {runs}", start_in_ms=60_000)
    first = Machine(tmp_path / "agent")
    await first.supervisor.start()
    await first.run(one)
    first.supervisor.stop_attempt(one.instance_id, status="declined", reason="power", grace_secs=0)
    await first.end_of(one)
    await first.supervisor.stop()
    spool.remove(first.ended[one.instance_id].folder)  # what was not flushed is gone
    monkeypatch.setattr(spool, "boot_id", lambda: "another run of the machine")
    async with Machine(tmp_path / "agent") as second:
        attempt = await second.end_of(one)
    assert attempt.outcome["status"] == "failed"
    assert "restarted" in attempt.outcome["error_message"]
    assert not runs.exists()


async def test_a_command_may_say_its_result(tmp_path):
    good = task('echo \'{"rows": 3}\' > "$HETUFLOW_RESULT_FILE"')
    bad = task('echo NaN > "$HETUFLOW_RESULT_FILE"')
    async with Machine(tmp_path) as machine:
        await machine.run(good, bad)
        reports = [(await machine.end_of(one)).end_report() for one in (good, bad)]
    assert (reports[0].result, reports[0].status) == ({"rows": 3}, "completed")
    assert reports[1].result is None
    assert "NaN" in reports[1].error_message


async def test_memory_is_limited(tmp_path):
    hungry = task(
        "", cmd="python", args=["-c", "x = bytearray(900_000_000)"], resource_limits={"max_memory_mb": 200}
    )
    async with Machine(tmp_path) as machine:
        await machine.run(hungry)
        attempt = await machine.end_of(hungry)
    assert attempt.outcome["status"] == "failed"


@pytest.mark.parametrize("content", [b"", b"-", b'-{"boot_id"', b"-[]"])
async def test_a_folder_that_was_never_finished_is_no_attempt(tmp_path, content):
    folder = tmp_path / "spool" / str(uuid.uuid4())
    folder.mkdir(parents=True)
    (folder / "spec").write_bytes(content)
    async with Machine(tmp_path) as machine:
        assert machine.supervisor.attempts == {}
    assert not folder.exists()


async def test_what_arrives_after_its_lease_is_not_started(tmp_path):
    """Others may have it by now: the machine stood still while the dispatch lay in its socket."""
    late, again = task("echo late"), task("sleep 60")
    async with Machine(tmp_path) as machine:
        await machine.run(again)
        accepted, declined = await machine.run(late, again, lease_secs=0)
        assert [each.instance_id for each in accepted] == [again.instance_id]
        assert [(each.instance_id, each.reason) for each in declined] == [
            (late.instance_id, "its lease ran out before it arrived")
        ]
        assert late.instance_id not in machine.supervisor.attempts


@pytest.mark.parametrize("on_lease_lost", ["keep", "kill"])
async def test_what_is_still_to_begin_when_its_lease_is_over_is_given_back(tmp_path, on_lease_lost):
    late, in_time = (task("echo", start_in_ms=900, on_lease_lost=on_lease_lost) for _ in range(2))
    async with Machine(tmp_path) as machine:
        await machine.run(late, in_time, lease_secs=0.6)
        machine.supervisor.renew_leases([in_time.instance_id], until=time.monotonic() + 60)
        attempt = await machine.end_of(late)
        assert (await machine.end_of(in_time)).outcome["status"] == "completed"
    assert outcome(attempt, "status", "started_at_ms") == ("declined", None)
    assert not spool.has_started(attempt.folder)
