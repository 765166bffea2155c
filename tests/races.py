"""Several database connections that do something at the same moment."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

LIMIT_SECS = 30


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
