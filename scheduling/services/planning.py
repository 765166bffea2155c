"""Turn planned instants into tasks, each exactly once, with an outcome for those that do not run.

`run_once` may be called by any number of processes at once: due schedules are locked with SKIP LOCKED, and
the unique constraint on (schedule, instant) makes a replay harmless (I1).
"""

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import Prefetch

from scheduling import hints
from scheduling.calendars import NO_CALENDAR, CalendarRules
from scheduling.judging import FrozenSpan, PlannedInstant, Rules, judge
from scheduling.kinds import ScheduleStatus
from scheduling.models import Calendar, Freeze, Job, Schedule
from scheduling.recurrence import Recurrence, count_between, instants_after, next_after, stretch
from scheduling.services import alerts
from scheduling.services.calendars import rules_of
from scheduling.services.next_runs import recurrence_of
from scheduling.states import Outcome, TaskStatus
from scheduling.task_config import load_task_config
from scheduling.templates import Moment, has_templates, render_parameters

logger = logging.getLogger(__name__)

SCHEDULES_PER_BATCH: Final = 1000
INSTANTS_PER_SCHEDULE: Final = 500
# Instants that lie before the window are counted so far; beyond, the row says "more than".
COUNTED_INSTANTS: Final = 100_000
LOOKED_AHEAD: Final = 10_000
RETRY_BAD_SCHEDULE_AFTER: Final = timedelta(seconds=60)

_PLANNED_BY: Final = (
    "job_id",
    "kind",
    "cron_expression",
    "interval_secs",
    "interval_mode",
    "timezone",
    "dst_gap",
    "dst_overlap",
    "seed",
    "start_time",
    "end_time",
    "max_count",
    "run_count",
    "jitter_secs",
    "calendar_id",
    "calendar_policy",
    "parameters",
    "catch_up_secs",
    "planned_until",
    "next_run_at",
    "last_run_at",
)
_PLANNED_BY_JOB: Final = ("namespace", "enabled", "task_config")

_INSERT_TASKS: Final = """
INSERT INTO scheduling_task
    (job_id, namespace, schedule_id, schedule_kind, route_id, priority, status, outcome, reason, scheduled_at,
     instants, due_at, completed_at, parameters, environment, config, attempt_count, retry_count, max_retries,
     manual_retries, dependencies, lock_version, created_by, created_at, updated_at)
SELECT j.id, j.namespace, p.schedule_id, s.kind, j.route_id, 0, p.status, p.outcome, p.reason, p.scheduled_at,
       p.instants, p.due_at, CASE p.status WHEN 'cancelled' THEN %(now)s::timestamptz END,
       j.parameter_defaults || p.parameters::jsonb, j.environment, j.task_config, 0, 0,
       (j.task_config->>'max_retries')::int, 0, '[]',
       0, 'schedule', %(now)s, %(now)s
FROM unnest(%(schedule_ids)s::bigint[], %(statuses)s::text[], %(outcomes)s::text[], %(reasons)s::text[],
            %(scheduled)s::timestamptz[], %(instants)s::bigint[], %(due)s::timestamptz[],
            %(parameters)s::text[])
     AS p(schedule_id, status, outcome, reason, scheduled_at, instants, due_at, parameters)
JOIN scheduling_schedule s ON s.id = p.schedule_id JOIN scheduling_job j ON j.id = s.job_id
ORDER BY p.scheduled_at, p.schedule_id
ON CONFLICT (schedule_id, scheduled_at) DO NOTHING
"""
_TELL_WHICH: Final = "RETURNING schedule_id, outcome, scheduled_at, instants"

_ADVANCE: Final = """
UPDATE scheduling_schedule s
SET planned_until = p.planned_until, next_run_at = p.next_run_at, run_count = p.run_count, status = p.status,
    last_run_at = COALESCE(p.last_run_at, s.last_run_at), problem = '', updated_at = %(now)s
FROM unnest(%(ids)s::bigint[], %(until)s::timestamptz[], %(next)s::timestamptz[], %(counts)s::int[],
            %(statuses)s::text[], %(last)s::timestamptz[])
     AS p(id, planned_until, next_run_at, run_count, status, last_run_at)
WHERE s.id = p.id
"""

