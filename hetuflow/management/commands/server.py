"""`manage.py server`"""

import asyncio
import signal
from typing import Any

from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server
from django.core.management.base import BaseCommand, CommandParser
from twisted.internet import reactor

from agents.protocol import version
from gateway.runtime import running_runtime
from hetuflow.asgi import application


class Command(BaseCommand):
    help = "Serve REST, the admin and the sockets of agents until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        server = Server(
            application=application,
            endpoints=build_endpoint_description_strings(host=options["host"], port=options["port"]),
            signal_handlers=False,
            # Daphne would close sockets after a day, or when the wall clock jumps; our heartbeats decide.
            websocket_timeout=-1,
            ping_interval=version.PING_INTERVAL_SECS,
            ping_timeout=version.PING_TIMEOUT_SECS,
            server_name="hetuflow",
            verbosity=0,
        )
        reactor.callWhenRunning(_start)
        server.run()


_tasks: set[asyncio.Task[None]] = set()


def _start() -> None:
    """Start the gateway's loops at once, not with the first agent, and stop them on a signal."""
    loop = asyncio.get_event_loop()
    _tasks.add(loop.create_task(_run()))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: _tasks.add(loop.create_task(_stop())))


async def _run() -> None:
    await running_runtime()


async def _stop() -> None:
    runtime = await running_runtime()
    await runtime.stop()
    reactor.stop()  # type: ignore[misc]
