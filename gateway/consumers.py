"""The socket of an agent: authenticate before accepting, then one method for each message."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

import uuid_utils.compat
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError

from access.callers import address_of_socket
from agents.errors import TokenRefused
from agents.models import AgentToken
from agents.protocol import codec, messages, version
from agents.tokens import authenticate_token
from gateway import runtime as gateway_runtime
from gateway import services
from gateway.dispatch import fail_undeliverable
from gateway.inbound import Facts, Received
from gateway.session import AgentSession, split_for_frames
from gateway.workers import Batcher, in_database_thread
from scheduling.attempts import ReportedFact
from scheduling.clock import database_now
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk
from scheduling.states import InstanceStatus

logger = logging.getLogger(__name__)

_BEARER: Final = b"bearer "
# Daphne drops a connection without a word when its handshake takes 5 s.
_HANDSHAKE_LIMIT_SECS: Final = 4.0
# Of one agent at a time: each may have sent half of a message already, which is kept.
MAX_UNREGISTERED_SOCKETS: Final = 16
Content = TypeVar("Content")


async def agent_socket(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Serve one socket of an agent, as an ASGI application."""
    await AgentConsumer(scope, send).run(receive)


async def refuse_socket(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Refuse a socket on a path that has none, as an ASGI application."""
    await receive()
    await send({"type": "websocket.close"})


class AgentConsumer:
    """One agent's socket, whole life. Rows and batches are the runtime's; this reads and answers frames.

    It is no consumer of Channels, whose loop costs two tasks and a look at the database connections for each
    message; see the measurements in `docs/performance.md`.
    """

    def __init__(self, scope: dict[str, Any], send: Callable[..., Any]) -> None:
        self._scope = scope
        self._send = send
        self._session: AgentSession | None = None
        self._is_closing = False
        self._deadline: asyncio.TimerHandle | None = None

    async def run(self, receive: Callable[..., Any]) -> None:
        """Read messages until the socket is gone; whatever happens, the session ends with it."""
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                if message["type"] == "websocket.connect":
                    await self._connect()
                elif not self._is_closing:
                    await self._receive(message)
        except Exception:
            logger.exception("socket of agent %s failed", self._session and self._session.agent_id)
            await self._close(version.CLOSE_INTERNAL)
        finally:
            self._leave()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(_HANDSHAKE_LIMIT_SECS):
                self._runtime = gateway_runtime.running_runtime()
                await self._runtime.until_ready()
                token = await in_database_thread(self._authenticate)
        except TokenRefused:
            await self._close(version.CLOSE_POLICY)  # before the handshake is accepted: HTTP 403
            return
        except (DatabaseError, InterfaceError, TimeoutError):
            await self._close(version.CLOSE_TRY_LATER)  # HTTP 503 where the ASGI server can
            return
        if self._runtime.unregistered[token.agent_id] >= MAX_UNREGISTERED_SOCKETS:
            await self._close(version.CLOSE_TRY_LATER)
            return
        self._session = AgentSession(
            agent_id=token.agent_id,
            token_id=token.pk,
            session_id=uuid_utils.compat.uuid7(),
            send_text=self._send_text,
            close_socket=self._close,
            remote_address=address_of_socket(self._scope),
        )
        self._runtime.unregistered[token.agent_id] += 1
        self._deadline = asyncio.get_running_loop().call_later(
            version.REGISTER_TIMEOUT_SECS, self._close_if_unregistered
        )
        await self._send({"type": "websocket.accept", "subprotocol": version.SUBPROTOCOL})

    async def _receive(self, message: dict[str, Any]) -> None:
        session, text = self._session, message.get("text")
        if session is None:
            return
        if text is None:
            await self._close(version.CLOSE_NOT_JSON)
            return
        size = len(text)
        if size > version.MAX_FRAME_BYTES // 4 and (size := len(text.encode())) > version.MAX_FRAME_BYTES:
            await self._close(version.CLOSE_TOO_BIG)
            return
        session.messages_received += 1
        session.last_heard = asyncio.get_running_loop().time()
        try:
            frame = codec.decode_frame(text, messages.AGENT_MESSAGES)
        except codec.FrameError:
            await self._close(version.CLOSE_NOT_JSON)
        except codec.MessageError as error:
            await session.send(messages.Nack(id=error.frame_id, code=error.code, detail=error.detail))
        else:
            await self._handle(session, frame, size)

    async def _handle(self, session: AgentSession, frame: codec.Frame, size: int) -> None:
        payload = frame.payload
        if isinstance(payload, messages.Register):
            if session.is_open:
                await session.send(messages.Nack(id=frame.id, code="invalid", detail="registered already"))
            else:
                await self._register(session, frame, payload)
        elif not session.is_open:
            # A nack would tell the agent to drop what it sent; nothing may be lost for coming too early.
            await self._close(version.CLOSE_POLICY)
        elif isinstance(payload, messages.Ready):
            session.ready_nonce, session.ready_slots = payload.nonce, payload.slots
            self._runtime.wake_pump()
        elif isinstance(payload, messages.Report):
            await self._report(session, frame, payload, size)
        elif isinstance(payload, messages.Output):
            await self._output(session, frame, payload, size)
        else:
            await self._handle_unacknowledged(session, frame, size)

    async def _handle_unacknowledged(self, session: AgentSession, frame: codec.Frame, size: int) -> None:
        """Take a message that has no `ack`; a peer that floods us with these is held to a window as well."""
        payload, inbound, now = frame.payload, self._runtime.inbound, self._runtime.now()
        is_within = session.unprocessed.take(size)
        if not is_within and isinstance(payload, messages.Heartbeat | messages.Log):
            # The database is away. A later heartbeat will do, and no result hangs on a log line.
            session.unprocessed.give_back(size)
            return
        if not is_within:
            await self._close(version.CLOSE_POLICY)
        elif isinstance(payload, messages.Heartbeat):
            session.note_clock(frame.timestamp, now)
            self._put(inbound.heartbeats, session, frame, size, payload)
        elif isinstance(payload, messages.Accepted):
            self._put(inbound.facts, session, frame, size, _answer(session, payload))
        elif isinstance(payload, messages.Log):
            lines = [(line, session.server_time(line.at_ms, now)) for line in payload.lines]
            self._put(inbound.log_lines, session, frame, size, lines)
        elif isinstance(payload, messages.CommandResult):
            self._put(inbound.command_results, session, frame, size, payload)

    def _put(
        self,
        batcher: Batcher[Received[Content], Any],
        session: AgentSession,
        frame: codec.Frame,
        size: int,
        content: Content,
    ) -> None:
        batcher.put(
            Received(
                session=session, frame_id=frame.id, size=size, credit=session.unprocessed, content=content
            )
        )

    async def _report(
        self, session: AgentSession, frame: codec.Frame, payload: messages.Report, size: int
    ) -> None:
        if not session.unacked.take(size):
            await self._close(version.CLOSE_POLICY)
            return
        now = self._runtime.now()
        reports = []
        for report in payload.reports:
            fact = _fact(session, report, now)
            if fact.status != InstanceStatus.RUNNING:
                session.forget_attempt(report.instance_id)
            reports.append((session.key(report), fact))
        self._runtime.inbound.facts.put(
            Received(
                session=session,
                frame_id=frame.id,
                size=size,
                credit=session.unacked,
                content=Facts(reports=reports),
            )
        )
        if session.free_slots:
            self._runtime.wake_pump()

    async def _output(
        self, session: AgentSession, frame: codec.Frame, payload: messages.Output, size: int
    ) -> None:
        if not session.unacked.take(size):
            await self._close(version.CLOSE_POLICY)
            return
        now = self._runtime.now()
        chunks = [
            Chunk(
                key=session.key(chunk),
                stream=chunk.stream,
                offset=chunk.offset,
                data=chunk.data,
                at=session.server_time(chunk.at_ms, now),
            )
            for chunk in payload.chunks
        ]
        self._runtime.inbound.chunks.put(
            Received(session=session, frame_id=frame.id, size=size, credit=session.unacked, content=chunks)
        )

    async def _register(self, session: AgentSession, frame: codec.Frame, register: messages.Register) -> None:
        self._forget_deadline(session)
        session.note_clock(frame.timestamp, self._runtime.now())
        if register.agent_id != session.agent_id:
            logger.warning("agent %s registered as %s", session.agent_id, register.agent_id)
            await self._close(version.CLOSE_POLICY)
            return
        if register.protocol not in version.SUPPORTED_VERSIONS:
            await session.close(
                reason="unsupported protocol", code=version.CLOSE_POLICY, reconnect_after_ms=30_000
            )
            return
        # Two sockets of one agent register one after the other, in the order of the database.
        async with self._runtime.registering(session.agent_id):
            opened = await self._open_session(session, frame, register)
            if opened is not None:
                session.capacity = register.capabilities.max_concurrent_tasks
                session.in_hand = opened.live
                session.is_open = True
                await self._runtime.join(session)
                await self._say_registered(session, opened)

    async def _open_session(
        self, session: AgentSession, frame: codec.Frame, register: messages.Register
    ) -> services.OpenedSession | None:
        """Write the session; answer a refusal and return None where there is one."""
        try:
            return await in_database_thread(
                lambda: services.open_session(
                    agent_id=session.agent_id,
                    token_id=session.token_id,
                    session_id=session.session_id,
                    server_id=self._runtime.server_id,
                    remote_address=session.remote_address,
                    register=register,
                    now=database_now(),
                    lease_secs=settings.HETUFLOW_LEASE_SECS,
                )
            )
        except services.SessionReplaced:
            logger.warning(
                "agent %s at %s was refused: a newer start of it is connected (is the machine a clone?)",
                session.agent_id,
                session.remote_address,
            )
            await session.close(reason="replaced", code=version.CLOSE_REPLACED, reconnect_after_ms=30_000)
        except services.SessionRefused:
            await session.close_as_refused()
        except (OperationalError, InterfaceError) as error:
            logger.warning("agent %s cannot register now: %s", session.agent_id, error)
            await session.close(reason="database away", code=version.CLOSE_RESTART, reconnect_after_ms=1_000)
        except DatabaseError as error:
            logger.warning("agent %s registered with what cannot be stored: %s", session.agent_id, error)
            detail = "the registration cannot be stored"
            await session.send(messages.Nack(id=frame.id, code="invalid", detail=detail))
            await self._close(version.CLOSE_POLICY)
        return None

    async def _say_registered(self, session: AgentSession, opened: services.OpenedSession) -> None:
        """Answer a registration; dispatches that do not fit into the answer follow in frames of their own."""
        now = self._runtime.now()
        room = version.MAX_FRAME_BYTES // 2 - 160 * len(opened.attempts)
        frames, too_large = split_for_frames(opened.resend, now=now, first_budget=room)
        await session.send(
            messages.Registered(
                agent_id=session.agent_id,
                server_id=self._runtime.server_id,
                server_time_ms=int(now.timestamp() * 1000),
                config=messages.AgentConfig(
                    heartbeat_secs=settings.HETUFLOW_HEARTBEAT_SECS,
                    lease_secs=settings.HETUFLOW_LEASE_SECS,
                    lead_secs=settings.HETUFLOW_LEAD_SECS,
                    kill_grace_secs=settings.HETUFLOW_KILL_GRACE_SECS,
                    max_chunk_bytes=settings.HETUFLOW_MAX_CHUNK_BYTES,
                ),
                attempts=opened.attempts,
                resend=frames[0],
            )
        )
        for frame in frames[1:]:
            await session.dispatch_frame(frame, lease_secs=settings.HETUFLOW_LEASE_SECS)
        await fail_undeliverable(too_large, session=session)

    def _authenticate(self) -> AgentToken:
        """Return the token that the socket shows; every refusal takes the same way and the same time."""
        header = dict(self._scope["headers"]).get(b"authorization", b"")
        token = header[len(_BEARER) :] if header.lower().startswith(_BEARER) else b""
        if version.SUBPROTOCOL not in self._scope.get("subprotocols", []):
            token = b""
        return authenticate_token(secret=token.decode("latin-1"), now=database_now())

    async def _send_text(self, text: str) -> None:
        # ASGI servers differ in whether they raise for a socket that is gone; its end is seen by `run`.
        with contextlib.suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int) -> None:
        """Close the socket; whatever still arrives on it is not looked at."""
        self._is_closing = True
        with contextlib.suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": code})

    def _close_if_unregistered(self) -> None:
        if self._session is not None and not self._session.is_open:
            self._closing = asyncio.ensure_future(self._close(version.CLOSE_POLICY))

    def _forget_deadline(self, session: AgentSession) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._runtime.unregistered.subtract([session.agent_id])

    def _leave(self) -> None:
        # The session holds this object, and with it the socket and all that was not sent.
        session, self._session = self._session, None
        if session is not None:
            self._forget_deadline(session)
            if session.is_open:
                self._runtime.leave(session)


def _answer(session: AgentSession, payload: messages.Accepted) -> Facts:
    declined = [
        (
            AttemptKey(agent_id=session.agent_id, instance_id=attempt.instance_id, token=attempt.token),
            attempt.reason,
        )
        for attempt in payload.declined
    ]
    for key, _ in declined:
        session.forget_attempt(key.instance_id)
    return Facts(accepted=[session.key(attempt) for attempt in payload.attempts], declined=declined)


def _fact(session: AgentSession, report: messages.AttemptReport, now: Any) -> ReportedFact:
    return ReportedFact(
        seq=report.seq,
        status=InstanceStatus(report.status),
        at=session.server_time(report.at_ms, now),
        exit_code=report.exit_code,
        signal=report.signal,
        error_message=report.error_message or "",
        result=report.result,
        metrics=_metrics(report.metrics),
        output_truncated=bool(report.output_truncated),
        start_delay_ms=report.start_delay_ms,
    )


def _metrics(metrics: messages.AttemptMetrics | None) -> dict[str, Any]:
    if metrics is None:
        return {}
    values = {name: getattr(metrics, name) for name in metrics.__struct_fields__}
    return {name: value for name, value in values.items() if value is not None}
