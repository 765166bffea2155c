"""How far backfills are: what became of their tasks, and of each instant of a short one. Writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db import connection
from django.db.models import Count

from scheduling.models import Backfill, Task
from scheduling.recurrence import Recurrence, instants_between
from scheduling.services.backfills import allowed_instants
from scheduling.states import TASK_TERMINAL

ACTIVE: Final = "active"
LEFT_OUT: Final = "left_out"
TO_COME: Final = "to_come"
# Of a backfill with more instants than this only the tasks are told, by span.
MAX_CELLS: Final = 500
SPANS: Final = 100
# A calendar may forbid most instants of a rule; among so many the allowed ones are looked for.
_LOOKED_AT: Final = 5000

_BY_SPAN: Final = """
SELECT least(width_bucket(extract(epoch FROM scheduled_at)::float8, %(low)s::float8, %(high)s::float8,
                          %(spans)s), %(spans)s) - 1,
       CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN status ELSE 'active' END, count(*)
FROM scheduling_task WHERE backfill_id = %(id)s GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One instant of a backfill and what became of it: a terminal status, active, left out or to come."""

    at: datetime
    fate: str
    task_id: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """How many tasks for instants from `begin` up to `end` there are, by what became of them."""

    begin: datetime
    end: datetime
    counts: dict[str, int]


def count_tasks(ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return how the tasks of each backfill stand, by the index of tasks by backfill and status."""
    counts = {pk: {"completed": 0, "failed": 0, "cancelled": 0, ACTIVE: 0} for pk in ids}
    rows = Task.objects.filter(backfill__in=ids).order_by().values_list("backfill_id", "status")
    for pk, status, number in rows.annotate(number=Count("pk")):
        counts[pk][status if status in TASK_TERMINAL else ACTIVE] += number
    return counts


def cells_of(backfill: Backfill) -> list[Cell] | None:
    """Return each instant of a backfill in order, None where there are more than MAX_CELLS.

    What is still to come, or was left out, is computed with the calendar as it is now. One query where the
    backfill's schedule and calendar are loaded.
    """
    if max(backfill.total, backfill.planned + backfill.left_out) > MAX_CELLS:
        return None
    tasks: dict[datetime, tuple[int, str]] = {
        at: (pk, status)
        for at, pk, status in Task.objects.filter(backfill=backfill)
        .order_by("scheduled_at")
        .values_list("scheduled_at", "pk", "status")[:MAX_CELLS]
    }
    cells = [Cell(at, LEFT_OUT if at <= backfill.planned_until else TO_COME) for at in _allowed(backfill)]
    told = [cell for cell in cells if cell.at not in tasks]
    ended = [
        Cell(at, status if status in TASK_TERMINAL else ACTIVE, pk) for at, (pk, status) in tasks.items()
    ]
    return sorted([*told, *ended], key=lambda cell: cell.at)[:MAX_CELLS]


def spans_of(backfill: Backfill) -> list[Span]:
    """Return the tasks of a backfill counted by SPANS parts of its range, in order."""
    length = (backfill.range_to - backfill.range_from) / SPANS
    counts: list[dict[str, int]] = [{} for _ in range(SPANS)]
    parameters: dict[str, Any] = {
        "id": backfill.pk,
        "low": backfill.range_from.timestamp(),
        "high": backfill.range_to.timestamp(),
        "spans": SPANS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_BY_SPAN, parameters)
        for number, fate, count in cursor.fetchall():
            counts[max(0, number)][fate] = count
    begin = backfill.range_from
    return [
        Span(begin + number * length, begin + (number + 1) * length, found)
        for number, found in enumerate(counts)
    ]


def _allowed(backfill: Backfill) -> list[datetime]:
    rule = msgspec.convert(backfill.rule, Recurrence)
    begin = backfill.range_from - timedelta(microseconds=1)
    found = instants_between(rule, begin, backfill.range_to, _LOOKED_AT)
    return allowed_instants(found, None, backfill.schedule)
