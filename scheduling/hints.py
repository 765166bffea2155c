"""Wake-up hints about work; those about sessions, and how hints travel, are in `agents.hints`."""

import uuid
from typing import Final

from agents.hints import CHANNEL as CHANNEL
from agents.hints import leave
from agents.hints import session_changed as session_changed

TASKS: Final = "tasks"
CANCEL: Final = "cancel"
COMMAND: Final = "command"


def tasks_became_claimable() -> None:
    """Tell the dispatch pumps that a task may be due, once the transaction commits."""
    leave(TASKS)


def cancel_requested(agent_id: uuid.UUID) -> None:
    """Tell the server that holds the agent's session to look for attempts to cancel."""
    leave(f"{CANCEL} {agent_id}")


def command_queued(agent_id: uuid.UUID) -> None:
    """Tell the server that holds the agent's session to look for commands."""
    leave(f"{COMMAND} {agent_id}")
