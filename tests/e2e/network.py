"""A network between agents and servers that can be made bad: a TCP relay on a thread of its own."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from tests.e2e.frames import FrameStream, Piece
from tests.processes import free_port

Way = Literal["up", "down"]
BOTH: Final[tuple[Way, Way]] = ("up", "down")
_READ_BYTES: Final = 64 * 1024
_SLICES_PER_SEC: Final = 20


@dataclass(eq=False)
class _Link:
    """One connection: its end at the agent, its end at the server, and what it may carry before it is cut."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    left: int | None

    def abort(self) -> None:
        self.near.transport.abort()
        self.far.transport.abort()


class Relay:
    """Carries connections from `port` to `target`, the port of a server; "up" is the way from the agent.

    Everything public may be set and called at any moment, from any thread.
    """

    def __init__(self, target: int, *, cut_after_bytes: tuple[int, int] | None = None, seed: int = 0) -> None:
        self.port = free_port()
        # Of the connections that are made from now on.
        self.target = target
        self.cut_after_bytes = cut_after_bytes
        self.refuses = False
        # Of each piece that passes: a WebSocket message, or what is read at once of anything else.
        self.cut_frames = 0.0
        self.twice: frozenset[Way] = frozenset()
        self.delay_secs = 0.0
        self.bytes_per_sec: float | None = None
        self.recorded: list[tuple[Way, str]] | None = None
        self.cuts = 0
        self._random = random.Random(seed)  # noqa: S311
        self._loop = asyncio.new_event_loop()
        self._gates: dict[Way, asyncio.Event] = {way: asyncio.Event() for way in BOTH}
        self._links: set[_Link] = set()

    # --- what tests do to it ---------------------------------------------------------------------------

    def heal(self) -> None:
        """Let everything pass from now on, as it is and at once."""
        self.cut_after_bytes = self.bytes_per_sec = None
        self.refuses = False
        self.cut_frames = self.delay_secs = 0.0
        self.twice = frozenset()
        self.release()

    def cut(self) -> None:
        """Cut all connections that there are."""
        self._on_loop(self._cut)

    def hold(self, *ways: Way) -> None:
        """Let nothing pass on these ways, nor the news that an end has closed; of new connections neither."""
        self._on_loop(lambda: [self._gates[way].clear() for way in ways or BOTH])

    def release(self, *ways: Way) -> None:
        """Let everything pass on these ways, first what was held back."""
        self._on_loop(lambda: [self._gates[way].set() for way in ways or BOTH])

    @contextlib.contextmanager
    def parted(self) -> Iterator[None]:
        """Cut all connections and refuse new ones for the length of a `with` block."""
        self.refuses = True
        self.cut()
        try:
            yield
        finally:
            self.refuses = False

    @contextlib.contextmanager
    def held(self, *ways: Way) -> Iterator[None]:
        """Hold these ways for the length of a `with` block."""
        self.hold(*ways)
        try:
            yield
        finally:
            self.release(*ways)

    def record(self) -> None:
        """Keep the text of every message from now on in `recorded`, as it is sent to either end."""
        self.recorded = []

    # --- its thread ------------------------------------------------------------------------------------

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
        for gate in self._gates.values():
            gate.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", self.port))
        self._loop.call_soon(started.set)
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # so that the sockets are closed
        self._loop.close()

    def _on_loop(self, work: Callable[[], object]) -> None:
        async def call() -> None:
            work()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _cut(self) -> None:
        self.cuts += len(self._links)
        for link in self._links:
            link.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = self._random.randint(*self.cut_after_bytes) if self.cut_after_bytes else None
        try:
            if self.refuses:
                return
            # Streams complain of a connection whose task is cancelled, as the end of the relay does.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target)
                await self._join(reader, onward_reader, _Link(near=writer, far=onward_writer, left=budget))
        finally:
            writer.transport.abort()

    async def _join(self, near: asyncio.StreamReader, far: asyncio.StreamReader, link: _Link) -> None:
        self._links.add(link)
        try:
            if not self.refuses:
                await asyncio.gather(
                    self._copy("up", near, link.far, link), self._copy("down", far, link.near, link)
                )
        finally:
            self._links.discard(link)
            link.abort()

    async def _copy(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link
    ) -> None:
        frames = FrameStream()
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                for piece in frames.feed(data):
                    await self._gates[way].wait()
                    await self._pass(way, piece, writer, link)
        # That one end has closed is news on its way to the other.
        await self._gates[way].wait()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def _pass(self, way: Way, piece: Piece, writer: asyncio.StreamWriter, link: _Link) -> None:
        await asyncio.sleep(self.delay_secs)
        data = piece.raw
        if piece.text is not None:
            times = 1 + (way in self.twice)
            data *= times
            if self.recorded is not None:
                self.recorded += [(way, piece.text)] * times
        passes = self._before_the_cut(piece, len(data), link)
        await self._write(data[:passes], writer)
        if passes < len(data):
            self.cuts += 1
            link.abort()

    def _before_the_cut(self, piece: Piece, size: int, link: _Link) -> int:
        """Return how many of `size` bytes pass before the connection is cut, all where it is not."""
        if piece.is_frame and self._random.random() < self.cut_frames:
            return self._random.randrange(size)
        if self.cut_after_bytes is None or link.left is None:
            return size
        passes = min(size, link.left)
        link.left -= passes
        return passes

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        step = len(data) or 1
        if self.bytes_per_sec is not None:
            step = max(1, int(self.bytes_per_sec / _SLICES_PER_SEC))
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await writer.drain()
            if self.bytes_per_sec is not None:
                await asyncio.sleep(1 / _SLICES_PER_SEC)
