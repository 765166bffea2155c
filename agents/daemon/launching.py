"""The daemon's side of the launcher: name attempts to it, hear what their shims say, keep it alive."""

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

# An idle shim is ready at once, and costs memory.
KEPT_IDLE: Final = 4
_READ_BYTES: Final = 64 * 1024


class Launching:
    """One launcher at a time. `on_event` gets what shims say, `on_restart` is told of a new launcher."""

    def __init__(self, *, on_event: Callable[[dict[str, Any]], None], on_restart: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._pipes: dict[int, bytes] = {}
        self._events = -1
        self._work: socket.socket | None = None
        self._idle = 0
        self._least_idle = 0

    async def start(self) -> None:
        """Start a launcher, and from then on another whenever it ends."""
        self._process = await self._start_process()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Let the launcher end; shims and their commands go on."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
        if self._work is not None:
            self._work.close()
        for descriptor in list(self._pipes):
            self._close(descriptor)

    def launch(self, folders: Iterable[str]) -> None:
        """Have the attempts in `folders` supervised: by shims that are idle, or by new ones."""
        for folder in folders:
            if not self._hand_over(os.fsencode(folder)):
                assert self._process is not None  # noqa: S101
                assert self._process.stdin is not None  # noqa: S101
                self._process.stdin.write(os.fsencode(folder) + b"\n")

    def trim(self) -> None:
        """End shims that were not needed since the last call, but for a few."""
        for _ in range(self._least_idle - KEPT_IDLE):
            self._hand_over(b"")
        self._least_idle = self._idle

    def _hand_over(self, name: bytes) -> bool:
        if self._idle == 0 or self._work is None:
            return False
        try:
            self._work.send(name)
        except OSError:
            return False
        self._idle -= 1
        self._least_idle = min(self._least_idle, self._idle)
        return True

    async def _start_process(self) -> asyncio.subprocess.Process:
        reader, writer = os.pipe()
        if self._work is not None:
            self._work.close()  # the shims of the launcher before end when they have ended their attempts
        self._work, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._work.setblocking(False)
        self._idle = self._least_idle = 0
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            "-X",
            "utf8",
            str(Path(__file__).with_name("launcher.py")),
            str(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.PIPE,
            stdout=writer,
            cwd="/",
            # A command may read the environment of its shim; nothing of the daemon's is in it.
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        theirs.close()
        os.close(writer)
        os.set_blocking(reader, False)
        # The pipe outlives its launcher: it ends with the last of the shims that share it.
        self._pipes[reader] = b""
        self._events = reader
        asyncio.get_running_loop().add_reader(reader, self._on_readable, reader)
        return process

    async def _keep(self) -> None:
        while True:
            assert self._process is not None  # noqa: S101
            status = await self._process.wait()
            logger.error("the launcher ended with status %s; starting another", status)
            self._process = await self._start_process()
            self._on_restart()

    def _on_readable(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._close(descriptor)
            return
        *lines, self._pipes[descriptor] = (self._pipes[descriptor] + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("is_fit") and descriptor == self._events:
                self._idle += 1
            self._on_event(message)

    def _close(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        del self._pipes[descriptor]
