"""What the log of an agent tells of a command that is stopped."""

import re

from tests.agents.daemon.test_supervisor import Machine, task


async def test_the_log_tells_how_a_stopped_tree_ends(tmp_path, caplog):
    caplog.set_level("INFO", logger="agents.daemon.supervisor")
    ready = tmp_path / "ready"
    stubborn = f"(trap '' TERM; touch {ready}; while :; do sleep 0.05; done) & "
    one = task(f"{stubborn} exec sleep 60", kill_grace_secs=1.5)
    async with Machine(tmp_path / "agent") as machine:
        await machine.run(one)
        await machine.until(ready.exists)
        await machine.until(lambda: machine.supervisor.attempts[one.instance_id].link)
        machine.supervisor.stop_attempt(
            one.instance_id, status="cancelled", reason="cancelled by ann", grace_secs=None
        )
        await machine.end_of(one)
        lines = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    assert lines[0] == "asked to stop: cancelled by ann"
    assert re.fullmatch(r"cancelled by ann: SIGTERM to \d processes, SIGKILL in 1.5 s", lines[1])
    assert any(re.fullmatch(r"SIGKILL to \d process(es)?", line) for line in lines)
    assert any(line.startswith("all processes have ended") for line in lines)
    assert {record.instance_id for record in caplog.records} == {one.instance_id}
