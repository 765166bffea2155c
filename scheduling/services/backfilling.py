"""Run a range of the past after all: a schedule's instants, a few at a time, until all have been run.

A backfill is a row with a cursor. `run_once` gives it as many tasks as it may have at once, from where the
cursor stands, in one transaction with the cursor; so it is resumed by whoever comes next after a crash, and
raced on harmlessly: the unique constraint on (backfill, instant) allows an instant one task.
"""

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from django.db import connection, transaction

from scheduling import hints
from scheduling.calendars import NO_CALENDAR
from scheduling.kinds import BackfillOverlap, BackfillStatus
from scheduling.models import Backfill, Task
from scheduling.recurrence import Recurrence, instants_between, next_after
from scheduling.services import alerts
from scheduling.services.backfills import allowed_instants
from scheduling.services.calendars import rules_of
from scheduling.states import TaskStatus
from scheduling.templates import Moment, render_parameters

logger = logging.getLogger(__name__)

BACKFILLS_PER_BATCH: Final = 100
# So many instants one backfill looks at in one transaction, be they run or left out.
INSTANTS_PER_STRETCH: Final = 500

_STATES: Final = """
SELECT b.id,
       (SELECT count(*) FROM scheduling_task t WHERE t.backfill_id = b.id
        AND t.status IN ('pending', 'waiting_retry', 'locked', 'dispatched', 'running')),
       b.on_failure = 'pause' AND EXISTS (
           SELECT FROM scheduling_task t WHERE t.backfill_id = b.id AND t.status = 'failed'
           AND t.completed_at >= b.resumed_at),
       EXISTS (SELECT FROM scheduling_taskinstance i JOIN scheduling_task t ON t.id = i.task_id
               WHERE i.job_id = s.job_id AND i.status IN ('pending', 'dispatched', 'running')
               AND t.schedule_id = b.schedule_id),
       EXISTS (SELECT FROM scheduling_freeze f WHERE f.namespace = j.namespace AND f.since <= %(now)s
               AND (f.until IS NULL OR f.until > %(now)s))
FROM scheduling_backfill b
JOIN scheduling_schedule s ON s.id = b.schedule_id JOIN scheduling_job j ON j.id = s.job_id
WHERE b.id = ANY(%(ids)s::bigint[])
"""

_INSERT_TASKS: Final = """
INSERT INTO scheduling_task
    (job_id, namespace, backfill_id, schedule_kind, route_id, priority, status, reason, scheduled_at,
     instants, due_at, parameters, environment, config, attempt_count, retry_count, max_retries,
     manual_retries, dependencies, lock_version, created_by, created_at, updated_at)
SELECT j.id, j.namespace, b.id, s.kind, j.route_id, 0, 'pending', '', p.scheduled_at, 1, %(now)s,
       j.parameter_defaults || p.parameters::jsonb, j.environment, j.task_config, 0, 0,
       (j.task_config->>'max_retries')::int, 0, '[]',
       0, b.created_by, %(now)s, %(now)s
FROM unnest(%(ids)s::bigint[], %(scheduled)s::timestamptz[], %(parameters)s::text[])
     AS p(backfill_id, scheduled_at, parameters)
JOIN scheduling_backfill b ON b.id = p.backfill_id
JOIN scheduling_schedule s ON s.id = b.schedule_id JOIN scheduling_job j ON j.id = s.job_id
ORDER BY p.scheduled_at, b.id
ON CONFLICT (backfill_id, scheduled_at) DO NOTHING
"""

_ADVANCE: Final = """
UPDATE scheduling_backfill b
SET planned_until = p.planned_until, planned = b.planned + p.planned, left_out = b.left_out + p.left_out,
    status = p.status, problem = p.problem, updated_at = %(now)s,
    completed_at = CASE WHEN p.status = 'completed' THEN %(now)s END,
    total = CASE WHEN p.status = 'completed' THEN b.planned + b.left_out + p.planned + p.left_out
                 ELSE b.total END
FROM unnest(%(ids)s::bigint[], %(until)s::timestamptz[], %(planned)s::int[], %(left_out)s::int[],
            %(statuses)s::text[], %(problems)s::text[])
     AS p(id, planned_until, planned, left_out, status, problem)
WHERE b.id = p.id
"""


@dataclass(frozen=True, slots=True)
class _State:
    """What decides whether a backfill may go on."""

    live: int
    must_pause: bool
    beside_own_run: bool
    is_frozen: bool


@dataclass(slots=True)
class _Stretch:
    """What one step makes of a backfill."""

    backfill: Backfill
    planned_until: datetime
    status: str = BackfillStatus.RUNNING
    problem: str = ""
    left_out: int = 0
    instants: list[datetime] = field(default_factory=list)
    parameters: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_change(self) -> bool:
        """Whether there is anything to write."""
        backfill = self.backfill
        before = (backfill.planned_until, backfill.status, backfill.problem)
        return before != (self.planned_until, self.status, self.problem)


def run_once(*, now: datetime, ids: Collection[int] | None = None) -> int:
    """Give every running backfill, or those with these ids, the tasks that it may have; return how many.

    One transaction for each batch of backfills. One that cannot go on is paused, with an alert, and does not
    stop the others (I11).
    """
    written, last = 0, 0
    while True:
        found = Backfill.objects.filter(status=BackfillStatus.RUNNING, pk__gt=last)
        if ids is not None:
            found = found.filter(pk__in=ids)
        with transaction.atomic():
            backfills = list(
                found.select_related("schedule__job", "schedule__calendar")
                .select_for_update(skip_locked=True, of=("self",))
                .order_by("pk")[:BACKFILLS_PER_BATCH]
            )
            if not backfills:
                return written
            written += _step(backfills, now=now)
        last = backfills[-1].pk


