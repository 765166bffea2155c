"""Daphne as Hetuflow runs it: the gateway starts and stops with it, and any close code can be sent."""

import asyncio
import logging
import signal
from typing import Any, Final

from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor

from agents.protocol import version
from gateway.runtime import running_runtime, stop_runtime
from hetuflow.asgi import application

logger = logging.getLogger(__name__)

STOP_TIMEOUT_SECS: Final = 5.0


class _Protocol(WebSocketProtocol):  # type: ignore[misc]
    """Sends the close codes that the agent protocol names; autobahn lets an application send few of them."""

    def serverClose(self, code: int | None = None) -> None:
        self.sendCloseFrame(code=1000 if code is None else code, isReply=False)


class AsgiServer(Server):  # type: ignore[misc]
    """One server process. `exit_code` says how it ended: 1 where it could not start."""

    def __init__(self, *, host: str, port: int) -> None:
        super().__init__(
            application=application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            signal_handlers=False,
            # Daphne would close sockets after a day, or when the wall clock jumps; our heartbeats decide.
            websocket_timeout=-1,
            ping_interval=version.PING_INTERVAL_SECS,
            ping_timeout=version.PING_TIMEOUT_SECS,
            server_name="hetuflow",
            verbosity=0,
        )
        self.exit_code = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until a signal, or until the gateway or the port fails."""
        WebSocketFactory.protocol = _Protocol
        reactor.callWhenRunning(self._on_running)
        super().run()

    def listen_error(self, failure: Any) -> None:
        """End the process where the port cannot be had."""
        logger.critical("cannot listen: %s", failure.getErrorMessage())
        self.exit_code = 1
        self.stop()

    def _on_running(self) -> None:
        loop = asyncio.get_event_loop()
        self._spawn(self._start())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: self._spawn(self._stop()))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_event_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        try:
            await running_runtime()
        except Exception:
            logger.exception("the gateway cannot start")
            self.exit_code = 1
            self.stop()

    async def _stop(self) -> None:
        """Say goodbye to the agents, as long as that takes no longer than they would wait; then end."""
        try:
            await asyncio.wait_for(stop_runtime(), STOP_TIMEOUT_SECS)
        except Exception:
            logger.exception("the gateway did not stop in good order")
        self.stop()