# What is due is found by its keys: joined otherwise, every schedule there is would be read for a few.
_BY_KEYS: Final = (
    "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
)

# A schedule that counts from the end of its runs waits, without a next instant, for its latest task to end.
_RESUME_DELAYED: Final = """
UPDATE scheduling_schedule s
SET next_run_at = CASE WHEN s.end_time < due.at THEN NULL ELSE due.at END,
    status = CASE WHEN s.end_time < due.at THEN 'expired' ELSE s.status END, updated_at = %(now)s
FROM scheduling_schedule w
LEFT JOIN LATERAL (
    SELECT t.status, t.completed_at FROM scheduling_task t WHERE t.schedule_id = w.id
    ORDER BY t.scheduled_at DESC LIMIT 1
) latest ON true
CROSS JOIN LATERAL (
    SELECT COALESCE(latest.completed_at, %(now)s) + w.interval_secs * interval '1 second' AS at
) due
WHERE w.kind = 'interval' AND w.interval_mode = 'delay' AND w.status = 'enabled' AND w.next_run_at IS NULL
  AND w.archived_at IS NULL AND s.id = w.id
  AND (latest.status IS NULL OR latest.status IN ('completed', 'failed', 'cancelled'))
"""


@dataclass(slots=True)
class Plan:
    """The next stretch of one schedule: its instants, and where the cursor stands afterwards."""

    schedule: Schedule
    planned_until: datetime
    next_run_at: datetime | None
    run_count: int
    is_waiting: bool = False
    instants: list[PlannedInstant] = field(default_factory=list)
    parameters: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last_run_at(self) -> datetime | None:
        return max((instant.scheduled_at for instant in self.instants if instant.runs), default=None)

    @property
    def status(self) -> str:
        goes_on = self.next_run_at is not None or self.is_waiting
        return ScheduleStatus.ENABLED if goes_on else ScheduleStatus.EXPIRED


def run_once(*, now: datetime, horizon_secs: float, catch_up_secs: float) -> int:
    """Plan every schedule that is due by `now + horizon_secs`; return how many instants were written.

    One transaction for each batch of schedules. A schedule that cannot be planned says why in `problem`
    and is tried again a minute later; it does not stop the others (I11).
    """
    resume_delayed(now=now)
    written = 0
    goes_on = True
    while goes_on:
        inserted, goes_on = _plan_batch(now=now, horizon_secs=horizon_secs, catch_up_secs=catch_up_secs)
        written += inserted
    return written


