"""What one server process runs beside its sockets: the pump, the batches, the heartbeat of the server."""

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import uuid_utils.compat
from django.conf import settings
from django.db import DatabaseError, connection

from agents.protocol import messages, version
from gateway import services
from gateway.session import AgentSession
from gateway.workers import Batcher, in_database_thread
from scheduling import hints
from scheduling.attempts import ReportedFact
from scheduling.clock import database_now
from scheduling.services import claiming, lifecycle, output
from scheduling.services.lifecycle import AttemptKey

logger = logging.getLogger(__name__)

SERVER_HEARTBEAT_SECS: Final = 2.0
AGENT_SILENCE_SECS: Final = 15.0

Reports = tuple[AgentSession, str, list[tuple[AttemptKey, ReportedFact]]]
Chunks = tuple[AgentSession, str, list[output.Chunk]]
Beat = tuple[AgentSession, messages.Heartbeat]


class Runtime:
    """The gateway of one server process. Everything here runs on its event loop."""

    def __init__(self) -> None:
        self.server_id: uuid.UUID = uuid_utils.compat.uuid7()
        self.sessions: dict[uuid.UUID, AgentSession] = {}
        self._wake = asyncio.Event()
        self._check_sessions = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._clock_offset = 0.0
        self.reports: Batcher[Reports, lifecycle.ReportResult] = Batcher(
            apply=self._apply_reports, done=self._reports_done, refused=self._refused, limit=200
        )
        self.chunks: Batcher[Chunks, output.StoredOutput] = Batcher(
            apply=self._store_output, done=self._output_done, refused=self._refused, limit=32
        )
        self.heartbeats: Batcher[Beat, list[list[messages.AttemptRef]]] = Batcher(
            apply=self._apply_heartbeats, done=self._heartbeats_done, refused=self._beat_refused, limit=500
        )

    async def start(self) -> None:
        """Register this server and start its loops."""
        await in_database_thread(self._register)
        loops: list[Coroutine[Any, Any, None]] = [
            self.reports.run(),
            self.chunks.run(),
            self.heartbeats.run(),
            self._pump(),
            self._keep_alive(),
            self._listen(),
            self._watch_sessions(),
        ]
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Say goodbye to every agent and end the loops; agents come back to this or another server."""
        for session in list(self.sessions.values()):
            await session.send(messages.Goodbye(reason="server stops", reconnect_after_ms=500))
            await session.close_socket(version.CLOSE_RESTART)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await in_database_thread(lambda: services.retire_server(server_id=self.server_id))

    def now(self) -> datetime:
        """Return the database's clock, as last read and carried on by this machine's steady one."""
        return datetime.fromtimestamp(time.monotonic() + self._clock_offset, UTC)

    def wake_pump(self) -> None:
        """Let the pump look for work now."""
        self._wake.set()

    # --- batches -------------------------------------------------------------------------------------

    def _apply_reports(self, batch: list[Reports]) -> lifecycle.ReportResult:
        return lifecycle.apply_reports(
            [report for _, _, reports in batch for report in reports], now=database_now()
        )

    async def _reports_done(self, batch: list[Reports], result: lifecycle.ReportResult) -> None:
        stale = {key for key, _ in result.stale}
        by_session: dict[uuid.UUID, tuple[AgentSession, list[str], list[messages.StaleReport]]] = {}
        for session, frame_id, reports in batch:
            entry = by_session.setdefault(session.session_id, (session, [], []))
            entry[1].append(frame_id)
            entry[2].extend(
                messages.StaleReport(instance_id=key.instance_id, token=key.token, seq=fact.seq)
                for key, fact in reports
                if key in stale
            )
        for session, ids, stale_reports in by_session.values():
            for frame_id in ids:
                session.unacked.pop(frame_id, None)
            await session.send(messages.Ack(ids=ids, stale=stale_reports))

    def _store_output(self, batch: list[Chunks]) -> output.StoredOutput:
        return output.store_output([chunk for _, _, chunks in batch for chunk in chunks])

    async def _output_done(self, batch: list[Chunks], stored: output.StoredOutput) -> None:
        for session, frame_id, chunks in batch:
            session.unacked.pop(frame_id, None)
            named = {(chunk.key.instance_id, chunk.stream) for chunk in chunks}
            await session.send(
                messages.Ack(
                    ids=[frame_id],
                    stale=[
                        messages.StaleReport(instance_id=key.instance_id, token=key.token)
                        for key in {chunk.key for chunk in chunks} & stored.stale
                    ],
                    offsets=[
                        messages.StoredOffset(
                            instance_id=instance_id, stream=stream, offset=stored.offsets[instance_id, stream]
                        )
                        for instance_id, stream in named
                        if (instance_id, stream) in stored.offsets
                    ],
                )
            )

    def _apply_heartbeats(self, batch: list[Beat]) -> list[list[messages.AttemptRef]]:
        rows = [
            services.HeartbeatRow(
                agent_id=session.agent_id,
                session_id=session.session_id,
                heartbeat=heartbeat,
                messages_sent=session.messages_sent,
                messages_received=session.messages_received,
            )
            for session, heartbeat in batch
        ]
        return services.apply_heartbeats(rows, now=database_now(), lease_secs=settings.HETUFLOW_LEASE_SECS)

    async def _heartbeats_done(self, batch: list[Beat], kills: list[list[messages.AttemptRef]]) -> None:
        for (session, heartbeat), kill in zip(batch, kills, strict=True):
            await session.send(
                messages.Lease(
                    nonce=heartbeat.nonce,
                    ttl_ms=int(settings.HETUFLOW_LEASE_SECS * 1000),
                    server_time_ms=int(self.now().timestamp() * 1000),
                    kill=kill,
                )
            )

    async def _refused(self, item: Reports | Chunks, error: Exception) -> None:
        session, frame_id, _ = item
        session.unacked.pop(frame_id, None)
        await session.send(messages.Nack(id=frame_id, code="invalid", detail=str(error)[:500]))

    async def _beat_refused(self, item: Beat, error: Exception) -> None:
        logger.error("heartbeat of %s refused: %s", item[0].agent_id, error)

    # --- loops ---------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Claim work for free slots whenever there may be some; see `_until_next` for when that is."""
        while True:
            self._wake.clear()
            wait = settings.HETUFLOW_POLL_SECS
            try:
                if any(session.free_slots for session in self.sessions.values()):
                    wait = await self._claim_and_dispatch()
            except DatabaseError as error:
                logger.warning("claim failed, trying again: %s", error)
                await asyncio.sleep(0.5)
            except Exception:
                logger.exception("claim failed")
                await asyncio.sleep(1)
            if wait > 0:
                try:
                    await asyncio.wait_for(self._wake.wait(), wait)
                except TimeoutError:
                    continue

    async def _claim_and_dispatch(self) -> float:
        """Do one claim and send what it gave; return after how many seconds to look again unless woken."""
        slots = {agent_id: s.free_slots for agent_id, s in self.sessions.items() if s.free_slots}
        started, next_due = await in_database_thread(lambda: _claim(slots))
        by_agent: dict[uuid.UUID, list[lifecycle.StartedAttempt]] = {}
        for attempt in started:
            by_agent.setdefault(attempt.agent_id, []).append(attempt)
        for agent_id, attempts in by_agent.items():
            session = self.sessions.get(agent_id)
            if session is not None:
                await session.dispatch(attempts, now=self.now(), lease_secs=settings.HETUFLOW_LEASE_SECS)
        if started:
            return 0.0
        if next_due is None:
            return float(settings.HETUFLOW_POLL_SECS)
        until_lead = (next_due - self.now()).total_seconds() - settings.HETUFLOW_LEAD_SECS
        return max(0.005, min(float(settings.HETUFLOW_POLL_SECS), until_lead))

    async def _keep_alive(self) -> None:
        while True:
            try:
                before = time.monotonic()
                now = await in_database_thread(database_now)
                self._clock_offset = now.timestamp() - (before + time.monotonic()) / 2
                await in_database_thread(
                    lambda: services.keep_server_alive(server_id=self.server_id, now=database_now())
                )
            except DatabaseError as error:
                logger.warning("database away: %s", error)
            except Exception:
                logger.exception("heartbeat of the server failed")
            await asyncio.sleep(SERVER_HEARTBEAT_SECS)

    async def _watch_sessions(self) -> None:
        """Close silent and replaced sessions, and carry cancels and commands to agents."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._check_sessions.wait(), settings.HETUFLOW_POLL_SECS)
            self._check_sessions.clear()
            try:
                await self._look_after_sessions()
            except DatabaseError as error:
                logger.warning("database away: %s", error)
            except Exception:
                logger.exception("looking after the sessions failed")

    async def _look_after_sessions(self) -> None:
        by_session = {s.session_id: s for s in self.sessions.values() if s.is_open}
        silent = time.monotonic() - AGENT_SILENCE_SECS
        for session in list(by_session.values()):
            if session.last_heard < silent:
                await session.close_socket(version.CLOSE_POLICY)
        if not by_session:
            return
        agent_ids = [session.agent_id for session in by_session.values()]
        closing, cancels, commands = await in_database_thread(
            lambda: (
                services.sessions_to_close(server_id=self.server_id, session_ids=list(by_session)),
                services.attempts_to_cancel(agent_ids=agent_ids),
                services.take_commands(agent_ids=agent_ids, now=database_now()),
            )
        )
        for session_id in closing:
            await by_session[session_id].send(messages.Goodbye(reason="replaced", reconnect_after_ms=30_000))
            await by_session[session_id].close_socket(version.CLOSE_REPLACED)
        for agent_id, instance_id, token, grace_secs, reason in cancels:
            await self.sessions[agent_id].send(
                messages.Cancel(instance_id=instance_id, token=token, grace_secs=grace_secs, reason=reason)
            )
        for command in commands:
            await self.sessions[command.agent_id].send(
                messages.Command(
                    command_id=command.pk,
                    command=command.command,
                    parameters=command.parameters,
                    timeout_secs=command.timeout_secs,
                )
            )

    async def _listen(self) -> None:
        """Wake up on hints of other processes; without them everything happens a poll later."""
        while True:
            try:
                parameters = await in_database_thread(connection.get_connection_params)
                parameters = {k: v for k, v in parameters.items() if k in _CONNECT_PARAMETERS}
                async with await psycopg.AsyncConnection.connect(**parameters, autocommit=True) as listener:
                    await listener.execute(f"LISTEN {hints.CHANNEL}")
                    self._wake.set()
                    async for notification in listener.notifies():
                        self._on_hint(notification.payload)
            except psycopg.Error as error:
                logger.warning("no hints from the database, polling: %s", error)
            await asyncio.sleep(1)

    def _on_hint(self, payload: str) -> None:
        kind, _, subject = payload.partition(" ")
        if kind == hints.TASKS:
            self._wake.set()
        elif subject and any(str(agent_id) == subject for agent_id in self.sessions):
            self._check_sessions.set()

    def _register(self) -> None:
        now = database_now()
        self._clock_offset = now.timestamp() - time.monotonic()
        services.register_server(
            server_id=self.server_id,
            name=f"{socket.gethostname()}-{os.getpid()}",
            address=settings.HETUFLOW_SERVER_ADDRESS,
            version=settings.HETUFLOW_VERSION,
            now=now,
        )


_CONNECT_PARAMETERS: Final = frozenset(
    {"dbname", "host", "port", "user", "password", "sslmode", "connect_timeout"}
)
_runtime: Runtime | None = None
_starting = asyncio.Lock()


async def running_runtime() -> Runtime:
    """Return this process's runtime, started by whoever asks first."""
    global _runtime
    async with _starting:
        if _runtime is None:
            runtime = Runtime()
            await runtime.start()
            _runtime = runtime
    return _runtime


async def stop_runtime() -> None:
    """Stop this process's runtime, if it has one."""
    if _runtime is not None:
        await _runtime.stop()


def _claim(
    slots: dict[uuid.UUID, int],
) -> tuple[list[lifecycle.StartedAttempt], datetime | None]:
    now = database_now()
    lead_secs = settings.HETUFLOW_LEAD_SECS
    started = claiming.claim(
        slots=slots, now=now, lead_secs=lead_secs, lease_secs=settings.HETUFLOW_LEASE_SECS
    )
    if started:
        return started, None
    return started, claiming.next_due_at(after=now + timedelta(seconds=lead_secs))
