"""The daemon's side of the launcher: name attempts to it, hear what their shims say, keep it alive."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

_READ_BYTES: Final = 64 * 1024


class Launching:
    """One launcher at a time. `on_event` gets what shims say, `on_restart` is told of a new launcher."""

    def __init__(self, *, on_event: Callable[[dict[str, Any]], None], on_restart: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._pipes: dict[int, bytes] = {}

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
        for descriptor in list(self._pipes):
            self._close(descriptor)

    def launch(self, folders: Iterable[str]) -> None:
        """Have shims forked for the attempts in `folders`."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b"".join(os.fsencode(folder) + b"\n" for folder in folders))

    async def _start_process(self) -> asyncio.subprocess.Process:
        reader, writer = os.pipe()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            "-X",
            "utf8",
            str(Path(__file__).with_name("launcher.py")),
            stdin=asyncio.subprocess.PIPE,
            stdout=writer,
            cwd="/",
            # A command may read the environment of its shim; nothing of the daemon's is in it.
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        os.close(writer)
        os.set_blocking(reader, False)
        # The pipe outlives its launcher: it ends with the last of the shims that share it.
        self._pipes[reader] = b""
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
            self._on_event(json.loads(line))

    def _close(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        del self._pipes[descriptor]
