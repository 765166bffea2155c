"""A network between agents and servers that can be made bad: a TCP relay on a thread of its own."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator

from tests.processes import free_port


class Relay:
    """Carries connections from `port` to `target`; each is cut after so many bytes, wherever that is."""

    def __init__(self, target: int, *, cut_after_bytes: tuple[int, int] | None = None, seed: int = 0) -> None:
        self.port = free_port()
        self.target = target
        self.cut_after_bytes = cut_after_bytes
        self.cuts = 0
        self._random = random.Random(seed)  # noqa: S311
        self._loop = asyncio.new_event_loop()
        self._ends: set[asyncio.StreamWriter] = set()

    def heal(self) -> None:
        """Let the connections from now on live."""
        self.cut_after_bytes = None

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        started = threading.Event()
        thread = threading.Thread(target=self._run, args=(started,))
        thread.start()
        assert started.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", self.port))
        self._loop.call_soon(started.set)
        self._loop.run_forever()
        server.close()
        for end in self._ends:
            end.transport.abort()
        self._loop.run_until_complete(self._until_all_are_gone())
        self._loop.close()

    async def _until_all_are_gone(self) -> None:
        while self._ends:  # noqa: ASYNC110 (the ends are many)
            await asyncio.sleep(0.01)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        budget = self._random.randint(*self.cut_after_bytes) if self.cut_after_bytes else None
        left = [budget]
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
        else:
            self._ends.add(onward_writer)
            ways = [(reader, onward_writer), (onward_reader, writer)]
            await asyncio.gather(*(self._copy(*way, left, writer, onward_writer) for way in ways))
            self._ends.discard(onward_writer)
        self._ends.discard(writer)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[int | None],
        *both: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                if left[0] is not None and len(data) > left[0]:
                    writer.write(data[: left[0]])
                    self.cuts += 1
                    break
                if left[0] is not None:
                    left[0] -= len(data)
                writer.write(data)
                await writer.drain()
        for end in both:
            end.transport.abort()
