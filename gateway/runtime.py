"""What one server process runs beside its sockets: pump, batches, hints, its own heartbeat."""

import asyncio
import logging
import os
import socket
import threading
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import uuid_utils.compat
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from agents.protocol import messages, version
from gateway import servers
from gateway.dispatch import Pump
from gateway.inbound import Inbound
from gateway.news import SessionNews, SessionsToClose, read_news
from gateway.session import AgentSession
from gateway.wakeup import listen
from gateway.watching import Watch
from gateway.workers import in_database_thread, run_for_ever, vital_executor, wait_for_event
from scheduling import hints
from scheduling.clock import database_now

logger = logging.getLogger(__name__)

SERVER_HEARTBEAT_SECS: Final = 2.0
# What the heartbeat asks takes milliseconds; a database that lets it wait for so long answers nobody.
DATABASE_SILENT_AFTER_SECS: Final = 5.0
# What ends a session, or an attempt, counts within two seconds, also where the hint of it got lost.
SESSIONS_POLL_SECS: Final = 1.0
USE_NOTED_EVERY_SECS: Final = 60.0
CLOCK_READINGS: Final = 3
LOOPS_END_WITHIN_SECS: Final = 1.0


class Runtime:
    """The gateway of one server process. Everything here runs on its event loop."""

    def __init__(self) -> None:
        self.server_id: uuid.UUID = uuid_utils.compat.uuid7()
        self.sessions: dict[uuid.UUID, AgentSession] = {}
        # How many sockets each agent has that are open and have not registered.
        self.unregistered: Counter[uuid.UUID] = Counter()
        self.pump = Pump(sessions=self.sessions, now=self.now)
        self.watch = Watch()
        self.inbound = Inbound(now=self.now, attempts_ended=self.wake_pump, stored=self.watch.note)
        self._check_sessions = asyncio.Event()
        self._is_ready = asyncio.Event()
        self.database_is_silent = asyncio.Event()
        self._is_stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clock_offset = time.time() - time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._register_locks: weakref.WeakValueDictionary[uuid.UUID, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    def start(self) -> None:
        """Start the loops. The database need not be there yet: agents are let in as soon as it is."""
        self._loop = asyncio.get_running_loop()
        loops = [
            *self.inbound.loops(),
            run_for_ever("the dispatch pump", self.pump.run),
            run_for_ever("the heartbeat of the server", self._keep_alive),
            run_for_ever("listening for hints", lambda: listen(self._on_hint, self._on_gap)),
            run_for_ever("looking after sessions", self._watch_sessions),
            run_for_ever("showing output as it is written", self.watch.run),
            run_for_ever("looking after those who watch", self.watch.check),
        ]
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Say goodbye to every agent and end the loops; agents come back to this or another server."""
        self._is_stopping = True
        for session in list(self.sessions.values()):
            await session.close(reason="server stops", code=version.CLOSE_RESTART, reconnect_after_ms=500)
        await self.watch.close_all()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LOOPS_END_WITHIN_SECS)
        if self._is_ready.is_set():
            await self._retire()

    async def _retire(self) -> None:
        """Take this server off the list; where the database is away, its silence tells the others."""
        for tries_left in (1, 0):
            try:
                await in_database_thread(
                    lambda: servers.retire_server(server_id=self.server_id, now=database_now()),
                    executor=vital_executor,
                )
            except (DatabaseError, InterfaceError) as error:
                # The first failure may be that of a connection which broke while it lay in the pool.
                if not tries_left:
                    logger.warning("the end of this server is not noted: %s", error)
            else:
                return

    def now(self) -> datetime:
        """Return the database's clock, as last read and carried on by this machine's steady one."""
        return datetime.fromtimestamp(time.monotonic() + self._clock_offset, UTC)

    def wake_pump(self) -> None:
        """Let the pump look for work now."""
        self.pump.wake()

    async def until_ready(self) -> None:
        """Wait until agents can be let in; raise TimeoutError where that will not be any more."""
        if self._is_stopping:
            raise TimeoutError
        await self._is_ready.wait()

    def answers_within(self, limit_secs: float) -> bool:
        """Tell whether the event loop gets to new work in time. Called on any other thread."""
        if self._loop is None:
            return False
        turn = threading.Event()
        try:
            self._loop.call_soon_threadsafe(turn.set)
        except RuntimeError:  # it is closed
            return False
        return turn.wait(limit_secs)

    def registering(self, agent_id: uuid.UUID) -> asyncio.Lock:
        """Return the lock under which the sockets of an agent register."""
        return self._register_locks.setdefault(agent_id, asyncio.Lock())

    async def join(self, session: AgentSession) -> None:
        """Make this the agent's session here, in the place of an older one."""
        previous = self.sessions.pop(session.agent_id, None)
        self.sessions[session.agent_id] = session
        if previous is not None:
            previous.is_open = False
            await previous.close(reason="replaced", code=version.CLOSE_REPLACED, reconnect_after_ms=30_000)

    def leave(self, session: AgentSession) -> None:
        """Note that the socket of a session is gone."""
        session.is_open = False
        if self.sessions.get(session.agent_id) is session:
            del self.sessions[session.agent_id]
        self.inbound.ended_sessions.put(session)

    # --- the server's own heartbeat ------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        is_away = False
        loop = asyncio.get_running_loop()
        while True:
            silence = loop.call_later(DATABASE_SILENT_AFTER_SECS, self._note_silence)
            try:
                self._clock_offset = await in_database_thread(_clock_offset, executor=vital_executor)
                await in_database_thread(self._beat, executor=vital_executor)
                self._is_ready.set()
                is_away = False
            except (DatabaseError, InterfaceError) as error:
                if not is_away:
                    logger.warning("database away: %s", error)
                is_away = True
                self._is_ready.clear()
            finally:
                silence.cancel()
                self.database_is_silent.clear()
            await asyncio.sleep(SERVER_HEARTBEAT_SECS)

    def _note_silence(self) -> None:
        """Let callers know that the database neither answers nor refuses, so that nobody waits for it."""
        logger.warning("the database has been silent for %g s", DATABASE_SILENT_AFTER_SECS)
        self._is_ready.clear()
        self.database_is_silent.set()

    def _beat(self) -> None:
        now = database_now()
        ahead_ms = 1000 * (time.time() - self.now().timestamp())
        if not servers.keep_server_alive(server_id=self.server_id, now=now, clock_ahead_ms=ahead_ms):
            servers.register_server(
                server_id=self.server_id,
                name=f"{socket.gethostname()}-{os.getpid()}",
                address=settings.HETUFLOW_SERVER_ADDRESS,
                version=settings.HETUFLOW_VERSION,
                now=now,
            )

    # --- sessions ------------------------------------------------------------------------------------

    async def _watch_sessions(self) -> None:
        """Close sessions that are over or silent, and carry cancels and commands to agents."""
        while True:
            await wait_for_event(
                self._check_sessions, min(SESSIONS_POLL_SECS, float(settings.HETUFLOW_POLL_SECS))
            )
            self._check_sessions.clear()
            try:
                await self._look_after_sessions()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("database away while looking after sessions: %s", error)

    async def _look_after_sessions(self) -> None:
        sessions = [session for session in self.sessions.values() if session.is_open]
        # Pings find dead peers sooner; one that answers pings but sends nothing has no lease left by now.
        silent_since = time.monotonic() - settings.HETUFLOW_LEASE_SECS
        for session in sessions:
            if session.last_heard < silent_since:
                await session.close(reason="silent", code=version.CLOSE_POLICY, reconnect_after_ms=1000)
        if not sessions:
            return
        in_hand = {session.agent_id: set(session.in_hand) for session in sessions}
        with_work = [agent_id for agent_id, attempts in in_hand.items() if attempts]
        noted_by = time.monotonic() - USE_NOTED_EVERY_SECS
        to_note = [session for session in sessions if session.use_noted < noted_by]
        news = await in_database_thread(
            lambda: read_news(
                server_id=self.server_id,
                sessions=[(session.agent_id, session.session_id) for session in sessions],
                with_work=with_work,
                tokens_in_use=[session.token_id for session in to_note],
            )
        )
        for session in to_note:
            session.use_noted = time.monotonic()
        for session in sessions:
            for instance_id in in_hand[session.agent_id] - news.live:
                session.forget_attempt(instance_id)  # it ended without the agent's word, for instance as lost
        await self._close_sessions(sessions, news.to_close)
        await self._send_cancels(sessions, news)
        by_agent = {session.agent_id: session for session in sessions}
        for command in news.commands:
            await by_agent[command.agent_id].send(
                messages.Command(
                    command_id=command.pk,
                    command=command.command,
                    parameters=command.parameters,
                    timeout_secs=command.timeout_secs,
                )
            )

    async def _close_sessions(self, sessions: Sequence[AgentSession], to_close: SessionsToClose) -> None:
        for session in sessions:
            if session.session_id in to_close.replaced:
                logger.warning("the session of agent %s was replaced by a newer one", session.agent_id)
                await session.close(reason="replaced", code=version.CLOSE_REPLACED, reconnect_after_ms=30_000)
            elif session.session_id in to_close.unwanted:
                await session.close(
                    reason="disconnected", code=version.CLOSE_DISCONNECTED, reconnect_after_ms=30_000
                )
            elif session.session_id in to_close.refused:
                logger.warning("the token of agent %s is not valid any more; closing", session.agent_id)
                await session.close_as_refused()

    async def _send_cancels(self, sessions: Sequence[AgentSession], news: SessionNews) -> None:
        by_agent = {session.agent_id: session for session in sessions}
        for agent_id, instance_id, token, grace_secs, reason in news.cancels:
            session = by_agent[agent_id]
            # Not before the agent has the attempt, else it would start what it was told to stop.
            if instance_id in session.in_hand and instance_id not in session.told_to_cancel:
                session.told_to_cancel.add(instance_id)
                await session.send(
                    messages.Cancel(
                        instance_id=instance_id, token=token, grace_secs=grace_secs, reason=reason
                    )
                )

    # --- hints ---------------------------------------------------------------------------------------

    def _on_hint(self, payload: str) -> None:
        kind, _, subject = payload.partition(" ")
        if kind == hints.TASKS:
            self.pump.wake()
        elif subject and any(str(agent_id) == subject for agent_id in self.sessions):
            self._check_sessions.set()

    def _on_gap(self) -> None:
        self.pump.wake()
        self._check_sessions.set()


def _clock_offset() -> float:
    """Return the database's clock less this machine's steady one, by the quickest of a few readings."""
    readings = []
    for _ in range(CLOCK_READINGS):
        before = time.monotonic()
        now = database_now()
        after = time.monotonic()
        readings.append((after - before, now.timestamp() - (before + after) / 2))
    return min(readings)[1]


_runtime: Runtime | None = None


def running_runtime() -> Runtime:
    """Return this process's runtime, started by whoever asks first. Called on the event loop."""
    global _runtime
    if _runtime is None:
        runtime = Runtime()
        runtime.start()
        _runtime = runtime
    return _runtime


def runtime_of_process() -> Runtime | None:
    """Return this process's runtime if it has one. Called on any thread."""
    return _runtime


async def stop_runtime() -> None:
    """Stop this process's runtime, if it has one."""
    if _runtime is not None:
        await _runtime.stop()
