"""What agents send, applied in batches: one crossing to the database and one transaction for many frames.

An answer leaves only after the commit of what it answers.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from django.conf import settings

from agents.protocol import messages, version
from gateway import services
from gateway.intrusion import note_foreign_attempts
from gateway.session import AgentSession, Credit
from gateway.workers import Batcher, run_for_ever
from scheduling.attempts import ReportedFact
from scheduling.clock import database_now
from scheduling.services import backfilling, lifecycle, output
from scheduling.services.lifecycle import AttemptKey

logger = logging.getLogger(__name__)

# Short: an agent sends its next reports, and offers the slots behind them, when these are acknowledged.
FACTS_GATHER_SECS: Final = 0.005
Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class Received(Generic[Content]):
    """A message that waits to be applied; `credit` gets its `size` back when it is."""

    session: AgentSession
    frame_id: str
    size: int
    credit: Credit
    content: Content

    def release(self) -> None:
        """Give the sender its credit back."""
        self.credit.give_back(self.size)


@dataclass(frozen=True, slots=True)
class Facts:
    """An agent's word on attempts: that it has them, will not start them, or what happened to them."""

    accepted: Sequence[AttemptKey] = ()
    declined: Sequence[tuple[AttemptKey, str]] = ()
    reports: Sequence[tuple[AttemptKey, ReportedFact]] = ()


Told = Received[Facts]
Chunks = Received[list[output.Chunk]]
Beat = Received[messages.Heartbeat]
LogLines = Received[list[tuple[messages.LogLine, datetime]]]


class Inbound:
    """One batcher for each kind of message. `now` is the database's clock.

    `attempts_ended` and `stored` are hooks; the latter is given the attempts of which something is new.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        attempts_ended: Callable[[], None],
        stored: Callable[[Iterable[uuid.UUID]], None],
    ) -> None:
        self._now = now
        self._attempts_ended = attempts_ended
        self._stored = stored
        self.facts: Batcher[Told, tuple[lifecycle.ReportResult, set[uuid.UUID]]] = Batcher(
            apply=_apply_facts,
            done=self._facts_done,
            refused=_refused,
            limit=200,
            gather_secs=FACTS_GATHER_SECS,
        )
        self.chunks: Batcher[Chunks, tuple[output.StoredOutput, set[uuid.UUID]]] = Batcher(
            apply=_store_output,
            done=self._output_done,
            refused=_refused,
            limit=32,
            gather_secs=FACTS_GATHER_SECS,
        )
        self.heartbeats: Batcher[Beat, list[list[messages.AttemptToKill]]] = Batcher(
            apply=_apply_heartbeats, done=self._heartbeats_done, refused=_refused, limit=500
        )
        self.log_lines: Batcher[LogLines, None] = Batcher(
            apply=_store_log_lines, done=self._log_lines_done, refused=_refused, limit=200
        )
        self.command_results: Batcher[Received[messages.CommandResult], None] = Batcher(
            apply=_note_command_results, done=_released, refused=_refused, limit=200
        )
        self.ended_sessions: Batcher[AgentSession, None] = Batcher(
            apply=_close_sessions, done=_nothing, refused=_session_not_closed, limit=500
        )

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run for ever."""
        batchers: dict[str, Batcher[Any, Any]] = {
            name: value for name, value in vars(self).items() if isinstance(value, Batcher)
        }
        return [run_for_ever(name, batcher.run) for name, batcher in batchers.items()]

    async def _facts_done(
        self, batch: list[Told], result: tuple[lifecycle.ReportResult, set[uuid.UUID]]
    ) -> None:
        applied, intruders = result
        self._stored(key.instance_id for told in batch for key, _ in told.content.reports)
        stale = {key for key, _ in applied.stale}
        by_session: dict[uuid.UUID, tuple[AgentSession, list[str], list[messages.StaleReport]]] = {}
        for received in batch:
            received.release()
            if not received.content.reports:
                continue
            session, ids, stale_reports = by_session.setdefault(
                received.session.session_id, (received.session, [], [])
            )
            ids.append(received.frame_id)
            stale_reports.extend(
                messages.StaleReport(instance_id=key.instance_id, token=key.token, seq=fact.seq)
                for key, fact in received.content.reports
                if key in stale
            )
        for session, ids, stale_reports in by_session.values():
            await session.send(messages.Ack(ids=ids, stale=stale_reports))
            await _close_intruder(session, intruders)
        # A place of a limited job is free only now; a slot was free when the report came.
        self._attempts_ended()

    async def _output_done(
        self, batch: list[Chunks], result: tuple[output.StoredOutput, set[uuid.UUID]]
    ) -> None:
        stored, intruders = result
        self._stored(instance_id for instance_id, _stream in stored.offsets)
        for received in batch:
            received.release()
            keys = {chunk.key for chunk in received.content}
            named = {
                (chunk.key.instance_id, chunk.stream)
                for chunk in received.content
                if chunk.key not in stored.stale
            }
            await received.session.send(
                messages.Ack(
                    ids=[received.frame_id],
                    stale=[
                        messages.StaleReport(instance_id=key.instance_id, token=key.token)
                        for key in keys & stored.stale
                    ],
                    offsets=[
                        messages.StoredOffset(
                            instance_id=instance_id, stream=stream, offset=stored.offsets[instance_id, stream]
                        )
                        for instance_id, stream in named
                    ],
                )
            )
            await _close_intruder(received.session, intruders)

    async def _log_lines_done(self, batch: list[LogLines], _result: None) -> None:
        self._stored(line.instance_id for told in batch for line, _ in told.content if line.instance_id)
        await _released(batch, None)

    async def _heartbeats_done(self, batch: list[Beat], kills: list[list[messages.AttemptToKill]]) -> None:
        for received, kill in zip(batch, kills, strict=True):
            received.release()
            await received.session.send(
                messages.Lease(
                    nonce=received.content.nonce,
                    ttl_ms=int(settings.HETUFLOW_LEASE_SECS * 1000),
                    server_time_ms=int(self._now().timestamp() * 1000),
                    kill=kill,
                )
            )


