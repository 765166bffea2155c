import asyncio

import pytest
from django.db import DataError, OperationalError

from gateway import workers
from gateway.workers import Batcher


async def outcome(apply, items, *, limit=10):
    """Put `items` into a batcher and return what became of each, when something became of all."""
    done, refused, finished = [], [], asyncio.Event()

    def note():
        if len(done) + len(refused) == len(items):
            finished.set()

    async def on_done(batch, _result):
        done.extend(batch)
        note()

    async def on_refused(item, _error):
        refused.append(item)
        note()

    batcher = Batcher(apply=apply, done=on_done, refused=on_refused, limit=limit)
    for item in items:
        batcher.put(item)
    running = asyncio.create_task(batcher.run())
    async with asyncio.timeout(10):
        await finished.wait()
    running.cancel()
    return done, refused


async def test_items_that_wait_share_batches_up_to_the_limit():
    batches = []
    done, refused = await outcome(batches.append, list(range(25)))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert (done, refused) == (list(range(25)), [])


@pytest.mark.parametrize("error", [DataError, ValueError, KeyError, RecursionError])
async def test_one_bad_item_is_refused_alone(error):
    def apply(batch):
        if 6 in batch:
            raise error("six")

    done, refused = await outcome(apply, list(range(10)))
    assert (sorted(done), refused) == ([0, 1, 2, 3, 4, 5, 7, 8, 9], [6])


async def test_a_batch_waits_for_the_database_and_loses_nothing(monkeypatch):
    monkeypatch.setattr(workers, "RETRY_AFTER_SECS", 0.01)
    attempts = []

    def apply(batch):
        attempts.append(batch)
        if len(attempts) < 4:
            raise OperationalError("away")

    assert await outcome(apply, [1, 2, 3]) == ([1, 2, 3], [])
    assert len(attempts) == 4


async def test_items_that_come_while_there_is_much_to_do_are_gathered_into_one_batch():
    batches, applied = [], asyncio.Queue()

    async def on_done(batch, _result):
        await applied.put(batch)

    batcher = Batcher(apply=batches.append, done=on_done, refused=on_done, limit=10, gather_secs=0.5)
    running = asyncio.create_task(batcher.run())
    begin = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        batcher.put(1)
        assert await applied.get() == [1]
        assert (
            asyncio.get_running_loop().time() - begin < 0.5
        )  # nothing had just ended, so nothing was waited for
        for item in (2, 3):
            batcher.put(item)
            await asyncio.sleep(0)
        assert await applied.get() == [2, 3]
    running.cancel()
