"""The ledger of a schedule: what was planned against what happened (I2).

Behind the cursor, tasks are the truth: the rule may have been another one then. Before it, the rule says what
will come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import F, Min, OuterRef, Subquery, Sum

from scheduling.kinds import ScheduleStatus
from scheduling.models import Schedule, Task, TaskInstance
from scheduling.recurrence import instants_between
from scheduling.services.next_runs import recurrence_of

MAX_ENTRIES: Final = 1000
# An instant that is still to come.
PLANNED: Final = "planned"


@dataclass(frozen=True, slots=True)
class Ledger:
    """Entries in order of their instants; `totals` counts all instants of the range by outcome."""

    entries: Sequence[Mapping[str, Any]]
    totals: Mapping[str, int]
    has_more: bool


def ledger_of(schedule: Schedule, *, begin: datetime, end: datetime, limit: int) -> Ledger:
    """Return what was planned in [begin, end] and what became of it, the first `limit` entries.

    Three statements, whatever the range.
    """
    happened = Task.objects.filter(schedule=schedule, scheduled_at__gte=begin, scheduled_at__lte=end)
    started = (
        TaskInstance.objects.filter(task=OuterRef("pk"))
        .values("task")
        .annotate(first=Min("started_at"))
        .values("first")
    )
    rows = list(
        happened.annotate(first_started_at=Subquery(started))
        .order_by("scheduled_at")
        .values(
            "scheduled_at",
            "due_at",
            "outcome",
            "reason",
            "instants",
            "status",
            "completed_at",
            "first_started_at",
            task_number=F("pk"),
        )[: limit + 1]
    )
    totals = {
        str(outcome): number
        for outcome, number in happened.order_by().values_list("outcome").annotate(Sum("instants"))
    }
    entries = [_entry(row) for row in rows]
    coming = _coming(schedule, begin=begin, end=end, limit=limit + 1)
    if coming:
        totals[PLANNED] = len(coming)
    entries += [_planned(instant) for instant in coming]
    return Ledger(entries=entries[:limit], totals=totals, has_more=len(entries) > limit)


def _coming(schedule: Schedule, *, begin: datetime, end: datetime, limit: int) -> list[datetime]:
    if schedule.status != ScheduleStatus.ENABLED or schedule.next_run_at is None:
        return []
    after = max(begin, schedule.planned_until)
    return instants_between(recurrence_of(schedule), after, end, limit)


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    started_at, due_at = row["first_started_at"], row["due_at"]
    delay = None if started_at is None else round((started_at - due_at).total_seconds(), 6)
    return {
        "scheduled_at": row["scheduled_at"],
        "due_at": due_at,
        "outcome": row["outcome"],
        "reason": row["reason"],
        "instants": row["instants"],
        "task_id": row["task_number"],
        "status": row["status"],
        "started_at": started_at,
        "completed_at": row["completed_at"],
        "delay_secs": delay,
    }


def _planned(instant: datetime) -> dict[str, Any]:
    return {
        "scheduled_at": instant,
        "due_at": instant,
        "outcome": PLANNED,
        "reason": "",
        "instants": 1,
        "task_id": None,
        "status": None,
        "started_at": None,
        "completed_at": None,
        "delay_secs": None,
    }
