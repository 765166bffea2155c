"""Turn planned instants into tasks, each exactly once, with an outcome for those that do not run.

`run_once` may be called by any number of processes at once: due schedules are locked with SKIP LOCKED, and
the unique constraint on (schedule, instant) makes a replay harmless (I1).
"""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from scheduling import hints
from scheduling.kinds import ScheduleStatus
from scheduling.models import Schedule
from scheduling.recurrence import instants_between, next_after
from scheduling.services.definitions import recurrence_of
from scheduling.states import Outcome, TaskStatus
from scheduling.task_config import load_task_config

logger = logging.getLogger(__name__)

SCHEDULES_PER_BATCH: Final = 500
INSTANTS_PER_SCHEDULE: Final = 500
RETRY_BAD_SCHEDULE_AFTER: Final = timedelta(seconds=60)

_INSERT_TASKS: Final = """
INSERT INTO scheduling_task
    (job_id, namespace, schedule_id, schedule_kind, route_id, priority, status, outcome, reason, scheduled_at,
     due_at, completed_at, parameters, environment, config, attempt_count, retry_count, max_retries,
     manual_retries, dependencies, lock_version, created_by, created_at, updated_at)
SELECT j.id, j.namespace, p.schedule_id, s.kind, j.route_id, 0, p.status, p.outcome, p.reason, p.scheduled_at,
       p.due_at, CASE p.status WHEN 'cancelled' THEN %(now)s::timestamptz END, '{}', j.environment,
       j.task_config, 0, 0, (j.task_config->>'max_retries')::int, 0, '[]', 0, 'schedule', %(now)s, %(now)s
FROM unnest(%(schedule_ids)s::bigint[], %(statuses)s::text[], %(outcomes)s::text[], %(reasons)s::text[],
            %(scheduled)s::timestamptz[], %(due)s::timestamptz[])
     AS p(schedule_id, status, outcome, reason, scheduled_at, due_at)
JOIN scheduling_schedule s ON s.id = p.schedule_id JOIN scheduling_job j ON j.id = s.job_id
ORDER BY p.scheduled_at, p.schedule_id
ON CONFLICT (schedule_id, scheduled_at) DO NOTHING
"""

_ADVANCE: Final = """
UPDATE scheduling_schedule s
SET planned_until = p.planned_until, next_run_at = p.next_run_at, run_count = p.run_count, status = p.status,
    last_run_at = COALESCE(p.last_run_at, s.last_run_at), problem = '', updated_at = %(now)s
FROM unnest(%(ids)s::bigint[], %(until)s::timestamptz[], %(next)s::timestamptz[], %(counts)s::int[],
            %(statuses)s::text[], %(last)s::timestamptz[])
     AS p(id, planned_until, next_run_at, run_count, status, last_run_at)
WHERE s.id = p.id
"""


@dataclass(frozen=True, slots=True)
class PlannedInstant:
    """One instant and what is to become of it; only `fired` and `late` ones run."""

    scheduled_at: datetime
    outcome: Outcome
    reason: str = ""

    @property
    def runs(self) -> bool:
        return self.outcome in (Outcome.FIRED, Outcome.LATE)


@dataclass(slots=True)
class Plan:
    """The next stretch of one schedule: its instants, and where the cursor stands afterwards."""

    schedule_id: int
    jitter_secs: int
    planned_until: datetime
    next_run_at: datetime | None
    run_count: int
    instants: list[PlannedInstant] = field(default_factory=list)

    @property
    def last_run_at(self) -> datetime | None:
        return max((instant.scheduled_at for instant in self.instants if instant.runs), default=None)


def run_once(*, now: datetime, horizon_secs: float, catch_up_secs: float) -> int:
    """Plan every schedule that is due by `now + horizon_secs`; return how many instants were written.

    One transaction for each batch of schedules. A schedule that cannot be planned says why in `problem`
    and is tried again a minute later; it does not stop the others (I11).
    """
    written = 0
    while True:
        found, inserted = _plan_batch(now=now, horizon_secs=horizon_secs, catch_up_secs=catch_up_secs)
        written += inserted
        if not found:
            return written