def resume_delayed(*, now: datetime) -> int:
    """Let schedules that wait for the end of their latest run go on where it has ended; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_RESUME_DELAYED, {"now": now})
        return int(cursor.rowcount)


def plan_schedule(
    schedule: Schedule,
    *,
    now: datetime,
    horizon_secs: float,
    catch_up_secs: float,
    frozen: FrozenSpan | None = None,
) -> Plan:
    """Return what the instants of `schedule` in its next stretch are to become; writes nothing.

    Instants before the catch-up window, the schedule's own or `catch_up_secs`, are not made good; they share
    one row that says how many they were.
    """
    recurrence = recurrence_of(schedule)
    config = load_task_config(schedule.job.task_config)
    rules = Rules(
        zone=_zone(schedule.timezone),
        grace_ends=now - timedelta(seconds=config.misfire_grace_secs),
        misfire_policy=config.misfire_policy,
        job_enabled=schedule.job.enabled,
        calendar=_calendar_of(schedule.calendar),
        calendar_policy=schedule.calendar_policy,
        frozen=frozen,
    )
    if schedule.counts_from_the_end:
        return _plan_delayed(schedule, rules)
    window = timedelta(
        seconds=schedule.catch_up_secs if schedule.catch_up_secs is not None else catch_up_secs
    )
    begin = max(schedule.planned_until, now - window)
    until = now + timedelta(seconds=horizon_secs)
    instants, following = stretch(recurrence, begin, until, INSTANTS_PER_SCHEDULE)
    planned_until = instants[-1] if len(instants) == INSTANTS_PER_SCHEDULE else until
    plan = Plan(
        schedule=schedule, planned_until=planned_until, next_run_at=following, run_count=schedule.run_count
    )
    _account_for_dropped(plan, recurrence, until=begin, rules=rules)
    later = instants_after(recurrence, planned_until, LOOKED_AHEAD)
    for planned in judge(instants, following, later, rules):
        if schedule.max_count is not None and plan.run_count >= schedule.max_count:
            break
        plan.instants.append(planned)
        plan.run_count += planned.runs
    if schedule.max_count is not None and plan.run_count >= schedule.max_count:
        plan.next_run_at = None
    _render(plan, rules)
    return plan


def _plan_delayed(schedule: Schedule, rules: Rules) -> Plan:
    """Plan the one instant that a schedule which counts from the end of its runs has at a time."""
    instant = schedule.next_run_at or schedule.planned_until
    plan = Plan(
        schedule=schedule,
        planned_until=instant,
        next_run_at=None,
        run_count=schedule.run_count,
        is_waiting=True,
        instants=judge([instant], None, (), rules),
    )
    plan.run_count += sum(planned.runs for planned in plan.instants)
    if schedule.max_count is not None and plan.run_count >= schedule.max_count:
        plan.is_waiting = False
    _render(plan, rules)
    return plan


def _account_for_dropped(plan: Plan, recurrence: Recurrence, *, until: datetime, rules: Rules) -> None:
    """Add one row for all instants between the cursor and `until`, which lie too far back to be made good."""
    cursor = plan.schedule.planned_until
    if cursor >= until:
        return
    first = next_after(recurrence, cursor)
    if first is None or first > until:
        return
    count = count_between(recurrence, cursor, until, COUNTED_INSTANTS)
    more = "more than " if count > COUNTED_INSTANTS else ""
    count = min(count, COUNTED_INSTANTS)
    outcome = Outcome.MISSED if rules.job_enabled else Outcome.SKIPPED_DISABLED
    reason = f"{more}{count} instants up to {until:%Y-%m-%dT%H:%M:%SZ} lie before the catch-up window"
    plan.instants.append(PlannedInstant(first, outcome, first, reason, instants=count))


def _render(plan: Plan, rules: Rules) -> None:
    """Fill in the parameters of each instant; raises BadTemplate, which stops this schedule alone."""
    parameters = plan.schedule.parameters
    previous = plan.schedule.last_run_at
    for instant in plan.instants:
        if instant.runs and has_templates(parameters):
            moment = Moment(instant.scheduled_at, rules.zone, rules.calendar, previous)
            plan.parameters.append(render_parameters(parameters, moment))
        else:
            plan.parameters.append(parameters)
        previous = instant.scheduled_at if instant.runs else previous


def _plan_batch(*, now: datetime, horizon_secs: float, catch_up_secs: float) -> tuple[int, bool]:
    """Plan one batch; return how many tasks it wrote, and whether more may be due."""
    with transaction.atomic():
        schedules = list(
            Schedule.objects.due(now=now, horizon_secs=horizon_secs)
            .only(*_PLANNED_BY)
            .prefetch_related(Prefetch("job", Job.objects.only(*_PLANNED_BY_JOB)), "calendar")
            .order_by("next_run_at")
            .select_for_update(skip_locked=True)[:SCHEDULES_PER_BATCH]
        )
        frozen = _frozen_namespaces({schedule.job.namespace for schedule in schedules})
        plans = []
        for schedule in schedules:
            try:
                plan = plan_schedule(
                    schedule,
                    now=now,
                    horizon_secs=horizon_secs,
                    catch_up_secs=catch_up_secs,
                    frozen=frozen.get(schedule.job.namespace),
                )
                plans.append(plan)
            except Exception as error:
                logger.exception("schedule %s cannot be planned", schedule.pk)
                Schedule.objects.filter(pk=schedule.pk).update(
                    problem=f"{type(error).__name__}: {error}"[:1000],
                    next_run_at=now + timedelta(seconds=horizon_secs) + RETRY_BAD_SCHEDULE_AFTER,
                )
        inserted = _write(plans, now=now)
        if inserted:
            hints.tasks_became_claimable()
    until = now + timedelta(seconds=horizon_secs)
    is_behind = any(plan.next_run_at is not None and plan.next_run_at <= until for plan in plans)
    return inserted, is_behind or len(schedules) == SCHEDULES_PER_BATCH


def _frozen_namespaces(namespaces: set[str]) -> Mapping[str, FrozenSpan]:
    if not namespaces:
        return {}
    return {
        freeze.namespace: FrozenSpan(freeze.since, freeze.until, freeze.reason)
        for freeze in Freeze.objects.filter(namespace__in=sorted(namespaces))
    }


def _write(plans: Sequence[Plan], *, now: datetime) -> int:
    if not plans:
        return 0
    rows = [(plan, *each) for plan in plans for each in zip(plan.instants, plan.parameters, strict=True)]
    are_some_missed = any(instant.outcome == Outcome.MISSED for _, instant, _ in rows)
    written: list[tuple[int, str, datetime, int]] = []
    inserted = 0
    with connection.cursor() as cursor:
        cursor.execute(_BY_KEYS)
        if rows:
            statement = _INSERT_TASKS + (_TELL_WHICH if are_some_missed else "")
            cursor.execute(statement, {"now": now, **_task_arrays(rows)})
            inserted = cursor.rowcount
            written = cursor.fetchall() if are_some_missed else []
        cursor.execute(
            _ADVANCE,
            {
                "now": now,
                "ids": [plan.schedule.pk for plan in plans],
                "until": [plan.planned_until for plan in plans],
                "next": [plan.next_run_at for plan in plans],
                "counts": [plan.run_count for plan in plans],
                "statuses": [str(plan.status) for plan in plans],
                "last": [plan.last_run_at for plan in plans],
            },
        )
    if are_some_missed:
        alerts.raise_for_missed(
            schedules=[plan.schedule for plan in plans],
            missed=[row for row in written if row[1] == Outcome.MISSED],
        )
    return inserted


def _task_arrays(rows: Sequence[tuple[Plan, PlannedInstant, dict[str, Any]]]) -> dict[str, list[Any]]:
    return {
        "schedule_ids": [plan.schedule.pk for plan, _, _ in rows],
        "statuses": [
            TaskStatus.PENDING.value if instant.runs else TaskStatus.CANCELLED.value for _, instant, _ in rows
        ],
        "outcomes": [instant.outcome.value for _, instant, _ in rows],
        "reasons": [instant.reason for _, instant, _ in rows],
        "scheduled": [instant.scheduled_at for _, instant, _ in rows],
        "instants": [instant.instants for _, instant, _ in rows],
        "due": [instant.due_at + _jitter(plan.schedule, instant) for plan, instant, _ in rows],
        "parameters": [json.dumps(parameters) if parameters else "{}" for _, _, parameters in rows],
    }


def _jitter(schedule: Schedule, instant: PlannedInstant) -> timedelta:
    """Return a delay up to the schedule's jitter, the same whoever plans this instant."""
    if not schedule.jitter_secs:
        return timedelta()
    spread = zlib.crc32(f"{schedule.pk} {instant.scheduled_at.isoformat()}".encode()) / 2**32
    return timedelta(seconds=schedule.jitter_secs * spread)


def _calendar_of(calendar: Calendar | None) -> CalendarRules:
    return NO_CALENDAR if calendar is None else rules_of(calendar)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
