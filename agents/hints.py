"""Wake-up hints between processes, by PostgreSQL's NOTIFY.

A hint says where to look, never what happened: rows are the truth, and whoever misses a hint finds them at
the next poll. Hints leave after the commit, in a statement of their own, because a NOTIFY inside a
transaction takes a lock that serialises all commits which carry one.
"""

import logging
import uuid
from typing import Final

from django.db import InterfaceError, OperationalError, connection, transaction

logger = logging.getLogger(__name__)

CHANNEL: Final = "hetuflow"
SESSION: Final = "session"


def session_changed(agent_id: uuid.UUID) -> None:
    """Tell all servers that the agent's session has moved, is to be closed, or its rights have changed."""
    leave(f"{SESSION} {agent_id}")


def leave(payload: str) -> None:
    """Send a hint once the transaction commits."""
    transaction.on_commit(lambda: _notify(payload), robust=True)


def _notify(payload: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
    except (OperationalError, InterfaceError) as error:
        # The database went away behind the commit. What was committed is found at the next poll.
        logger.warning("the hint %r is lost: %s", payload, error)
