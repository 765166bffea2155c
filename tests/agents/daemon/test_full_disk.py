"""The supervisor on a disk that is full: it takes nothing on, and what ends keeps its result."""

import asyncio
import errno
import os

from agents.daemon import processes
from tests.agents.daemon.test_supervisor import Machine, task


def no_room(*_arguments, **_more):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_while_the_disk_is_full_no_slot_is_offered(tmp_path, monkeypatch):
    async def scenario():
        async with Machine(tmp_path) as machine:
            with monkeypatch.context() as full:
                full.setattr("agents.daemon.spool._write", no_room)
                full.setattr("pathlib.Path.write_bytes", no_room)
                accepted, (declined,) = await machine.run(task("true"))
                machine.supervisor.sweep()
                assert accepted == []
                assert declined.reason == "the agent cannot write its spool: No space left on device"
                assert machine.supervisor.free_slots == 0
            await machine.until(lambda: machine.supervisor.free_slots == 8)
            await machine.run(again := task("true"))
            assert (await machine.end_of(again)).outcome["status"] == "completed"

    asyncio.run(scenario())


def test_a_result_for_which_there_is_no_room_waits_until_there_is(tmp_path):
    async def scenario():
        async with Machine(tmp_path) as machine:
            await machine.run(waiting := task("sleep 0.3"))
            await machine.until(lambda: waiting.instance_id in machine.started)
            (in_the_way := tmp_path / "spool" / str(waiting.instance_id) / "exit.json.tmp").mkdir()
            await machine.until(lambda: not processes.marked(str(waiting.instance_id)))
            assert waiting.instance_id not in machine.ended
            in_the_way.rmdir()
            assert (await machine.end_of(waiting)).outcome["status"] == "completed"

    asyncio.run(scenario())
