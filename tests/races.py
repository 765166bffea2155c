"""Several database connections that do something at the same moment."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection

LIMIT_SECS = 30
_SOMEBODY_WAITS = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND backend_type = 'client backend' AND datname = current_database())"
)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each of `works` on a thread and a connection of its own, all released together; return results."""
    barrier = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def run(number: int, work: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(LIMIT_SECS)
            results[number] = work()
        except BaseException as error:  # noqa: BLE001 (raised again below, in the test's own thread)
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECS)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results


def start_until_it_waits(work: Callable[[], Any]) -> Future[Any]:
    """Start `work` on a thread and a connection of its own; return when it waits for a lock, held by us."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    executor = ThreadPoolExecutor(max_workers=1)
    future = executor.submit(run)
    executor.shutdown(wait=False)
    deadline = time.monotonic() + LIMIT_SECS
    while not _somebody_waits():
        assert not future.done(), future.result()
        assert time.monotonic() < deadline
    return future


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        # A transaction sees the activity as it was when it first looked.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(_SOMEBODY_WAITS)
        (waits,) = cursor.fetchone()
    return bool(waits)
