"""Daphne as Hetuflow runs it: it starts and stops the gateway, and no peer can make it grow without bound."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from autobahn.websocket.types import ConnectionDeny
from daphne import http_protocol
from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor

from agents.protocol import version
from gateway.runtime import running_runtime, stop_runtime
from hetuflow.asgi import application
from hetuflow.http_requests import BoundedRequest
from hetuflow.response_headers import DATA_POLICY

logger = logging.getLogger(__name__)

STOP_TIMEOUT_SECS: Final = 5.0
EXIT_TIMEOUT_SECS: Final = 7.0
# Daphne looks at its sockets every two seconds, so a ping leaves that much later than asked.
CHECK_EVERY_SECS: Final = 2.0
# Messages that wait for the application; more of them, and the peer is made to wait by TCP.
MAX_WAITING_MESSAGES: Final = 64
MAX_WAITING_BYTES: Final = 512 * 1024
# What a peer has not read yet: no honest one is this far behind.
MAX_UNSENT_BYTES: Final = 8 * 1024 * 1024
# Far more than any library makes of the largest message; empty frames would count for nothing else.
MAX_FRAMES_OF_A_MESSAGE: Final = 1024


class _Unsent:
    """Counts what a peer does not read; Twisted tells it when the socket's buffer is full and when empty."""

    def __init__(self) -> None:
        self.is_full = False
        self.size = 0

    def pauseProducing(self) -> None:
        self.is_full = True

    def resumeProducing(self) -> None:
        self.is_full = False
        self.size = 0

    def stopProducing(self) -> None:
        self.is_full = True


class _Request(BoundedRequest):
    """A request; one that never came to Django is refused in plain text, with headers as good as Django's."""

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        headers = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Security-Policy", DATA_POLICY.encode()),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Cache-Control", b"no-store"),
        ]
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        text = f"{status} {status_text.decode()}: {body}\n"
        self.handle_reply({"type": "http.response.body", "body": text.encode()})


class _Protocol(WebSocketProtocol):  # type: ignore[misc]
    """A socket with the close codes of the agent protocol and bounds for what waits in either direction."""

    def connectionMade(self) -> None:
        # A close code tells the peer what was wrong; autobahn would only drop the connection.
        self.failByDrop = False
        self._unsent = _Unsent()
        self._waiting_messages = 0
        self._waiting_bytes = 0
        self._opened = self._last_heard = time.monotonic()
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        # A Deferred whose result is this very object would keep it until the next full garbage collection,
        # with all that was half received or not sent; the server's own list still does for a moment.
        self.is_closed = None
        self.data = b""
        self.message_data: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_CONNECTING and hasattr(self, "handshake_deferred"):
            # Nobody may speak before the handshake is answered; autobahn would store all that comes.
            self.data += data
            self.transport.pauseProducing()
        else:
            super().dataReceived(data)

    def onOpen(self) -> None:
        # Twisted's HTTP channel is still registered from before the upgrade, and does nothing useful here.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self._unsent, True)
        self.transport.resumeProducing()
        super().onOpen()

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        if len(self.message_data) > MAX_FRAMES_OF_A_MESSAGE and not self.failedByMe:
            self._max_message_size_exceeded(0, 0, "too many frames for one message")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._last_heard = time.monotonic()
        self._waiting_messages += 1
        self._waiting_bytes += len(payload)
        if self._has_too_much_waiting:
            self.transport.pauseProducing()
        super().onMessage(payload, isBinary)

    def message_taken(self, message: dict[str, Any]) -> None:
        """Note that the application has taken a message; read on where the peer had to wait for that."""
        if message["type"] != "websocket.receive":
            return
        had_too_much = self._has_too_much_waiting
        text = message.get("text")
        self._waiting_messages -= 1
        self._waiting_bytes -= len(message["bytes"] if text is None else text.encode())
        if had_too_much and not self._has_too_much_waiting and self.transport is not None:
            self.transport.resumeProducing()

    def serverSend(self, content: Any, binary: bool = False) -> None:
        if self.state != self.STATE_OPEN:
            return  # the socket is going down; autobahn would raise, at the cost of whoever is served besides
        super().serverSend(content, binary)

    def sendData(self, data: bytes, *how: Any) -> None:
        """Send bytes; every answer to a ping counts, too, where the peer does not read."""
        if self._unsent.is_full:
            self._unsent.size += len(data)
            if self._unsent.size > MAX_UNSENT_BYTES:
                logger.warning("%s does not read what it is sent and was disconnected", self.client_addr)
                self.dropConnection(abort=True)
                return
        super().sendData(data, *how)

    def serverClose(self, code: int | None = None) -> None:
        self.sendCloseFrame(code=1000 if code is None else code, isReply=False)

    def handle_reply(self, message: dict[str, Any]) -> None:
        is_refusal = message["type"] == "websocket.close" and self.state == self.STATE_CONNECTING
        if is_refusal and message.get("code") == version.CLOSE_TRY_LATER:
            self._deny(503, "Try again later")
        elif is_refusal:
            self._deny(403, "Access denied")
        else:
            super().handle_reply(message)

    def serverReject(self) -> None:
        """Refuse a handshake that took too long, which says nothing about the peer's rights."""
        self._deny(503, "Try again later")

    def check_timeouts(self) -> None:
        """Ping a peer that is silent; by the steady clock, where Daphne would use the wall's."""
        now = time.monotonic()
        if self.state == self.STATE_CONNECTING:
            if now - self._opened > self.server.websocket_connect_timeout:
                self.serverReject()
        elif (
            self.state == self.STATE_OPEN
            and self.autoPingPending is None
            and now - self._last_heard > version.PING_INTERVAL_SECS
        ):
            self._sendAutoPing()

    @property
    def _has_too_much_waiting(self) -> bool:
        return self._waiting_messages > MAX_WAITING_MESSAGES or self._waiting_bytes > MAX_WAITING_BYTES

    def _deny(self, status: int, reason: str) -> None:
        if not hasattr(self, "handshake_deferred"):
            return
        denial = ConnectionDeny(code=status, reason=reason)  # type: ignore[no-untyped-call]
        self.handshake_deferred.errback(denial)
        del self.handshake_deferred
        self.server.protocol_disconnected(self)


