"""The ledger of a schedule: what was planned against what happened (I2).

Behind the cursor, tasks are the truth: the rule may have been another one then. Before it, the rule says what
will come.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final, NamedTuple

from django.db.models import F, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Trunc

from scheduling.judging import PlannedInstant
from scheduling.kinds import ScheduleStatus
from scheduling.models import Schedule, Task, TaskInstance
from scheduling.services.previewing import coming_runs, frozen_span
from scheduling.states import Outcome, TaskStatus

MAX_ENTRIES: Final = 1000
# Instants that are still to come are counted so far.
MAX_PLANNED: Final = 2000
# An instant that is still to come.
PLANNED: Final = "planned"


@dataclass(frozen=True, slots=True)
class Ledger:
    """Entries in order of their instants; `totals` counts all instants of the range by outcome."""

    entries: Sequence[Mapping[str, Any]]
    totals: Mapping[str, int]
    has_more: bool


def ledger_of(
    schedule: Schedule, *, begin: datetime, end: datetime, limit: int, after: datetime | None = None
) -> Ledger:
    """Return what was planned in [begin, end] and what became of it, the first `limit` entries after `after`.

    As many statements for any range.
    """
    happened = _happened(schedule, begin, end)
    started = (
        TaskInstance.objects.filter(task=OuterRef("pk"))
        .values("task")
        .annotate(first=Min("started_at"))
        .values("first")
    )
    shown = happened if after is None else happened.filter(scheduled_at__gt=after)
    rows = list(
        shown.annotate(first_started_at=Subquery(started))
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
    coming = _coming(schedule, begin=begin, end=end, limit=MAX_PLANNED)
    if coming:
        totals[PLANNED] = len(coming)
    if after is not None:
        coming = _coming(schedule, begin=max(begin, after), end=end, limit=limit + 1)
    entries += [_planned(fate) for fate in coming]
    return Ledger(entries=entries[:limit], totals=totals, has_more=len(entries) > limit)


def count_by_span(
    schedule: Schedule, *, begin: datetime, end: datetime, span: str, zone: tzinfo = UTC
) -> Mapping[datetime, Mapping[str, int]]:
    """Return how many instants of [begin, end] have which outcome, by `day` or `hour` of a zone.

    The keys are where the spans begin, in UTC. Those still to come are counted up to MAX_PLANNED.
    """
    counts: dict[datetime, dict[str, int]] = defaultdict(dict)
    clocks = _clocks(begin, span, zone)
    by_span = _happened(schedule, begin, end).annotate(span=Trunc("scheduled_at", span, tzinfo=clocks))
    for start, outcome, number in by_span.order_by().values_list("span", "outcome").annotate(Sum("instants")):
        counts[start.astimezone(UTC)][str(outcome)] = number
    for fate in _coming(schedule, begin=begin, end=end, limit=MAX_PLANNED):
        start = _start(fate.scheduled_at, span, clocks).astimezone(UTC)
        counts[start][PLANNED] = counts[start].get(PLANNED, 0) + 1
    return counts


class Trouble(NamedTuple):
    """How many instants were to run, and what of them went wrong; a late run that failed is a failed one."""

    due: int
    missed: int
    failed: int
    late: int

    @property
    def sum(self) -> int:
        """All that went wrong."""
        return self.missed + self.failed + self.late


def trouble_by_span(
    schedule: Schedule, *, begin: datetime, end: datetime, span: str, zone: tzinfo = UTC
) -> Mapping[datetime, Trouble]:
    """Return what went wrong in [begin, end] by `day` or `hour` of a zone, for those with something to run.

    The keys are where the spans begin, by the zone's clocks.
    """
    due = _happened(schedule, begin, end).filter(outcome__in=(Outcome.FIRED, Outcome.LATE, Outcome.MISSED))
    failed = Q(status=TaskStatus.FAILED)
    rows = (
        due.annotate(span=Trunc("scheduled_at", span, tzinfo=zone))
        .order_by()
        .values_list("span")
        .annotate(
            Sum("instants"),
            missed=Sum("instants", filter=Q(outcome=Outcome.MISSED), default=0),
            failed=Sum("instants", filter=failed & ~Q(outcome=Outcome.MISSED), default=0),
            late=Sum("instants", filter=Q(outcome=Outcome.LATE) & ~failed, default=0),
        )
    )
    return {start: Trouble(*numbers) for start, *numbers in rows}


def bounds_of_spans(begin: datetime, end: datetime, *, span: str, zone: tzinfo) -> Sequence[datetime]:
    """Return where the spans of `count_by_span` begin, and where the last one ends, in UTC."""
    step = timedelta(hours=1) if span == "hour" else timedelta(days=1)
    start = _start(begin, span, _clocks(begin, span, zone))
    bounds = [start.astimezone(UTC)]
    while bounds[-1] <= end:
        # By the zone's own clocks: a day may have 23 or 25 hours.
        start += step
        bounds.append(start.astimezone(UTC))
    return bounds


def _clocks(begin: datetime, span: str, zone: tzinfo) -> tzinfo:
    """Return the zone itself for days; hours follow its clocks at the beginning, so that none comes twice."""
    offset = begin.astimezone(zone).utcoffset()
    return zone if span == "day" or offset is None else timezone(offset)


def _start(instant: datetime, span: str, clocks: tzinfo) -> datetime:
    start = instant.astimezone(clocks).replace(minute=0, second=0, microsecond=0)
    return start.replace(hour=0) if span == "day" else start


def _happened(schedule: Schedule, begin: datetime, end: datetime) -> QuerySet[Task]:
    return Task.objects.filter(schedule=schedule, scheduled_at__gte=begin, scheduled_at__lte=end)


def _coming(schedule: Schedule, *, begin: datetime, end: datetime, limit: int) -> list[PlannedInstant]:
    """Return the instants of (begin, end] behind the cursor, with what is to become of them."""
    if schedule.status != ScheduleStatus.ENABLED or schedule.next_run_at is None:
        return []
    # How many runs are left of a limited number, only counting from the cursor tells.
    cursor = schedule.planned_until
    after = cursor if schedule.max_count is not None else max(begin, cursor)
    frozen = frozen_span(schedule.namespace, now=after)
    coming = coming_runs(schedule, now=after, until=end, count=limit, frozen=frozen)
    return [each.fate for each in coming if each.fate.scheduled_at > begin]


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


def _planned(fate: PlannedInstant) -> dict[str, Any]:
    return {
        "scheduled_at": fate.scheduled_at,
        "due_at": fate.due_at,
        "outcome": PLANNED,
        "reason": fate.reason if fate.runs else f"will be skipped: {fate.reason}",
        "instants": 1,
        "task_id": None,
        "status": None,
        "started_at": None,
        "completed_at": None,
        "delay_secs": None,
    }