def _step(backfills: Sequence[Backfill], *, now: datetime) -> int:
    states = _states(backfills, now=now)
    stretches = []
    for backfill in backfills:
        try:
            stretches.append(_next_stretch(backfill, states[backfill.pk]))
        except Exception as error:
            logger.exception("backfill %s cannot go on", backfill.pk)
            problem = f"{type(error).__name__}: {error}"[:1000]
            stretches.append(_Stretch(backfill, backfill.planned_until, BackfillStatus.PAUSED, problem))
    _write([stretch for stretch in stretches if stretch.is_change], now=now)
    return sum(len(stretch.instants) for stretch in stretches)


def _states(backfills: Sequence[Backfill], *, now: datetime) -> dict[int, _State]:
    with connection.cursor() as cursor:
        cursor.execute(_STATES, {"ids": [backfill.pk for backfill in backfills], "now": now})
        return {row[0]: _State(*row[1:]) for row in cursor.fetchall()}


def _next_stretch(backfill: Backfill, state: _State) -> _Stretch:
    stretch = _Stretch(backfill=backfill, planned_until=backfill.planned_until)
    if state.must_pause:
        stretch.status, stretch.problem = BackfillStatus.PAUSED, "paused because a run failed"
        return stretch
    if backfill.planned_until < backfill.range_to:
        stretch.problem = _obstacle(backfill, state)
        if not stretch.problem and state.live < backfill.parallel:
            _fill(stretch, backfill.parallel - state.live)
    if stretch.planned_until >= backfill.range_to and not state.live and not stretch.instants:
        stretch.status = BackfillStatus.COMPLETED
    return stretch


def _obstacle(backfill: Backfill, state: _State) -> str:
    """Return what keeps a backfill from beginning another run, "" for nothing."""
    if not backfill.schedule.job.enabled:
        return "waits: the job is disabled"
    if state.is_frozen:
        return "waits: the namespace is frozen"
    if state.beside_own_run and backfill.overlap == BackfillOverlap.QUEUE:
        return "waits: a run of the schedule is going on"
    return ""


def _fill(stretch: _Stretch, number: int) -> None:
    """Add the next instants of the backfill to its stretch, at most `number`, and move the cursor."""
    backfill = stretch.backfill
    rule = msgspec.convert(backfill.rule, Recurrence)
    passes_over = backfill.only_missing or backfill.schedule.calendar_id is not None
    limit = INSTANTS_PER_STRETCH if passes_over else number
    found = instants_between(rule, backfill.planned_until, backfill.range_to, limit)
    is_rest = len(found) < limit
    following = None if is_rest else next_after(rule, found[-1])
    done = _done(backfill, found) if backfill.only_missing else frozenset()
    stretch.planned_until = backfill.range_to if is_rest else found[-1]
    for instant in allowed_instants(found, following, backfill.schedule):
        if instant in done:
            stretch.left_out += 1
            continue
        if len(stretch.instants) == number:
            # The next step begins with this one.
            stretch.planned_until = instant - timedelta(microseconds=1)
            break
        stretch.instants.append(instant)
    _render(stretch)


def _done(backfill: Backfill, instants: Sequence[datetime]) -> frozenset[datetime]:
    """Return those of the instants that have been run, or are about to be."""
    tasks = Task.objects.filter(scheduled_at__in=instants).exclude(
        status__in=(TaskStatus.FAILED, TaskStatus.CANCELLED)
    )
    own = tasks.filter(schedule_id=backfill.schedule_id)
    earlier = tasks.filter(backfill__in=Backfill.objects.filter(schedule_id=backfill.schedule_id))
    return frozenset(
        own.values_list("scheduled_at", flat=True).union(earlier.values_list("scheduled_at", flat=True))
    )


def _render(stretch: _Stretch) -> None:
    """Fill in the parameters of each instant; raises BadTemplate."""
    schedule = stretch.backfill.schedule
    calendar = NO_CALENDAR if schedule.calendar is None else rules_of(schedule.calendar)
    zone = ZoneInfo(schedule.timezone)
    for previous, instant in zip([None, *stretch.instants], stretch.instants, strict=False):
        moment = Moment(instant, zone, calendar, previous)
        stretch.parameters.append(render_parameters(schedule.parameters, moment))


def _write(stretches: Sequence[_Stretch], *, now: datetime) -> None:
    if not stretches:
        return
    rows = [
        (stretch.backfill.pk, instant, json.dumps(parameters))
        for stretch in stretches
        for instant, parameters in zip(stretch.instants, stretch.parameters, strict=True)
    ]
    with connection.cursor() as cursor:
        if rows:
            ids, scheduled, parameters = (list(column) for column in zip(*rows, strict=True))
            cursor.execute(
                _INSERT_TASKS, {"ids": ids, "scheduled": scheduled, "parameters": parameters, "now": now}
            )
            hints.tasks_became_claimable()
        cursor.execute(
            _ADVANCE,
            {
                "now": now,
                "ids": [stretch.backfill.pk for stretch in stretches],
                "until": [stretch.planned_until for stretch in stretches],
                "planned": [len(stretch.instants) for stretch in stretches],
                "left_out": [stretch.left_out for stretch in stretches],
                "statuses": [str(stretch.status) for stretch in stretches],
                "problems": [stretch.problem for stretch in stretches],
            },
        )
    alerts.raise_for_paused_backfills(
        [(each.backfill, each.problem) for each in stretches if each.status == BackfillStatus.PAUSED]
    )
