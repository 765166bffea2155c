"""One connection to a server: what is sent when, and what is done with what comes."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from agents.daemon import outbox
from agents.daemon.attempts import END_SEQ
from agents.protocol import messages
from agents.protocol.codec import MessageError, decode_frame, encode_frame
from agents.protocol.version import PROTOCOL_VERSION

if TYPE_CHECKING:
    from agents.daemon.agent import AgentDaemon

logger = logging.getLogger(__name__)

REGISTER_TIMEOUT_SECS: Final = 15.0
MAX_LOG_LINES_PER_FRAME: Final = 200
_REMEMBERED_BEATS: Final = 8
_REMEMBERED_OFFERS: Final = 1000


class Replaced(Exception):
    """The server says that a newer start of this agent has taken over."""


class Refused(Exception):
    """The server does not take this agent now."""


class Session:
    """The conversation on one socket. It ends by an exception, or by being cancelled."""

    def __init__(self, daemon: "AgentDaemon", socket: ClientConnection) -> None:
        self._daemon = daemon
        self._socket = socket
        self._wake = asyncio.Event()
        self._urgent: deque[messages.Payload] = deque()
        self._ready_due = False
        self._nonce = 0
        self._beats: dict[int, tuple[float, list[uuid.UUID]]] = {}
        self._offered_at: dict[int, float] = {}
        self._config = messages.AgentConfig(
            heartbeat_secs=5, lease_secs=30, lead_secs=2, kill_grace_secs=10, max_chunk_bytes=128 * 1024
        )
        self._round_trip_secs = 0.0
        self._passed_over: set[str] = set()
        self.reconnect_after_secs: float | None = None
        self._handlers: dict[type[messages.Payload], Callable[[Any, float], Coroutine[Any, Any, None]]] = {
            messages.Lease: self._on_lease,
            messages.Dispatch: self._on_dispatch,
            messages.Cancel: self._on_cancel,
            messages.Command: self._on_command,
            messages.Ack: self._on_ack,
            messages.Nack: self._on_nack,
            messages.Goodbye: self._on_goodbye,
        }

    async def run(self) -> None:
        """Register and talk until the connection ends (ConnectionClosed, Replaced, Refused)."""
        self._round_trip_secs = await (await self._socket.ping())
        async with asyncio.timeout(REGISTER_TIMEOUT_SECS):
            await self._register()
        tasks = [asyncio.create_task(part) for part in (self._receive(), self._send(), self._beat())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def offer_slots(self) -> None:
        """Tell the server soon how many slots are free."""
        self._ready_due = True
        self._wake.set()

    def send_soon(self, payload: messages.Payload) -> None:
        """Send a message before all reports and output."""
        self._urgent.append(payload)
        self._wake.set()

    def reconnect_soon(self) -> None:
        """End this session and begin a new one, by which the server learns what has changed."""
        self.reconnect_after_secs = 0.0
        self._closing = asyncio.get_running_loop().call_later(0.2, self._socket.transport.close)

    # --- sending ---------------------------------------------------------------------------------------

    async def _register(self) -> None:
        daemon, supervisor = self._daemon, self._daemon.supervisor
        held = [
            messages.HeldAttempt(
                instance_id=attempt.instance_id,
                token=attempt.token,
                status=attempt.status,
                output_size=messages.OutputSizes(**attempt.sizes),
            )
            for attempt in supervisor.attempts.values()
        ]
        sent_at = time.monotonic()
        await self._socket.send(encode_frame(daemon.registration(protocol=PROTOCOL_VERSION, attempts=held)))
        while True:
            payload, received_at = await self._next_message()
            if isinstance(payload, messages.Goodbye):
                self.reconnect_after_secs = payload.reconnect_after_ms / 1000
                raise Replaced if payload.reason == "replaced" else Refused(payload.reason)
            if isinstance(payload, messages.Registered):
                break
        self._config = payload.config
        daemon.registered(payload)
        await self._take_on(
            payload.resend, received_at=received_at, lease_until=sent_at + payload.config.lease_secs
        )
        self.offer_slots()

    async def _beat(self) -> None:
        while True:
            self._daemon.supervisor.sweep()
            self._urgent.appendleft(self._daemon.heartbeat(self._next_nonce()))
            self.offer_slots()
            await asyncio.sleep(self._config.heartbeat_secs)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (frame := self._next_frame()) is not None:
                await self._socket.send(frame)

    def _next_frame(self) -> str | None:
        """Return the most urgent: heartbeats and answers, then reports, output, log lines; or None."""
        daemon = self._daemon
        if self._urgent:
            payload = self._urgent.popleft()
            if isinstance(payload, messages.Heartbeat):
                # The lease runs from the moment of sending, on our steady clock.
                self._beats[payload.nonce] = (time.monotonic(), [a.instance_id for a in payload.attempts])
                while len(self._beats) > _REMEMBERED_BEATS:
                    del self._beats[min(self._beats)]
            return encode_frame(payload)
        if self._ready_due:
            self._ready_due = False
            return encode_frame(self._offer())
        frame_id = str(uuid.uuid4())
        if daemon.outbox.has_next:
            reports = daemon.outbox.take(frame_id)
            # The server counts a slot as free when it hears of the end, so the offer goes right behind that.
            if outbox.instances(reports, seq=END_SEQ):
                self._ready_due = True
            return encode_frame(messages.Report(reports=reports), frame_id=frame_id)
        if daemon.output.has_next:
            chunks = daemon.output.take(frame_id, max_bytes=self._config.max_chunk_bytes)
            if chunks:
                return encode_frame(messages.Output(chunks=chunks), frame_id=frame_id)
        if lines := daemon.log_lines.take(MAX_LOG_LINES_PER_FRAME):
            return encode_frame(messages.Log(lines=lines))
        return None

    def _offer(self) -> messages.Ready:
        ready = messages.Ready(nonce=self._next_nonce(), slots=self._daemon.offered_slots)
        self._offered_at[ready.nonce] = time.monotonic()
        if len(self._offered_at) > _REMEMBERED_OFFERS:
            del self._offered_at[next(iter(self._offered_at))]
        return ready

    def _next_nonce(self) -> int:
        self._nonce += 1
        return self._nonce

    # --- receiving -------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            try:
                payload, received_at = await self._next_message()
            except MessageError as error:
                logger.error("the server sent what this agent does not understand: %s", error)
                continue
            handler = self._handlers.get(type(payload))
            if handler is not None:
                await handler(payload, received_at)

    async def _next_message(self) -> tuple[messages.Payload, float]:
        """Return the next message of a kind that is known here, and when it came; raise MessageError."""
        while True:
            text = await self._socket.recv()
            received_at = time.monotonic()
            try:
                return decode_frame(text, messages.SERVER_MESSAGES).payload, received_at
            except MessageError as error:
                if error.code != "unknown_kind":
                    raise
                # A later server may say more. It is nothing to answer, nor to tell at every message.
                if error.detail not in self._passed_over:
                    self._passed_over.add(error.detail)
                    logger.info("passed over what a later server says: %s", error.detail)

    async def _on_lease(self, lease: messages.Lease, _received_at: float) -> None:
        sent_at, named = self._beats.pop(lease.nonce, (0.0, []))
        self._daemon.supervisor.renew_leases(named, until=sent_at + lease.ttl_ms / 1000)
        for attempt in lease.kill:
            self._daemon.kill(attempt.instance_id)

    async def _on_dispatch(self, dispatch: messages.Dispatch, received_at: float) -> None:
        # Where this machine stood still, the frame has lain here, and others may have its tasks by now. Its
        # lease began after the offer that it answers, and of that we know when it was.
        offered_at = self._offered_at.get(dispatch.nonce, received_at - self._measured_round_trip_secs)
        await self._take_on(
            dispatch.tasks, received_at=received_at, lease_until=offered_at + dispatch.lease_ttl_ms / 1000
        )

    async def _take_on(
        self, tasks: list[messages.DispatchedTask], *, received_at: float, lease_until: float
    ) -> None:
        if not tasks:
            return
        accepted, declined = await self._daemon.take_on(
            tasks,
            received_at=received_at - self._measured_round_trip_secs / 2,
            lease_until=lease_until,
        )
        self.send_soon(messages.Accepted(attempts=accepted, declined=declined))
        if declined:
            self.offer_slots()

    @property
    def _measured_round_trip_secs(self) -> float:
        # The smallest is the wire's; the others have somebody's waiting in them.
        latest = self._socket.latency
        if latest > 0:
            self._round_trip_secs = min(self._round_trip_secs, latest)
        return self._round_trip_secs

    async def _on_cancel(self, cancel: messages.Cancel, _received_at: float) -> None:
        attempt = self._daemon.supervisor.attempts.get(cancel.instance_id)
        if attempt is not None and attempt.token == cancel.token:
            self._daemon.supervisor.stop_attempt(
                cancel.instance_id, status="cancelled", reason=cancel.reason, grace_secs=cancel.grace_secs
            )

    async def _on_command(self, command: messages.Command, _received_at: float) -> None:
        self.send_soon(await self._daemon.commands.run(command))

    async def _on_ack(self, ack: messages.Ack, _received_at: float) -> None:
        daemon = self._daemon
        stored = {(offset.instance_id, offset.stream): offset.offset for offset in ack.offsets}
        for frame_id in ack.ids:
            for instance_id in outbox.instances(daemon.outbox.acknowledge(frame_id), seq=END_SEQ):
                daemon.end_is_durable(instance_id)
            for attempt in daemon.output.acknowledge(frame_id, stored):
                daemon.settle_if_done(attempt)
        for stale in ack.stale:
            daemon.drop(stale.instance_id, grace_secs=self._config.kill_grace_secs)
        self._wake.set()

    async def _on_nack(self, nack: messages.Nack, _received_at: float) -> None:
        logger.error("the server refused a message: %s: %s", nack.code, nack.detail)
        if nack.id is not None:
            self._daemon.refused(nack.id, nack.detail)
        self._wake.set()

    async def _on_goodbye(self, goodbye: messages.Goodbye, _received_at: float) -> None:
        logger.info("the server says goodbye: %s", goodbye.reason)
        # Whether somebody took our place for good is what the next registration tells.
        self.reconnect_after_secs = min(1.0, goodbye.reconnect_after_ms / 1000)
        with contextlib.suppress(ConnectionClosed):
            await self._socket.close()
