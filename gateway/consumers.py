"""The socket of an agent: authenticate before accepting, then one method for each message."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uuid_utils.compat
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError

from agents.errors import TokenRefused
from agents.protocol import codec, messages, version
from agents.services import authenticate_agent
from gateway import runtime as gateway_runtime
from gateway import services
from gateway.session import AgentSession, dispatched_task
from gateway.workers import in_database_thread
from scheduling.attempts import ReportedFact
from scheduling.clock import database_now
from scheduling.services import lifecycle
from scheduling.services.output import Chunk
from scheduling.states import InstanceStatus

logger = logging.getLogger(__name__)

_BEARER: Final = b"bearer "


class AgentConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One agent's socket, whole life. Rows and batches are the runtime's; this reads and answers frames."""

    channel_layer_alias = "none"

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Hand an event to its method, without Channels' per-message look at database connections."""
        handler = {
            "websocket.connect": self.websocket_connect,
            "websocket.receive": self.websocket_receive,
            "websocket.disconnect": self.websocket_disconnect,
        }[message["type"]]
        await handler(message)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        self.session: AgentSession | None = None
        try:
            agent_id = await in_database_thread(lambda: self._authenticate())
        except TokenRefused:
            await self.close()  # before the handshake is accepted: HTTP 403
            return
        self.runtime = await gateway_runtime.running_runtime()
        client = self.scope.get("client") or ["", 0]
        self.session = AgentSession(
            agent_id=agent_id,
            session_id=uuid_utils.compat.uuid7(),
            send_text=self._send_text,
            close_socket=self._close,
            remote_address=str(client[0]),
        )
        await self.accept(subprotocol=version.SUBPROTOCOL)
        self.deadline = asyncio.get_running_loop().call_later(
            version.REGISTER_TIMEOUT_SECS, self._close_if_unregistered
        )

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        session = self.session
        text = message.get("text")
        if session is None:
            return
        if text is None:
            await self._close(version.CLOSE_NOT_JSON)
            return
        size = len(text)
        if size > version.MAX_FRAME_BYTES // 4 and len(text.encode()) > version.MAX_FRAME_BYTES:
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

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        session = self.session
        if session is not None and session.is_open:
            session.is_open = False
            if self.runtime.sessions.get(session.agent_id) is session:
                del self.runtime.sessions[session.agent_id]
            try:
                await in_database_thread(
                    lambda: services.close_session(
                        agent_id=session.agent_id, session_id=session.session_id, now=database_now()
                    )
                )
            except DatabaseError as error:
                # The lease tells the rest of the cluster what this row could not.
                logger.warning("end of session of %s not noted: %s", session.agent_id, error)
        raise StopConsumer

    async def _handle(self, session: AgentSession, frame: codec.Frame, size: int) -> None:
        session.note_clock(frame.timestamp, self.runtime.now())
        payload = frame.payload
        if not session.is_open:
            if isinstance(payload, messages.Register):
                await self._register(session, payload)
            else:
                await session.send(messages.Nack(id=frame.id, code="not_registered", detail="register first"))
            return
        handlers: dict[type[messages.Payload], Callable[..., Awaitable[None]]] = {
            messages.Heartbeat: self._heartbeat,
            messages.Ready: self._ready,
            messages.Accepted: self._accepted,
            messages.Report: self._report,
            messages.Output: self._output,
            messages.Log: self._log,
            messages.CommandResult: self._command_result,
        }
        handler = handlers.get(type(payload))
        if handler is None:
            await session.send(messages.Nack(id=frame.id, code="invalid", detail="registered already"))
            return
        if isinstance(payload, messages.Report | messages.Output):
            session.unacked[frame.id] = size
            if session.exceeds_credit:
                await self._close(version.CLOSE_POLICY)
                return
        await handler(session, frame)

    async def _register(self, session: AgentSession, register: messages.Register) -> None:
        self.deadline.cancel()
        if register.agent_id != session.agent_id:
            await self._close(version.CLOSE_POLICY)
            return
        if register.protocol != version.PROTOCOL_VERSION:
            await session.send(messages.Goodbye(reason="unsupported protocol", reconnect_after_ms=30_000))
            await self._close(version.CLOSE_POLICY)
            return
        try:
            opened = await in_database_thread(
                lambda: services.open_session(
                    agent_id=session.agent_id,
                    session_id=session.session_id,
                    server_id=self.runtime.server_id,
                    remote_address=session.remote_address,
                    register=register,
                    now=database_now(),
                    lease_secs=settings.HETUFLOW_LEASE_SECS,
                )
            )
        except services.SessionReplaced:
            await session.send(messages.Goodbye(reason="replaced", reconnect_after_ms=30_000))
            await self._close(version.CLOSE_REPLACED)
            return
        previous = self.runtime.sessions.pop(session.agent_id, None)
        if previous is not None:
            previous.is_open = False
            await previous.send(messages.Goodbye(reason="replaced", reconnect_after_ms=30_000))
            await previous.close_socket(version.CLOSE_REPLACED)
        session.capacity = register.capabilities.max_concurrent_tasks
        session.in_hand = opened.live
        session.is_open = True
        self.runtime.sessions[session.agent_id] = session
        now = self.runtime.now()
        await session.send(
            messages.Registered(
                agent_id=session.agent_id,
                server_id=self.runtime.server_id,
                server_time_ms=int(now.timestamp() * 1000),
                config=messages.AgentConfig(
                    heartbeat_secs=settings.HETUFLOW_HEARTBEAT_SECS,
                    lease_secs=settings.HETUFLOW_LEASE_SECS,
                    lead_secs=settings.HETUFLOW_LEAD_SECS,
                    kill_grace_secs=settings.HETUFLOW_KILL_GRACE_SECS,
                    max_chunk_bytes=settings.HETUFLOW_MAX_CHUNK_BYTES,
                ),
                attempts=opened.attempts,
                resend=[dispatched_task(attempt, now=now) for attempt in opened.resend],
            )
        )

    async def _heartbeat(self, session: AgentSession, frame: codec.Frame) -> None:
        assert isinstance(frame.payload, messages.Heartbeat)  # noqa: S101
        self.runtime.heartbeats.put((session, frame.payload))

    async def _ready(self, session: AgentSession, frame: codec.Frame) -> None:
        assert isinstance(frame.payload, messages.Ready)  # noqa: S101
        session.ready_nonce, session.ready_slots = frame.payload.nonce, frame.payload.slots
        self.runtime.wake_pump()

    async def _accepted(self, session: AgentSession, frame: codec.Frame) -> None:
        assert isinstance(frame.payload, messages.Accepted)  # noqa: S101
        payload = frame.payload
        keys = [session.key(attempt) for attempt in payload.attempts]
        declined = [
            (
                lifecycle.AttemptKey(
                    agent_id=session.agent_id, instance_id=attempt.instance_id, token=attempt.token
                ),
                attempt.reason,
            )
            for attempt in payload.declined
        ]
        for key, _ in declined:
            session.in_hand.discard(key.instance_id)

        def write() -> None:
            now = database_now()
            lifecycle.accept_attempts(keys, now=now)
            lifecycle.decline_attempts(declined, now=now)

        await in_database_thread(write)

    async def _report(self, session: AgentSession, frame: codec.Frame) -> None:
        assert isinstance(frame.payload, messages.Report)  # noqa: S101
        now = self.runtime.now()
        reports = []
        for report in frame.payload.reports:
            status = InstanceStatus(report.status)
            if status != InstanceStatus.RUNNING:
                session.in_hand.discard(report.instance_id)
            reports.append(
                (
                    session.key(report),
                    ReportedFact(
                        seq=report.seq,
                        status=status,
                        at=session.server_time(report.at_ms, now),
                        exit_code=report.exit_code,
                        signal=report.signal,
                        error_message=report.error_message or "",
                        result=report.result,
                        metrics=_metrics(report.metrics),
                        output_truncated=bool(report.output_truncated),
                        start_delay_ms=report.start_delay_ms,
                    ),
                )
            )
        self.runtime.reports.put((session, frame.id, reports))
        if session.free_slots:
            self.runtime.wake_pump()

    async def _output(self, session: AgentSession, frame: codec.Frame) -> None:
        assert isinstance(frame.payload, messages.Output)  # noqa: S101
        now = self.runtime.now()
        chunks = [
            Chunk(
                key=session.key(chunk),
                stream=chunk.stream,
                offset=chunk.offset,
                data=chunk.data,
                at=session.server_time(chunk.at_ms, now),
            )
            for chunk in frame.payload.chunks
        ]
        self.runtime.chunks.put((session, frame.id, chunks))

    async def _log(self, session: AgentSession, frame: codec.Frame) -> None:
        assert isinstance(frame.payload, messages.Log)  # noqa: S101
        now = self.runtime.now()
        lines = [
            (session.agent_id, line, session.server_time(line.at_ms, now)) for line in frame.payload.lines
        ]
        await in_database_thread(lambda: services.store_log_lines(lines))

    async def _command_result(self, session: AgentSession, frame: codec.Frame) -> None:
        assert isinstance(frame.payload, messages.CommandResult)  # noqa: S101
        result = frame.payload
        await in_database_thread(
            lambda: services.note_command_results([(session.agent_id, result)], now=database_now())
        )

    def _authenticate(self) -> uuid.UUID:
        header = dict(self.scope["headers"]).get(b"authorization", b"")
        token = header[len(_BEARER) :] if header.lower().startswith(_BEARER) else b""
        if version.SUBPROTOCOL not in self.scope.get("subprotocols", []):
            token = b""
        return authenticate_agent(token=token.decode("latin-1"), now=database_now()).id

    async def _send_text(self, text: str) -> None:
        await self.base_send({"type": "websocket.send", "text": text})

    async def _close(self, code: int) -> None:
        await self.base_send({"type": "websocket.close", "code": code})

    def _close_if_unregistered(self) -> None:
        if self.session is not None and not self.session.is_open:
            self.closing = asyncio.ensure_future(self._close(version.CLOSE_POLICY))


def _metrics(metrics: messages.AttemptMetrics | None) -> dict[str, Any]:
    if metrics is None:
        return {}
    values = {name: getattr(metrics, name) for name in metrics.__struct_fields__}
    return {name: value for name, value in values.items() if value is not None}
