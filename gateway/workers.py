"""Threads for the ORM, and batches that share one crossing to them.

Channels runs all synchronous work of a process on one thread; one slow query there holds up every socket.
The gateway therefore has threads of its own, each with its own database connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

THREADS: Final = 4
RETRY_AFTER_SECS: Final = 0.5

_executor = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="gateway-db")


T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_database_thread(work: Callable[[], T]) -> T:
    """Run `work` on one of the gateway's database threads and return what it returns."""
    return await asyncio.get_running_loop().run_in_executor(_executor, _call, work)


def _call(work: Callable[[], T]) -> T:
    try:
        return work()
    except (OperationalError, InterfaceError):
        # The connection may be dead; the next call opens a new one.
        connection.close()
        raise


class Batcher(Generic[Item, Result]):
    """Collects items while a batch is under way and hands them over together when that is done.

    `apply` runs on a database thread with at most `limit` items; `done` gets the items and its result on the
    event loop. While the database is away, the batch waits and is tried again. A batch that the database
    refuses is split until the item at fault is alone, which `refused` gets (I11).
    """

    def __init__(
        self,
        *,
        apply: Callable[[list[Item]], Result],
        done: Callable[[list[Item], Result], Awaitable[None]],
        refused: Callable[[Item, Exception], Awaitable[None]],
        limit: int,
    ) -> None:
        self._apply = apply
        self._done = done
        self._refused = refused
        self._limit = limit
        self._items: list[Item] = []
        self._wake = asyncio.Event()

    def put(self, item: Item) -> None:
        """Add one item; what bounds the number of waiting items is the senders' credit window."""
        self._items.append(item)
        self._wake.set()

    async def run(self) -> None:
        """Apply batches for ever."""
        while True:
            await self._wake.wait()
            batch, self._items = self._items[: self._limit], self._items[self._limit :]
            if not self._items:
                self._wake.clear()
            if batch:
                await self._apply_batch(batch)

    async def _apply_batch(self, batch: list[Item]) -> None:
        while True:
            try:
                result = await in_database_thread(lambda: self._apply(batch))
            except (OperationalError, InterfaceError) as error:
                logger.warning("database away, %s items wait: %s", len(batch), error)
                await asyncio.sleep(RETRY_AFTER_SECS)
            except (DatabaseError, ValueError, TypeError, OverflowError) as error:
                if len(batch) == 1:
                    logger.exception("refused by the database")
                    await self._refused(batch[0], error)
                else:
                    middle = len(batch) // 2
                    await self._apply_batch(batch[:middle])
                    await self._apply_batch(batch[middle:])
                return
            else:
                await self._done(batch, result)
                return