async def _released(batch: Sequence[Received[Any]], _result: None) -> None:
    for received in batch:
        received.release()


async def _refused(received: Received[Any], error: Exception) -> None:
    received.release()
    detail = f"{type(error).__name__}: the content cannot be stored"
    await received.session.send(messages.Nack(id=received.frame_id, code="invalid", detail=detail))


async def _close_intruder(session: AgentSession, intruders: set[uuid.UUID]) -> None:
    """Close the socket of an agent that spoke for another agent's attempt; nothing of that was applied."""
    if session.agent_id in intruders:
        logger.warning(
            "agent %s at %s reported on an attempt of another agent and was disconnected",
            session.agent_id,
            session.remote_address,
        )
        await session.close_socket(version.CLOSE_POLICY)


async def _nothing(_batch: list[AgentSession], _result: None) -> None:
    return


async def _session_not_closed(session: AgentSession, error: Exception) -> None:
    logger.error("end of the session of %s not noted: %s", session.agent_id, error)


def _apply_facts(batch: list[Told]) -> tuple[lifecycle.ReportResult, set[uuid.UUID]]:
    now, facts = database_now(), [received.content for received in batch]
    reported = {key for fact in facts for key, _ in fact.reports}
    # What is reported on was accepted, and a report says more.
    accepted = [key for fact in facts for key in fact.accepted if key not in reported]
    lifecycle.accept_attempts(accepted, now=now)
    services.decline_attempts(
        [
            (received.session.session_id, key, reason)
            for received in batch
            for key, reason in received.content.declined
        ],
        now=now,
    )
    reports = [report for fact in facts for report in fact.reports]
    if not reports:
        return lifecycle.ReportResult(stale=[]), set()
    result = lifecycle.apply_reports(reports, now=now)
    if result.backfills:
        # So that a backfill is as fast as its agents; the scheduler's tick would do it, too.
        backfilling.run_once(now=now, ids=result.backfills)
    return result, _intruders(batch, [key for key, _ in result.stale])


def _store_output(batch: list[Chunks]) -> tuple[output.StoredOutput, set[uuid.UUID]]:
    stored = output.store_output([chunk for received in batch for chunk in received.content])
    return stored, _intruders(batch, stored.stale)


def _intruders(batch: Sequence[Received[Any]], stale: Collection[AttemptKey]) -> set[uuid.UUID]:
    """Return who spoke for another agent's attempt: what does not fit its attempt is looked at once more."""
    if not stale:
        return set()
    addresses = {received.session.agent_id: received.session.remote_address for received in batch}
    return note_foreign_attempts(stale, addresses=addresses)


def _apply_heartbeats(batch: list[Beat]) -> list[list[messages.AttemptToKill]]:
    rows = [
        services.HeartbeatRow(
            agent_id=received.session.agent_id,
            session_id=received.session.session_id,
            heartbeat=received.content,
            messages_sent=received.session.messages_sent,
            messages_received=received.session.messages_received,
            clock_ahead_ms=-received.session.clock_offset_ms,
        )
        for received in batch
    ]
    return services.apply_heartbeats(rows, now=database_now(), lease_secs=settings.HETUFLOW_LEASE_SECS)


def _store_log_lines(batch: list[LogLines]) -> None:
    services.store_log_lines(
        [(received.session.agent_id, line, at) for received in batch for line, at in received.content]
    )


def _note_command_results(batch: list[Received[messages.CommandResult]]) -> None:
    services.note_command_results(
        [(received.session.agent_id, received.content) for received in batch], now=database_now()
    )


def _close_sessions(batch: list[AgentSession]) -> None:
    services.close_sessions([(session.agent_id, session.session_id) for session in batch], now=database_now())
