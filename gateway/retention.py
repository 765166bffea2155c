"""Forget what agents said long ago: lines of their logs beyond a number and an age, and old commands to them.

Lines come by the thousand, so they are bounded for each agent. A few agents are looked at in each call, along
the index of their lines, in batches that are short transactions and wait for nobody.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection

from agents.models import Agent

AGENTS_PER_STEP: Final = 20
ROWS_PER_BATCH: Final = 5000
# After so long a call leaves the rest to the next one.
BUDGET_SECS: Final = 0.5
_FIRST: Final = UUID(int=0)
_FOR_EVER: Final = timedelta(days=36_500)

# The oldest lines of an agent, as far as they stand behind those that are kept, or are too old.
_DELETE_LINES: Final = """
DELETE FROM gateway_agentlog WHERE id IN (
    SELECT oldest.id FROM (
        SELECT id, at FROM gateway_agentlog WHERE agent_id = %(agent_id)s
        ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) oldest
    WHERE oldest.at < %(before)s OR oldest.id <= (
        SELECT id FROM gateway_agentlog WHERE agent_id = %(agent_id)s AND %(kept)s > 0
        ORDER BY id DESC OFFSET %(kept)s LIMIT 1
    )
)
"""
_DELETE_COMMANDS: Final = """
DELETE FROM gateway_agentcommand WHERE id IN (
    SELECT oldest.id FROM (
        SELECT id, created_at FROM gateway_agentcommand ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) oldest
    WHERE oldest.created_at < %(before)s
)
"""


@dataclass(slots=True)
class LogRetention:
    """Goes round the agents, a few in each call; where it stands is remembered in the process alone."""

    after: UUID = _FIRST

    def run_once(self, *, now: datetime) -> int:
        """Delete what is too much or too old of the next agents; return how many lines that were.

        Any number of processes may do so at once. Raises what the database raises; what is committed stays.
        """
        give_up_at = time.monotonic() + BUDGET_SECS
        days = settings.HETUFLOW_KEEP_DAYS
        before = now - (timedelta(days=days) if days else _FOR_EVER)
        agents = Agent.objects.filter(pk__gt=self.after).order_by("pk")
        agent_ids = list(agents.values_list("pk", flat=True)[:AGENTS_PER_STEP])
        deleted = 0
        for agent_id in agent_ids:
            while lines := _delete_lines(agent_id, before=before):
                deleted += lines
                if time.monotonic() > give_up_at:
                    return deleted
            self.after = agent_id
        if len(agent_ids) < AGENTS_PER_STEP:
            self.after = _FIRST
            _delete_commands(before=before)
        return deleted


def _delete_lines(agent_id: UUID, *, before: datetime) -> int:
    values: dict[str, Any] = {
        "agent_id": agent_id,
        "before": before,
        "kept": settings.HETUFLOW_KEEP_LOG_LINES,
        "limit": ROWS_PER_BATCH,
    }
    with connection.cursor() as cursor:
        cursor.execute(_DELETE_LINES, values)
        deleted: int = cursor.rowcount
    return deleted


def _delete_commands(*, before: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_DELETE_COMMANDS, {"before": before, "limit": ROWS_PER_BATCH})
