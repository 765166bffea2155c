"""Orders to connected agents, whichever server holds their session: a row and a hint, then the answer."""

import time
import uuid
from datetime import timedelta
from typing import Any, Final, Literal, get_args

from django.db import close_old_connections, transaction

from agents import services as agent_services
from agents.errors import AgentOffline, AgentTimeout, CommandRefused
from gateway.models import AgentCommand, Connection
from scheduling import hints
from scheduling.clock import database_now
from scheduling.services import by_hand, rescue

CommandName = Literal[
    "shutdown", "update_config", "clear_cache", "fetch_metrics", "cancel_task", "drain", "resume"
]
COMMANDS: Final[tuple[CommandName, ...]] = get_args(CommandName)
FIRST_LOOK_SECS: Final = 0.02
LONGEST_LOOK_SECS: Final = 0.25


def run_command(
    *, agent_id: uuid.UUID, command: str, parameters: dict[str, Any], timeout_secs: float
) -> AgentCommand:
    """Send a command to a connected agent, wait for its answer and return that.

    Must not run in a transaction, and holds no database connection while it waits. Raises AgentOffline,
    AgentTimeout (a command that no server has sent by then never will be), CommandRefused.
    """
    if not is_connected(agent_id):
        raise AgentOffline
    row = AgentCommand.objects.create(
        agent_id=agent_id,
        command=command,
        parameters=parameters,
        timeout_secs=timeout_secs,
        created_at=database_now(),
    )
    hints.command_queued(agent_id)
    answer = _wait_for_answer(row.pk, timeout_secs)
    if answer is None:
        AgentCommand.objects.filter(pk=row.pk, sent_at__isnull=True).delete()
        raise AgentTimeout(f"The agent did not answer within {timeout_secs:g} seconds.")
    if not answer.ok:
        raise CommandRefused(answer.error or None)
    return answer


def is_connected(agent_id: uuid.UUID) -> bool:
    """Whether a server that is alive holds a session of the agent."""
    alive_since = database_now() - timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS)
    return Connection.objects.filter(
        agent_id=agent_id, server__last_heartbeat_at__gte=alive_since, close_requested_at__isnull=True
    ).exists()


def remove_agent(*, agent_id: uuid.UUID) -> None:
    """Disconnect an agent, revoke its tokens, requeue what it was running and archive it.

    One transaction; locks the agent. Raises Agent.DoesNotExist.
    """
    now = database_now()
    with transaction.atomic():
        agent_services.archive_agent(agent_id=agent_id, now=now)
        by_hand.requeue_attempts_of(agent_id=agent_id, now=now, reason="The agent was removed.")
        Connection.objects.filter(agent_id=agent_id).update(close_requested_at=now)
        hints.session_changed(agent_id)


def _wait_for_answer(command_id: uuid.UUID, timeout_secs: float) -> AgentCommand | None:
    deadline = time.monotonic() + timeout_secs
    pause = FIRST_LOOK_SECS
    while True:
        answer = AgentCommand.objects.filter(pk=command_id, answered_at__isnull=False).first()
        left = deadline - time.monotonic()
        if answer is not None or left <= 0:
            return answer
        # The pool's connections are for those who work, not for those who wait.
        close_old_connections()
        time.sleep(min(pause, left))
        pause = min(pause * 2, LONGEST_LOOK_SECS)
