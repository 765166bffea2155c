"""Orders to connected agents, whichever server holds their session: a row and a hint, then the answer."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, get_args

from django.db import close_old_connections, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from access import audit
from access.actors import SYSTEM, Actor
from access.sentences import said as _
from agents import services as agent_services
from agents.errors import AgentOffline, AgentTimeout, CommandRefused
from agents.models import Agent
from gateway.models import AgentCommand, Connection, Server
from gateway.operators import queue_command
from scheduling import hints
from scheduling.clock import database_now
from scheduling.services import by_hand, rescue

CommandName = Literal[
    "shutdown", "update_config", "clear_cache", "fetch_metrics", "cancel_task", "drain", "resume"
]
COMMANDS: Final[tuple[CommandName, ...]] = get_args(CommandName)
FIRST_LOOK_SECS: Final = 0.02
LONGEST_LOOK_SECS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Which agents acknowledged a message, and which did not: offline, refusing or silent ones."""

    acknowledged: list[uuid.UUID]
    failed: list[uuid.UUID]


def run_command(
    *,
    agent_id: uuid.UUID,
    command: str,
    parameters: dict[str, Any],
    timeout_secs: float,
    by: Actor = SYSTEM,
) -> AgentCommand:
    """Send a command to a connected agent, wait for its answer and return that.

    Must not run in a transaction, and holds no database connection while it waits. Raises AgentOffline,
    AgentTimeout (a command that no server has sent by then never will be), CommandRefused.
    """
    if not is_connected(agent_id):
        raise AgentOffline
    row = queue_command(
        agent_id=agent_id,
        command=command,
        parameters=parameters,
        timeout_secs=timeout_secs,
        by=by,
        now=database_now(),
    )
    answers = _wait_for_answers([row.pk], timeout_secs)
    if not answers:
        raise AgentTimeout(_("The agent did not answer within %(secs)s seconds.", secs=f"{timeout_secs:g}"))
    if not answers[0].ok:
        raise CommandRefused(answers[0].error or None)
    return answers[0]


def broadcast(
    *,
    targets: Sequence[uuid.UUID] | None,
    command: str,
    parameters: dict[str, Any],
    timeout_secs: float,
    by: Actor = SYSTEM,
) -> Broadcast:
    """Send a command to `targets`, or to all connected agents, wait for their answers and say who gave one.

    Waits as `run_command` does, until all have answered or the time is over.
    """
    connected = set(live_connections().values_list("agent_id", flat=True))
    wanted = connected if targets is None else set(targets)
    now = database_now()
    agents = list(Agent.objects.filter(pk__in=wanted & connected, archived_at__isnull=True).order_by("pk"))
    after = {"command": command, "parameters": parameters}
    with transaction.atomic():
        rows = AgentCommand.objects.bulk_create(
            AgentCommand(
                agent=agent,
                command=command,
                parameters=parameters,
                timeout_secs=timeout_secs,
                created_at=now,
            )
            for agent in agents
        )
        audit.record_all(
            audit.entry(by=by, action="agent.command", subject=agent, after=after) for agent in agents
        )
    for row in rows:
        hints.command_queued(row.agent_id)
    answers = _wait_for_answers([row.pk for row in rows], timeout_secs)
    acknowledged = {answer.agent_id for answer in answers if answer.ok}
    return Broadcast(acknowledged=sorted(acknowledged), failed=sorted(wanted - acknowledged))


def live_connections() -> QuerySet[Connection]:
    """Sessions that a server which is alive holds and nobody has asked to close."""
    return Connection.objects.filter(server__in=live_servers(), close_requested_at__isnull=True)


def live_servers() -> QuerySet[Server]:
    """Servers whose heartbeat is fresh."""
    alive_since = Now() - timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS)
    return Server.objects.filter(last_heartbeat_at__gte=alive_since)


def is_connected(agent_id: uuid.UUID) -> bool:
    """Whether the agent has a live session."""
    return live_connections().filter(agent_id=agent_id).exists()


def close_session_of(*, agent_id: uuid.UUID, by: Actor = SYSTEM) -> None:
    """Ask the server that holds the agent's session to close it; the agent may come back."""
    with transaction.atomic():
        agent = Agent.objects.get(pk=agent_id)
        Connection.objects.filter(agent_id=agent_id).update(close_requested_at=database_now())
        audit.record(by=by, action="agent.disconnect", subject=agent)
        hints.session_changed(agent_id)


def remove_agent(*, agent_id: uuid.UUID, by: Actor = SYSTEM) -> None:
    """Disconnect an agent, revoke its tokens, requeue what it was running and archive it.

    Two transactions, because reports lock attempts before their agent: once the agent is archived nothing
    is claimed for it, and should this process end in between, leases give back what it was running. Raises
    Agent.DoesNotExist.
    """
    now = database_now()
    with transaction.atomic():
        Connection.objects.filter(agent_id=agent_id).update(close_requested_at=now)
        agent_services.archive_agent(agent_id=agent_id, now=now, by=by)
        hints.session_changed(agent_id)
    by_hand.requeue_attempts_of(agent_id=agent_id, now=now, reason="The agent was removed.")


def _wait_for_answers(command_ids: Sequence[uuid.UUID], timeout_secs: float) -> list[AgentCommand]:
    """Return the answers that came in time; commands that no server has sent by then are taken back."""
    deadline = time.monotonic() + timeout_secs
    pause = FIRST_LOOK_SECS
    commands = AgentCommand.objects.filter(pk__in=list(command_ids))
    while True:
        answers = list(commands.filter(answered_at__isnull=False))
        left = deadline - time.monotonic()
        if len(answers) == len(command_ids):
            return answers
        if left <= 0:
            commands.filter(sent_at__isnull=True).delete()
            return answers
        # The pool's connections are for those who work, not for those who wait.
        close_old_connections()
        time.sleep(min(pause, left))
        pause = min(pause * 2, LONGEST_LOOK_SECS)
