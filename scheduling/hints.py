"""Wake-up hints between processes, by PostgreSQL's NOTIFY.

A hint says where to look, never what happened: rows are the truth, and whoever misses a hint finds them at
the next poll. Hints leave after the commit, in a statement of their own, because a NOTIFY inside a
transaction takes a lock that serialises all commits which carry one.
"""

import uuid
from typing import Final

from django.db import connection, transaction

CHANNEL: Final = "hetuflow"
TASKS: Final = "tasks"
CANCEL: Final = "cancel"
COMMAND: Final = "command"
SESSION: Final = "session"


def tasks_became_claimable() -> None:
    """Tell the dispatch pumps that a task may be due, once the transaction commits."""
    transaction.on_commit(lambda: _notify(TASKS), robust=True)


def cancel_requested(agent_id: uuid.UUID) -> None:
    """Tell the server that holds the agent's session to look for attempts to cancel."""
    transaction.on_commit(lambda: _notify(f"{CANCEL} {agent_id}"), robust=True)


def command_queued(agent_id: uuid.UUID) -> None:
    """Tell the server that holds the agent's session to look for commands."""
    transaction.on_commit(lambda: _notify(f"{COMMAND} {agent_id}"), robust=True)


def session_changed(agent_id: uuid.UUID) -> None:
    """Tell all servers that the agent's session has moved, is to be closed, or its rights have changed."""
    transaction.on_commit(lambda: _notify(f"{SESSION} {agent_id}"), robust=True)


def _notify(payload: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
