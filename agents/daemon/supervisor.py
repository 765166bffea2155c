"""Take attempts on, have shims run them, and know how each of them stands."""

import asyncio
import json
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from agents.daemon import cgroups, link, processes, recovery, spool, spooling
from agents.daemon.attempts import NEVER_STARTED, SUPERVISOR_DIED, HeldAttempt, unknown_outcome
from agents.daemon.launching import Launching
from agents.daemon.spooling import Spooling
from agents.protocol.messages import AttemptRef, DeclinedAttempt, DispatchedTask

logger = logging.getLogger(__name__)

# A shim that is neither heard of nor holds its lock this long after its launch is dead.
SILENCE_SECS: Final = 5.0
_BACKLOG: Final = 4096
_MESSAGE_BYTES: Final = 64 * 1024


class Supervisor:
    """The attempts of this machine. Everything runs on the event loop, slow disk work on a thread."""

    def __init__(
        self,
        directory: Path,
        *,
        slots: int,
        use_cgroups: bool,
        on_start: Callable[[HeldAttempt], None],
        on_output: Callable[[HeldAttempt], None],
        on_end: Callable[[HeldAttempt], None],
    ) -> None:
        self.attempts: dict[uuid.UUID, HeldAttempt] = {}
        self.slots = slots
        self._directory = directory
        self._cgroups = cgroups.find_parent() if use_cgroups else None
        self._on_start, self._on_output, self._on_end = on_start, on_output, on_end
        self._spooling = Spooling(directory, cgroup_parent=self._cgroups)
        self._launching = Launching(on_event=self._on_pipe, on_restart=self._launch_again)
        self._socket: socket.socket | None = None

    # --- start and stop --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open for shims, find what an earlier daemon left, and begin."""
        earlier = self._spooling.open()
        self._listen()
        await self._launching.start()
        for found in recovery.recover(self._spooling.folder, earlier, boot_id=self._spooling.boot_id):
            self.attempts[found.instance_id] = found
            if found.outcome is not None:
                self._end(found, found.outcome)
            elif spool.is_supervised(found.folder):
                continue  # its shim will connect
            elif spool.has_started(found.folder):
                self._conclude(found)
            else:
                self._launch([found])
        if self.attempts:
            logger.info("%s attempts of an earlier start are still in hand", len(self.attempts))

    async def stop(self) -> None:
        """Stop listening and launching; shims and their commands go on."""
        loop = asyncio.get_running_loop()
        await self._launching.stop()
        for attempt in self.attempts.values():
            if attempt.link is not None:
                self._unlink(attempt)
        if self._socket is not None:
            loop.remove_reader(self._socket.fileno())
            self._socket.close()
        await self._spooling.close()

    # --- what the session asks -------------------------------------------------------------------------

    @property
    def free_slots(self) -> int:
        """How many more attempts may run now (I10): none while the disk takes no more."""
        return max(0, self.slots - self.in_hand) if self._spooling.has_room else 0

    @property
    def in_hand(self) -> int:
        """How many attempts wait for their instant or run."""
        return sum(not attempt.has_ended for attempt in self.attempts.values())

    async def take_on(
        self, tasks: Sequence[DispatchedTask], *, received_at: float, lease_until: float
    ) -> tuple[list[AttemptRef], list[DeclinedAttempt]]:
        """Take tasks on for their instants; return which were accepted, on disk, and which were not.

        One that is in hand already is accepted again and not started again. One whose lease is over is not
        started: the server has given it up, or is about to.
        """
        accepted: list[AttemptRef] = []
        declined: list[DeclinedAttempt] = []
        fresh: list[DispatchedTask] = []
        free = self.free_slots
        for task in tasks:
            held = self.attempts.get(task.instance_id)
            if held is not None:
                accepted.append(AttemptRef(instance_id=task.instance_id, token=held.token))
            elif time.monotonic() >= lease_until:
                declined.append(spooling.declined(task, "its lease ran out before it arrived"))
            elif len(fresh) >= free:
                declined.append(spooling.declined(task, "no free slot"))
            else:
                fresh.append(task)
        taken, problems = await self._spooling.take_on(
            fresh, received_at=received_at, lease_until=lease_until
        )
        for attempt in taken:
            self.attempts[attempt.instance_id] = attempt
            accepted.append(AttemptRef(instance_id=attempt.instance_id, token=attempt.token))
        self._launch(taken)
        return accepted, declined + problems

    def stop_attempt(
        self, instance_id: uuid.UUID, *, status: str, reason: str, grace_secs: float | None
    ) -> bool:
        """Ask the shim of an attempt to end it; False where no such attempt is alive here.

        The grace is that of the attempt's job where none is given.
        """
        attempt = self.attempts.get(instance_id)
        if attempt is None or attempt.has_ended:
            return False
        if not attempt.is_asked_to_stop:
            # The server asks again with each lease.
            attempt.is_asked_to_stop = True
            _log(logging.INFO, attempt, "attempt %s: asked to stop: %s", reason)
        self._order(attempt, {"do": "stop", "status": status, "reason": reason, "grace_secs": grace_secs})
        return True

    def renew_leases(self, instance_ids: Iterable[uuid.UUID], *, until: float) -> None:
        """Let attempts begin, and exclusive ones run on, until that moment of the monotonic clock."""
        for instance_id in instance_ids:
            attempt = self.attempts.get(instance_id)
            if attempt is None or attempt.has_ended:
                continue
            if attempt.is_exclusive or attempt.started_at_ms is None:
                self._order(attempt, {"do": "lease", "until": until})

    def drop(self, instance_id: uuid.UUID, *, grace_secs: float) -> None:
        """Forget an attempt that the server does not want: at once if it has ended, else after ending it."""
        attempt = self.attempts.get(instance_id)
        if attempt is None:
            return
        if attempt.has_ended:
            self.settle(attempt)
            return
        attempt.is_unwanted = True
        self.stop_attempt(
            instance_id, status="cancelled", reason="the server does not want it", grace_secs=grace_secs
        )

    def settle(self, attempt: HeldAttempt) -> None:
        """Let go of an attempt: the server has everything."""
        self.attempts.pop(attempt.instance_id, None)
        self._spooling.discard(attempt)

    def sweep(self) -> None:
        """Notice shims that died without a word, and clean up; called every few seconds."""
        now = time.monotonic()
        for attempt in list(self.attempts.values()):
            if attempt.has_ended or attempt.link is not None or now < attempt.launched_at + SILENCE_SECS:
                continue
            if not spool.is_supervised(attempt.folder):
                self._conclude(attempt)
        self._launching.trim()
        self._spooling.look_for_room()

    def remove_strays(self) -> int:
        """Delete folders in the spool that belong to no attempt in hand; return how many there were."""
        strays = [
            path
            for path in self._spooling.folder.iterdir()
            if path.name not in {str(key) for key in self.attempts} and not spool.is_supervised(str(path))
        ]
        for path in strays:
            spool.remove(str(path))
        return len(strays)

    # --- launching -------------------------------------------------------------------------------------

    def _launch(self, attempts: Sequence[HeldAttempt]) -> None:
        now = time.monotonic()
        for attempt in attempts:
            attempt.launched_at = now
        self._launching.launch(attempt.folder for attempt in attempts)

    def _launch_again(self) -> None:
        """Launch what a launcher that was killed may not have launched; a second shim would find a lock."""
        self._launch(
            [
                attempt
                for attempt in self.attempts.values()
                if not attempt.has_ended and attempt.link is None and not spool.has_started(attempt.folder)
            ]
        )

    # --- shims -----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        path = self._directory / link.SOCKET
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = os.open(self._directory, os.O_PATH | os.O_DIRECTORY)
        try:
            self._socket.bind(f"/proc/self/fd/{folder}/{link.SOCKET}")
        finally:
            os.close(folder)
        path.chmod(0o600)
        self._socket.setblocking(False)
        self._socket.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._on_connect)

    def _on_connect(self) -> None:
        assert self._socket is not None  # noqa: S101
        while True:
            try:
                client, _ = self._socket.accept()
            except (BlockingIOError, ConnectionError):
                return
            client.setblocking(False)
            asyncio.get_running_loop().add_reader(client.fileno(), self._on_hello, client)

    def _on_hello(self, client: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(client.fileno())
        message = _receive(client)
        attempt = self.attempts.get(uuid.UUID(message["id"])) if message else None
        if message is None or attempt is None:
            client.close()
            return
        if attempt.link is not None:
            self._unlink(attempt)
        attempt.link = client
        asyncio.get_running_loop().add_reader(client.fileno(), self._on_message, attempt, client)
        self._note_state(attempt, message)
        waiting, attempt.orders = attempt.orders, []
        for order in waiting:
            self._order(attempt, order)

    def _on_message(self, attempt: HeldAttempt, client: socket.socket) -> None:
        try:
            message = _receive(client)
        except BlockingIOError:
            return
        if message is not None:
            self._on_event(attempt, message)
            return
        self._unlink(attempt)
        if not attempt.has_ended and not spool.is_supervised(attempt.folder):
            self._conclude(attempt)

    def _on_pipe(self, message: dict[str, Any]) -> None:
        attempt = self.attempts.get(uuid.UUID(message["id"]))
        if attempt is not None and not attempt.has_ended:
            self._on_event(attempt, message)

    def _on_event(self, attempt: HeldAttempt, message: dict[str, Any]) -> None:
        if "ended" in message:
            self._conclude(attempt)
        elif "output" in message:
            self._look_at_output(attempt)
            self._on_output(attempt)
        else:
            if "log" in message:
                _log(logging.INFO, attempt, "attempt %s: %s", message["log"])
            self._note_state(attempt, message)

    def _note_state(self, attempt: HeldAttempt, state: dict[str, Any]) -> None:
        if state["started_at_ms"] is not None and attempt.started_at_ms is None:
            attempt.started_at_ms, attempt.start_delay_ms = state["started_at_ms"], state["start_delay_ms"]
            self._on_start(attempt)

    def _conclude(self, attempt: HeldAttempt) -> None:
        """Take down how an attempt ended whose shim is gone."""
        outcome = spool.read_exit(attempt.folder)
        if outcome is None:
            now_ms = time.time_ns() // 1_000_000
            if spool.prevent_start(attempt.folder):
                # Nobody executed it, and from now on nobody can: the server may give it to another agent.
                outcome = unknown_outcome(NEVER_STARTED, at_ms=now_ms) | {"status": "declined"}
            else:
                _log(logging.ERROR, attempt, "the supervisor of attempt %s was killed")
                self._end_orphans(attempt)
                outcome = unknown_outcome(SUPERVISOR_DIED, at_ms=now_ms)
            try:
                spool.write_exit(attempt.folder, outcome)
            except OSError as error:
                _log(logging.WARNING, attempt, "the outcome of attempt %s is not on disk: %s", error)
        self._end(attempt, outcome)

    def _end(self, attempt: HeldAttempt, outcome: dict[str, Any]) -> None:
        if attempt.link is not None:
            self._unlink(attempt)
        self._note_state(attempt, outcome)
        attempt.outcome = outcome
        if outcome["status"] != "completed":
            how = (outcome["status"], outcome["error_message"])
            _log(logging.INFO, attempt, "attempt %s has ended as %s: %s", *how)
        self._look_at_output(attempt)
        if attempt.is_unwanted:
            self.settle(attempt)
        else:
            self._on_end(attempt)

    def _end_orphans(self, attempt: HeldAttempt) -> None:
        if self._cgroups is not None:
            group = f"{self._cgroups}/{attempt.instance_id}"
            cgroups.kill(group)
            cgroups.remove(group, limit_secs=0.1)
        processes.send_signal(processes.marked(str(attempt.instance_id)), signal.SIGKILL)

    def _order(self, attempt: HeldAttempt, order: dict[str, Any]) -> None:
        """Send an order to a shim, or keep it until the shim connects."""
        if attempt.link is None:
            attempt.orders.append(order)
            return
        try:
            attempt.link.send(json.dumps(order).encode())
        except OSError as error:
            _log(logging.WARNING, attempt, "attempt %s cannot be told yet: %s", error)
            attempt.orders.append(order)

    def _unlink(self, attempt: HeldAttempt) -> None:
        if attempt.link is not None:
            asyncio.get_running_loop().remove_reader(attempt.link.fileno())
            attempt.link.close()
            attempt.link = None

    def _look_at_output(self, attempt: HeldAttempt) -> None:
        attempt.sizes = spool.output_sizes(attempt.folder)


def _log(level: int, attempt: HeldAttempt, text: str, *details: object) -> None:
    """Log a line about an attempt, by whose id the server finds it; the id is the text's first argument."""
    logger.log(level, text, attempt.instance_id, *details, extra={"instance_id": attempt.instance_id})


def _receive(client: socket.socket) -> dict[str, Any] | None:
    """Return the next message of a shim; None where the connection has ended."""
    try:
        data = client.recv(_MESSAGE_BYTES)
    except ConnectionError:
        return None
    return json.loads(data) if data else None
