"""Hints of other processes, by LISTEN on a connection of its own; without them, all happens a poll later."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import psycopg
from django.db import connection

from gateway.workers import in_database_thread
from scheduling import hints

logger = logging.getLogger(__name__)

RECONNECT_AFTER_SECS: Final = 1.0
# A connection that a firewall forgot is silent for ever; asking is the only way to find out.
CHECK_EVERY_SECS: Final = 30.0
CHECK_TIMEOUT_SECS: Final = 10.0


async def listen(on_hint: Callable[[str], None], on_gap: Callable[[], None]) -> None:
    """Call `on_hint` with each hint's text for ever, and `on_gap` where some may have been missed."""
    is_away = False
    while True:
        try:
            parameters = await in_database_thread(_connection_parameters)
            async with await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as listener:
                await listener.execute(f"LISTEN {hints.CHANNEL}")
                is_away = False
                while True:
                    on_gap()
                    async for notification in listener.notifies(timeout=CHECK_EVERY_SECS):
                        on_hint(notification.payload)
                    async with asyncio.timeout(CHECK_TIMEOUT_SECS):
                        await listener.execute("SELECT 1")
        except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
            if not is_away:
                logger.warning("no hints from the database, polling: %s", error)
            is_away = True
        await asyncio.sleep(RECONNECT_AFTER_SECS)


def _connection_parameters() -> dict[str, Any]:
    """Return Django's parameters that libpq knows; the others are Django's own."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return {name: value for name, value in connection.get_connection_params().items() if name in known}