async def _application(
    scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]
) -> None:
    """Serve a connection, and tell its protocol of each message that the application took."""
    taken: Callable[[dict[str, Any]], None] | None = scope.pop("message_taken", None)

    async def receive_and_tell() -> dict[str, Any]:
        message: dict[str, Any] = await receive()
        if taken is not None:
            taken(message)
        return message

    await application(scope, receive if taken is None else receive_and_tell, send)


class AsgiServer(Server):  # type: ignore[misc]
    """One server process. `exit_code` says how it ended: 1 where it could not start."""

    def __init__(self, *, host: str, port: int) -> None:
        super().__init__(
            application=_application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            signal_handlers=False,
            # Daphne would close sockets after a day, or when the wall clock jumps; our heartbeats decide.
            websocket_timeout=-1,
            ping_interval=version.PING_INTERVAL_SECS,
            ping_timeout=version.PING_TIMEOUT_SECS - CHECK_EVERY_SECS,
            server_name="hetuflow",
            verbosity=0,
        )
        self.exit_code = 0
        self._is_stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until a signal, or until the port cannot be had."""
        WebSocketFactory.protocol = _Protocol
        http_protocol.WebRequest = _Request
        reactor.callWhenRunning(self._on_running)
        super().run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for a connection; a socket learns which of its messages were taken."""
        if isinstance(protocol, _Protocol):
            scope["message_taken"] = protocol.message_taken
        return super().create_application(protocol, scope)

    def listen_error(self, failure: Any) -> None:
        """End the process where the port cannot be had."""
        logger.critical("cannot listen: %s", failure.getErrorMessage())
        self.exit_code = 1
        self.stop()

    def _on_running(self) -> None:
        loop = asyncio.get_event_loop()
        loop.call_soon(running_runtime)  # the loop does not run yet
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        # Should the event loop itself hang.
        watchdog = threading.Timer(EXIT_TIMEOUT_SECS, os._exit, [1])
        watchdog.daemon = True
        watchdog.start()
        task = asyncio.get_event_loop().create_task(self._stop())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        """Say goodbye to the agents, as long as that takes no longer than they would wait; then end."""
        try:
            await asyncio.wait_for(stop_runtime(), STOP_TIMEOUT_SECS)
        except Exception:
            logger.exception("the gateway did not stop in good order")
        self.stop()
