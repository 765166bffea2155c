"""The pump: one for each server process, it claims tasks for free slots and sends them to their agents."""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from gateway import services
from gateway.session import AgentSession
from gateway.workers import in_database_thread, wait_for_event
from scheduling.attempts import ReportedFact
from scheduling.clock import database_now
from scheduling.services import claiming, lifecycle
from scheduling.services.lifecycle import AttemptKey, StartedAttempt
from scheduling.states import InstanceStatus

logger = logging.getLogger(__name__)

RETRY_AFTER_SECS: Final = 0.5
# Tasks are claimed a lead time before they are due, so nothing is late for being claimed together with those
# that become due a little after it; without this, a thousand instants a second were as many claims.
MAX_GATHER_SECS: Final = 0.1
BUSY_GATHER_SECS: Final = 0.005
TOO_LARGE_MESSAGE: Final = (
    "The task does not fit into a message to an agent (256 KiB): its arguments, environment and parameters "
    "are too large."
)


class Pump:
    """Claims for the sessions of `sessions`; `now` is the database's clock as this process carries it on."""

    def __init__(self, *, sessions: Mapping[uuid.UUID, AgentSession], now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._now = now
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Let the pump look for work now."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and send for ever."""
        while True:
            # Cleared before the look: a wake-up that comes during a claim leads to one more.
            self._wake.clear()
            wait_secs = await self._claim_and_dispatch()
            if wait_secs > 0:
                await wait_for_event(self._wake, wait_secs)
            else:
                # Slots are falling free one after the other; some of them together cost one claim.
                await asyncio.sleep(BUSY_GATHER_SECS)

    async def _claim_and_dispatch(self) -> float:
        """Do one claim and send what it gave; return after how many seconds to look again unless woken."""
        offering = {agent_id: session for agent_id, session in self._sessions.items() if session.free_slots}
        if not offering:
            return float(settings.HETUFLOW_POLL_SECS)
        slots = {agent_id: session.free_slots for agent_id, session in offering.items()}
        session_ids = {agent_id: session.session_id for agent_id, session in offering.items()}
        try:
            started, wait_secs = await in_database_thread(lambda: _claim(slots, session_ids))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("claim failed, trying again: %s", error)
            await asyncio.sleep(RETRY_AFTER_SECS)
            return 0.0
        by_agent: dict[uuid.UUID, list[StartedAttempt]] = defaultdict(list)
        for attempt in started:
            by_agent[attempt.agent_id].append(attempt)
        for agent_id, attempts in by_agent.items():
            # Sent to the session that was claimed for, not to a successor: that was told when it registered.
            session = offering[agent_id]
            too_large = await session.dispatch(
                attempts, now=self._now(), lease_secs=settings.HETUFLOW_LEASE_SECS
            )
            await fail_undeliverable(too_large, session=session)
        return wait_secs


def _claim(
    slots: Mapping[uuid.UUID, int], session_ids: Mapping[uuid.UUID, uuid.UUID]
) -> tuple[list[StartedAttempt], float]:
    """Claim for `slots`; return the attempts begun, and the seconds until there may be more to claim."""

    def hold(agent_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        return services.hold_sessions({agent_id: session_ids[agent_id] for agent_id in agent_ids}, now=now)

    now, lead_secs = database_now(), float(settings.HETUFLOW_LEAD_SECS)
    started = claiming.claim(
        slots=slots, now=now, lead_secs=lead_secs, lease_secs=settings.HETUFLOW_LEASE_SECS, hold=hold
    )
    if started:
        return started, 0.0
    until = now + timedelta(seconds=lead_secs)
    next_due = claiming.next_due_at(after=until, agent_ids=list(slots))
    poll_secs = float(settings.HETUFLOW_POLL_SECS)
    if next_due is None:
        return started, poll_secs
    gather_secs = min(MAX_GATHER_SECS, lead_secs / 4)
    return started, min(poll_secs, max(gather_secs, 0.005, (next_due - until).total_seconds()))


async def fail_undeliverable(attempts: Sequence[StartedAttempt], *, session: AgentSession) -> None:
    """End attempts that fit into no frame as failed: sent again and again, they would block their agent."""
    if not attempts:
        return
    for attempt in attempts:
        session.forget_attempt(attempt.instance_id)
    await in_database_thread(lambda: _fail(attempts))


def _fail(attempts: Sequence[StartedAttempt]) -> None:
    now = database_now()
    fact = ReportedFact(seq=1, status=InstanceStatus.FAILED, at=now, error_message=TOO_LARGE_MESSAGE)
    keys = [AttemptKey(agent_id=a.agent_id, instance_id=a.instance_id, token=a.token) for a in attempts]
    lifecycle.apply_reports([(key, fact) for key in keys], now=now)
