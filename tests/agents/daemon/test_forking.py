"""Commands that fork and fork: none gets away, and the machine's process table does not fill."""

import contextlib
import os
import uuid
from pathlib import Path

import pytest

from agents.daemon import processes
from tests.agents.daemon.test_supervisor import Machine, is_alive, task

# Fifty at a time, each of which lives for as long as a fork takes: who looks for it finds its child's child.
FORK_BOMB = """
import os, time
MARKER = "{marker}"
for _ in range(50):
    if os.fork() == 0:
        while True:
            if os.fork():
                os._exit(0)
time.sleep(60)
"""


@pytest.mark.parametrize("use_cgroups", [True, False])
async def test_no_fork_bomb_outlives_its_attempt(tmp_path, use_cgroups):
    marker = f"bomb-{uuid.uuid4()}"
    bomb = task("", cmd="python", args=["-c", FORK_BOMB.format(marker=marker)], timeout_secs=1)
    async with Machine(tmp_path, use_cgroups=use_cgroups) as machine:
        await machine.run(bomb)
        attempt = await machine.end_of(bomb)
    assert (attempt.outcome["status"], processes_with(marker)) == ("timeout", [])


async def test_orphans_of_a_command_do_not_stay_as_zombies_while_it_runs(tmp_path):
    left = tmp_path / "left"
    one = task(f"for i in {{1..100}}; do (true &); done; echo > {left}; exec sleep 60")
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        await machine.until(left.exists)
        await machine.until(lambda: [p for p in processes.descendants(os.getpid()) if not is_alive(p)] == [])


def processes_with(marker):
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            found += [path.name] if marker.encode() in (path / "cmdline").read_bytes() else []
    return found
