"""Put attempts on the disk and take them off it, on a thread: a busy disk must not hold up the event loop."""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from agents.daemon import executor, spool
from agents.daemon.attempts import HeldAttempt
from agents.daemon.journal import Journal
from agents.protocol.messages import DeclinedAttempt, DispatchedTask

logger = logging.getLogger(__name__)

# So many folders are removed before tasks that came meanwhile are taken on.
REMOVED_AT_ONCE: Final = 20
# More than the specification of any task and its journal entry take.
ROOM_BYTES: Final = 256 * 1024


class Spooling:
    """The folders of attempts and the journal of what this machine has taken on."""

    def __init__(self, directory: Path, *, cgroup_parent: str | None) -> None:
        self.folder = directory / "spool"
        self.boot_id = spool.boot_id()
        self._cgroup_parent = cgroup_parent
        self._journal = Journal(directory / "journal", boot_id=self.boot_id)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._room = directory / "room"
        self._settled: list[HeldAttempt] = []
        self.has_room = True
        self._removing: asyncio.Task[None] | None = None

    def open(self) -> dict[uuid.UUID, int]:
        """Make the folder; return unsettled attempts of earlier runs of the machine, with their tokens."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._journal.open()

    async def close(self) -> None:
        """Finish what is under way."""
        if self._removing is not None:
            await self._removing
        self._thread.shutdown()

    async def take_on(
        self, tasks: Sequence[DispatchedTask], *, received_at: float, lease_until: float
    ) -> tuple[list[HeldAttempt], list[DeclinedAttempt]]:
        """Write folders and journal; return the attempts that are safe on the disk, and what cannot be."""
        if not tasks:
            return [], []
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._write, tasks, received_at, lease_until
        )

    def look_for_room(self) -> None:
        """Find out, soon, whether there is room again on a disk that was full."""
        if not self.has_room:
            self._thread.submit(self._look_for_room)

    def discard(self, attempt: HeldAttempt) -> None:
        """Remove the folder of a settled attempt soon. What a crash leaves of it is settled once more."""
        self._settled.append(attempt)
        if self._removing is None or self._removing.done():
            self._removing = asyncio.create_task(self._remove_settled())

    async def _remove_settled(self) -> None:
        while self._settled:
            batch, self._settled = self._settled[:REMOVED_AT_ONCE], self._settled[REMOVED_AT_ONCE:]
            await asyncio.get_running_loop().run_in_executor(self._thread, self._remove, batch)

    def _look_for_room(self) -> None:
        try:
            self._room.write_bytes(bytes(ROOM_BYTES))
        except OSError:
            return
        finally:
            self._room.unlink(missing_ok=True)
        self.has_room = True
        logger.warning("the disk takes attempts again")

    def _note_no_room(self, what: str, error: OSError) -> str:
        """Take no more work until there is room; return the reason for what could not be taken on."""
        if self.has_room:
            logger.error("no new work: the agent cannot write its %s: %s", what, error.strerror)
        self.has_room = False
        return f"the agent cannot write its {what}: {error.strerror}"

    def _remove(self, batch: Sequence[HeldAttempt]) -> None:
        for attempt in batch:
            spool.remove(attempt.folder)
        self._journal.settle([attempt.instance_id for attempt in batch])

    def _write(
        self, tasks: Sequence[DispatchedTask], received_at: float, lease_until: float
    ) -> tuple[list[HeldAttempt], list[DeclinedAttempt]]:
        taken: list[HeldAttempt] = []
        problems: dict[uuid.UUID, str] = {}
        for task in tasks:
            folder = str(self.folder / str(task.instance_id))
            try:
                spec = self._spec(task, folder, received_at=received_at, lease_until=lease_until)
                spool.write_spec(folder, spec)
            except executor.CannotExecute as error:
                problems[task.instance_id] = str(error)
            except OSError as error:
                problems[task.instance_id] = self._note_no_room("spool", error)
            else:
                taken.append(_held(task, folder))
        try:
            self._journal.take_on({attempt.instance_id: attempt.token for attempt in taken})
        except OSError as error:
            reason = self._note_no_room("journal", error)
            for attempt in taken:
                spool.remove(attempt.folder)
                problems[attempt.instance_id] = reason
            taken = []
        return taken, [
            declined(task, problems[task.instance_id]) for task in tasks if task.instance_id in problems
        ]

    def _spec(
        self, task: DispatchedTask, folder: str, *, received_at: float, lease_until: float
    ) -> dict[str, Any]:
        return {
            "boot_id": self.boot_id,
            "instance_id": str(task.instance_id),
            "token": task.token,
            "argv": executor.arguments(task),
            "environment": executor.environment(task, own=os.environ, result_file=f"{folder}/{spool.RESULT}"),
            "working_dir": executor.working_directory(task, own=os.environ),
            "start_at": received_at + task.start_in_ms / 1000,
            "scheduled_at": executor.scheduled_at(task),
            "timeout_secs": executor.timeout_secs(task),
            "kill_grace_secs": task.kill_grace_secs,
            "max_output_size": executor.max_output_bytes(task),
            "resource_limits": executor.kernel_limits(task),
            "start_by": lease_until,
            "lease_until": lease_until if task.on_lease_lost == "kill" else None,
            "cgroup_parent": self._cgroup_parent,
        }


def declined(task: DispatchedTask, reason: str) -> DeclinedAttempt:
    """Return the answer that a task is not taken on."""
    return DeclinedAttempt(instance_id=task.instance_id, token=task.token, reason=reason[:1000])


def _held(task: DispatchedTask, folder: str) -> HeldAttempt:
    return HeldAttempt(
        instance_id=task.instance_id,
        token=task.token,
        folder=folder,
        is_exclusive=task.on_lease_lost == "kill",
        launched_at=time.monotonic(),
    )