def plan_schedule(schedule: Schedule, *, now: datetime, horizon_secs: float, catch_up_secs: float) -> Plan:
    """Return what the instants of `schedule` in its next stretch are to become; writes nothing.

    An instant older than the job's grace is a misfire: its policy says whether all of them run late, only the
    last one, or none. Instants before the catch-up window are not made good.
    """
    recurrence = recurrence_of(schedule)
    config = load_task_config(schedule.job.task_config)
    begin = max(schedule.planned_until, now - timedelta(seconds=catch_up_secs))
    until = now + timedelta(seconds=horizon_secs)
    instants = instants_between(recurrence, begin, until, INSTANTS_PER_SCHEDULE)
    planned_until = instants[-1] if len(instants) == INSTANTS_PER_SCHEDULE else until
    following = next_after(recurrence, planned_until)
    plan = Plan(
        schedule_id=schedule.pk,
        jitter_secs=schedule.jitter_secs,
        planned_until=planned_until,
        next_run_at=following,
        run_count=schedule.run_count,
    )
    grace_ends = now - timedelta(seconds=config.misfire_grace_secs)
    for instant, later in zip(instants, [*instants[1:], following], strict=True):
        if schedule.max_count is not None and plan.run_count >= schedule.max_count:
            plan.next_run_at = None
            break
        is_last_misfire = later is None or later >= grace_ends
        planned = _judge(instant, grace_ends, config.misfire_policy, is_last_misfire, schedule.job.enabled)
        plan.instants.append(planned)
        plan.run_count += planned.runs
    if schedule.max_count is not None and plan.run_count >= schedule.max_count:
        plan.next_run_at = None
    return plan


def _judge(
    instant: datetime, grace_ends: datetime, policy: str, is_last_misfire: bool, job_enabled: bool
) -> PlannedInstant:
    if not job_enabled:
        return PlannedInstant(instant, Outcome.SKIPPED_DISABLED, "the job was disabled")
    if instant >= grace_ends:
        return PlannedInstant(instant, Outcome.FIRED)
    if policy == "run_all" or (policy == "run_once" and is_last_misfire):
        return PlannedInstant(instant, Outcome.LATE, "no scheduler planned it in time")
    if policy == "run_once":
        return PlannedInstant(instant, Outcome.COALESCED, "several were missed; only the last one runs")
    return PlannedInstant(instant, Outcome.MISSED, "no scheduler planned it in time; the job skips misfires")


def _plan_batch(*, now: datetime, horizon_secs: float, catch_up_secs: float) -> tuple[int, int]:
    """Plan one batch; return how many schedules it held and how many tasks it wrote."""
    with transaction.atomic():
        schedules = list(
            Schedule.objects.due(now=now, horizon_secs=horizon_secs)
            .select_related("job")
            .order_by("next_run_at")
            .select_for_update(skip_locked=True, of=("self",))[:SCHEDULES_PER_BATCH]
        )
        plans = []
        for schedule in schedules:
            try:
                plans.append(
                    plan_schedule(schedule, now=now, horizon_secs=horizon_secs, catch_up_secs=catch_up_secs)
                )
            except Exception as error:
                logger.exception("schedule %s cannot be planned", schedule.pk)
                Schedule.objects.filter(pk=schedule.pk).update(
                    problem=f"{type(error).__name__}: {error}"[:1000],
                    next_run_at=now + timedelta(seconds=horizon_secs) + RETRY_BAD_SCHEDULE_AFTER,
                )
        inserted = _write(plans, now=now)
        if inserted:
            hints.tasks_became_claimable()
    return len(schedules), inserted


def _write(plans: Sequence[Plan], *, now: datetime) -> int:
    if not plans:
        return 0
    rows = [(plan, instant) for plan in plans for instant in plan.instants]
    with connection.cursor() as cursor:
        inserted = 0
        if rows:
            cursor.execute(
                _INSERT_TASKS,
                {
                    "now": now,
                    "schedule_ids": [plan.schedule_id for plan, _ in rows],
                    "statuses": [
                        TaskStatus.PENDING.value if instant.runs else TaskStatus.CANCELLED.value
                        for _, instant in rows
                    ],
                    "outcomes": [instant.outcome.value for _, instant in rows],
                    "reasons": [instant.reason for _, instant in rows],
                    "scheduled": [instant.scheduled_at for _, instant in rows],
                    "due": [instant.scheduled_at + _jitter(plan, instant) for plan, instant in rows],
                },
            )
            inserted = cursor.rowcount
        cursor.execute(
            _ADVANCE,
            {
                "now": now,
                "ids": [plan.schedule_id for plan in plans],
                "until": [plan.planned_until for plan in plans],
                "next": [plan.next_run_at for plan in plans],
                "counts": [plan.run_count for plan in plans],
                "statuses": [
                    (ScheduleStatus.ENABLED if plan.next_run_at else ScheduleStatus.EXPIRED).value
                    for plan in plans
                ],
                "last": [plan.last_run_at for plan in plans],
            },
        )
    return inserted


def _jitter(plan: Plan, instant: PlannedInstant) -> timedelta:
    """Return a delay up to the schedule's jitter, the same whoever plans this instant."""
    if not plan.jitter_secs:
        return timedelta()
    spread = zlib.crc32(f"{plan.schedule_id} {instant.scheduled_at.isoformat()}".encode()) / 2**32
    return timedelta(seconds=plan.jitter_secs * spread)
