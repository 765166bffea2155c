"""What an operator can ask of a daemon through the server."""

import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from agents.daemon.config import MAX_SLOTS
from agents.protocol.messages import Command, CommandResult

if TYPE_CHECKING:
    from agents.daemon.agent import AgentDaemon


class CommandRefused(Exception):
    """The command cannot be carried out; the message says why."""


class Commands:
    """Commands by name; each returns what is answered, or raises CommandRefused."""

    def __init__(self, daemon: "AgentDaemon") -> None:
        self._daemon = daemon
        self._known: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "shutdown": self._shutdown,
            "drain": self._drain,
            "resume": self._resume,
            "update_config": self._update_config,
            "clear_cache": self._clear_cache,
            "fetch_metrics": self._fetch_metrics,
            "cancel_task": self._cancel_task,
        }

    async def run(self, command: Command) -> CommandResult:
        """Carry a command out and return the answer to it."""
        handler = self._known.get(command.command)
        try:
            if handler is None:
                raise CommandRefused(f"unknown command; known are {', '.join(sorted(self._known))}")
            result = await handler(command.parameters)
        except CommandRefused as error:
            return CommandResult(command_id=command.command_id, ok=False, error=str(error))
        return CommandResult(command_id=command.command_id, ok=True, result=result)

    async def _shutdown(self, _parameters: dict[str, Any]) -> dict[str, Any]:
        running = self._daemon.supervisor.in_hand
        self._daemon.stop_soon()
        return {"stopping": True, "left_running": running}

    async def _drain(self, _parameters: dict[str, Any]) -> dict[str, Any]:
        self._daemon.drain()
        return {"status": "draining", "running": self._daemon.supervisor.in_hand}

    async def _resume(self, _parameters: dict[str, Any]) -> dict[str, Any]:
        self._daemon.resume()
        return {"status": "accepting", "slots": self._daemon.supervisor.slots}

    async def _update_config(self, parameters: dict[str, Any]) -> dict[str, Any]:
        unknown = parameters.keys() - {"max_concurrent_tasks"}
        if unknown or not parameters:
            raise CommandRefused('expected {"max_concurrent_tasks": N}; other settings need a restart')
        slots = parameters["max_concurrent_tasks"]
        if type(slots) is not int or not 1 <= slots <= MAX_SLOTS:
            raise CommandRefused(f"max_concurrent_tasks must be a whole number from 1 to {MAX_SLOTS}")
        self._daemon.change_slots(slots)
        return {"max_concurrent_tasks": slots}

    async def _clear_cache(self, _parameters: dict[str, Any]) -> dict[str, Any]:
        # Nothing is kept but attempts in hand; what goes is what a crash may have left of others.
        return {"removed_folders": self._daemon.supervisor.remove_strays()}

    async def _fetch_metrics(self, _parameters: dict[str, Any]) -> dict[str, Any]:
        supervisor = self._daemon.supervisor
        return {
            **msgspec.to_builtins(self._daemon.machine.metrics()),
            "running": supervisor.in_hand,
            "slots": supervisor.slots,
            "attempts_held": len(supervisor.attempts),
            "reports_waiting": len(self._daemon.outbox),
        }

    async def _cancel_task(self, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            instance_id = uuid.UUID(str(parameters.get("instance_id") or parameters.get("task_instance_id")))
        except ValueError:
            raise CommandRefused('expected {"instance_id": "<uuid>"}') from None
        grace_secs = parameters.get("grace_secs", 10)
        if not isinstance(grace_secs, int | float) or not 0 <= grace_secs <= 3600:
            raise CommandRefused("grace_secs must be a number from 0 to 3600")
        found = self._daemon.supervisor.stop_attempt(
            instance_id, status="cancelled", reason="cancelled by command", grace_secs=float(grace_secs)
        )
        if not found:
            raise CommandRefused("no such attempt runs on this agent")
        return {"instance_id": str(instance_id), "stopping": True}
