"""Threads for the ORM, and batches that share one crossing to them.

Channels runs all synchronous work of a process on one thread; one slow query there holds up every socket.
The gateway therefore has threads of its own, each with its own database connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

THREADS: Final = 4
RETRY_AFTER_SECS: Final = 0.5
BUSY_FACTOR: Final = 3.0

_executor = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="gateway-db")
# What says that this server is alive never waits behind other work.
vital_executor: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway-vital")


T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_database_thread(work: Callable[[], T], *, executor: Executor = _executor) -> T:
    """Run `work` on one of the gateway's database threads and return what it returns."""
    return await asyncio.get_running_loop().run_in_executor(executor, _call, work)


def _call(work: Callable[[], T]) -> T:
    try:
        return work()
    except (OperationalError, InterfaceError):
        # The connection may be dead; the next call opens a new one.
        connection.close()
        raise


async def wait_for_event(event: asyncio.Event, limit_secs: float) -> None:
    """Wait until `event` is set, at most `limit_secs`.

    Not by `asyncio.wait_for`: Python 3.11's forgets that it was cancelled where the event is set just then.
    """
    try:
        async with asyncio.timeout(limit_secs):
            await event.wait()
    except TimeoutError:
        return


async def run_for_ever(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run `loop`, and start it again should an error end it: without one of its loops a server is dead."""
    while True:
        try:
            await loop()
        except Exception:
            logger.exception("%s failed and starts again", name)
        await asyncio.sleep(RETRY_AFTER_SECS)


class Batcher(Generic[Item, Result]):
    """Collects items while a batch is under way and hands them over together when that is done.

    `apply` runs on a database thread with at most `limit` items; `done` gets the items and its result on the
    event loop. While the database is away, the batch waits and is tried again. A batch that the database
    refuses is split until the item at fault is alone, which `refused` gets (I11).

    A batch costs far more than an item. Where one has just ended, the next one therefore waits `gather_secs`
    for more items; what comes after a quiet while is applied at once.
    """

    def __init__(
        self,
        *,
        apply: Callable[[list[Item]], Result],
        done: Callable[[list[Item], Result], Awaitable[None]],
        refused: Callable[[Item, Exception], Awaitable[None]],
        limit: int,
        gather_secs: float = 0.0,
    ) -> None:
        self._apply = apply
        self._done = done
        self._refused = refused
        self._limit = limit
        self._gather_secs = gather_secs
        self._items: list[Item] = []
        self._wake = asyncio.Event()

    def put(self, item: Item) -> None:
        """Add one item; what bounds the number of waiting items is the senders' credit window."""
        self._items.append(item)
        self._wake.set()

    async def run(self) -> None:
        """Apply batches for ever."""
        loop = asyncio.get_running_loop()
        busy_until = 0.0
        while True:
            await self._wake.wait()
            if loop.time() < busy_until and len(self._items) < self._limit:
                await asyncio.sleep(self._gather_secs)
            batch, self._items = self._items[: self._limit], self._items[self._limit :]
            if not self._items:
                self._wake.clear()
            if batch:
                await self._apply_batch(batch)
            busy_until = loop.time() + BUSY_FACTOR * self._gather_secs

    async def _apply_batch(self, batch: list[Item]) -> None:
        is_away = False
        while True:
            try:
                result = await in_database_thread(lambda: self._apply(batch))
            except (OperationalError, InterfaceError) as error:
                if not is_away:
                    logger.warning("database away, %s items wait: %s", len(batch), error)
                is_away = True
                await asyncio.sleep(RETRY_AFTER_SECS)
            except Exception as error:  # noqa: BLE001 (`_split` logs it)
                await self._split(batch, error)
                return
            else:
                break
        try:
            await self._done(batch, result)
        except Exception:
            logger.exception("an answer could not be sent")

    async def _split(self, batch: list[Item], error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._apply_batch(batch[:middle])
            await self._apply_batch(batch[middle:])
            return
        if isinstance(error, DatabaseError | ValueError | OverflowError):
            logger.warning("refused by the database: %s", error)
        else:
            logger.error("could not be applied", exc_info=error)
        try:
            await self._refused(batch[0], error)
        except Exception:
            logger.exception("a refusal could not be sent")
