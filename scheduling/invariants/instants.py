"""I2, no silent miss: what a schedule's rule says, held against the rows that planning wrote.

Every instant between `rule_since` and the cursor has its task, with one row for those that lay too far back,
and there is no task that the rule does not name. What the rule says next is where the schedule waits.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection
from django.utils.dateparse import parse_datetime

from access.models import AuditEntry
from scheduling.clock import database_now
from scheduling.invariants.checks import Check, Finding, finding
from scheduling.kinds import IntervalMode, ScheduleKind, ScheduleStatus
from scheduling.models import Schedule, ZoneData
from scheduling.recurrence import Recurrence, instants_between, next_after
from scheduling.services.next_runs import recurrence_of
from scheduling.services.retention import kept_since
from scheduling.services.zone_data import zone_digest

SCHEDULES: Final = 200
WINDOW: Final = timedelta(hours=1)
INSTANTS: Final = 1000
NAMED: Final = 3
_DELETIONS: Final = 10_000

MISSING: Final = Check(
    "I2 every planned instant has its task",
    "schedule",
    "",
    "run what was missed: POST /api/v1/schedules/ID/backfills with only_missing; see the schedulers' logs of "
    "that time",
    "the last hour of schedules that run soonest",
)
SURPLUS: Final = Check(
    "I2 there is no task but those of the rule",
    "schedule",
    "",
    "somebody inserted rows by hand, or schedulers have different time zone data: see the group `time zones`",
    "the last hour of schedules that run soonest",
)
NEXT: Final = Check(
    "I2 a schedule waits for the next instant of its rule",
    "schedule",
    "",
    "save the schedule once more (PUT /api/v1/schedules/ID with a field of it), which plans it anew",
    "the schedules that run soonest",
)

_ROWS: Final = """
SELECT s.id, t.scheduled_at, t.instants, t.created_at
FROM unnest(%(ids)s::bigint[], %(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS s(id, begin_at, end_at),
LATERAL (
    (SELECT before.scheduled_at, before.instants, before.created_at FROM scheduling_task before
     WHERE before.schedule_id = s.id AND before.scheduled_at <= s.begin_at
     ORDER BY before.scheduled_at DESC LIMIT 1)
    UNION ALL
    SELECT within.scheduled_at, within.instants, within.created_at FROM scheduling_task within
    WHERE within.schedule_id = s.id AND within.scheduled_at > s.begin_at AND within.scheduled_at <= s.end_at
) t
ORDER BY s.id, t.scheduled_at
"""


@dataclass(frozen=True, slots=True)
class _Row:
    scheduled_at: datetime
    instants: int
    created_at: datetime


@dataclass(slots=True)
class Comparison:
    """What was compared, and what differs, by schedule."""

    schedules: int = 0
    instants: int = 0
    missing: dict[int, list[datetime]] = field(default_factory=dict)
    surplus: dict[int, list[datetime]] = field(default_factory=dict)
    next_runs: dict[int, list[datetime]] = field(default_factory=dict)

    def findings(self) -> list[Finding]:
        """Return what breaks a rule."""
        pairs = ((MISSING, self.missing), (SURPLUS, self.surplus), (NEXT, self.next_runs))
        found = [finding(check, [str(pk) for pk in wrong], details=_first(wrong)) for check, wrong in pairs]
        return [each for each in found if each is not None]


def compare(
    *,
    schedules: int | None = SCHEDULES,
    window: timedelta | None = WINDOW,
    most: int = INSTANTS,
    limit_secs: float | None = None,
) -> Comparison:
    """Hold the enabled schedules that run soonest against their tasks; None compares all there is.

    Of each schedule the first `most` instants of the window; where one row stands for more, none. Three
    statements, in the caller's transaction, which should be `reading`. Stops after `limit_secs`.
    """
    deadline = None if limit_secs is None else time.monotonic() + limit_secs
    soonest = Schedule.objects.filter(
        status=ScheduleStatus.ENABLED, next_run_at__isnull=False, problem=""
    ).exclude(kind=ScheduleKind.INTERVAL, interval_mode=IntervalMode.DELAY)
    chosen = list(soonest.order_by("next_run_at")[:schedules])
    known = dict(ZoneData.objects.values_list("zone", "digest"))
    chosen = [each for each in chosen if known.get(each.timezone) in (None, zone_digest(each.timezone))]
    begins = {each.pk: _begin(each, window) for each in chosen}
    rows = _rows_of(chosen, begins)
    comparison = Comparison()
    for schedule in chosen:
        if deadline is not None and time.monotonic() > deadline:
            break
        _compare(schedule, begins[schedule.pk], rows.get(schedule.pk, ()), most, comparison)
    _forgive_deletions(comparison, chosen)
    return comparison


def _begin(schedule: Schedule, window: timedelta | None) -> datetime:
    if window is None:
        return schedule.rule_since
    return max(schedule.rule_since, schedule.planned_until - window)


def _rows_of(schedules: Sequence[Schedule], begins: Mapping[int, datetime]) -> dict[int, list[_Row]]:
    found: dict[int, list[_Row]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            _ROWS,
            {
                "ids": [schedule.pk for schedule in schedules],
                "begins": [begins[schedule.pk] for schedule in schedules],
                "ends": [schedule.planned_until for schedule in schedules],
            },
        )
        for pk, scheduled_at, instants, created_at in cursor.fetchall():
            found.setdefault(pk, []).append(_Row(scheduled_at, instants, created_at))
    return found


def _compare(
    schedule: Schedule, begin: datetime, rows: Sequence[_Row], most: int, comparison: Comparison
) -> None:
    rule, cursor = recurrence_of(schedule), schedule.planned_until
    following = next_after(rule, cursor)
    if schedule.next_run_at is not None and schedule.next_run_at != following:
        comparison.next_runs[schedule.pk] = [schedule.next_run_at]
    # The last row before may stand for instants within.
    if rows and rows[0].scheduled_at <= begin and schedule.rule_since < rows[0].scheduled_at:
        begin = rows[0].scheduled_at - timedelta(microseconds=1)
    rows = [row for row in rows if row.scheduled_at > begin]
    stood_for = sum(row.instants - 1 for row in rows)
    if stood_for > most:
        return
    expected = instants_between(rule, begin, cursor, most + stood_for)
    if len(expected) == most + stood_for:
        cursor = expected[-1]
        rows = [row for row in rows if row.scheduled_at <= cursor]
    comparison.schedules += 1
    comparison.instants += len(expected)
    _note_differences(schedule, set(expected), rows, rule, comparison)


def _note_differences(
    schedule: Schedule,
    expected: set[datetime],
    rows: Sequence[_Row],
    rule: Recurrence,
    comparison: Comparison,
) -> None:
    covered = {row.scheduled_at for row in rows}
    for row in rows:
        if row.instants > 1:
            covered.update(instants_between(rule, row.scheduled_at, schedule.planned_until, row.instants - 1))
    if missing := sorted(expected - covered):
        comparison.missing[schedule.pk] = missing
    # What an agent had already when the rule changed was left alone.
    surplus = [
        row.scheduled_at
        for row in rows
        if row.scheduled_at not in expected and row.created_at > schedule.rule_since
    ]
    if surplus:
        comparison.surplus[schedule.pk] = surplus


def _forgive_deletions(comparison: Comparison, schedules: Sequence[Schedule]) -> None:
    """Leave out what people deleted, as the audit log says, and what was kept long enough."""
    if not comparison.missing:
        return
    entries = AuditEntry.objects.filter(action="task.delete").order_by("-id")
    deleted = {
        (before.get("job_id"), parse_datetime(str(before.get("scheduled_at"))))
        for before in entries.values_list("before", flat=True)[:_DELETIONS]
        if before is not None
    }
    kept = kept_since({schedule.job_id for schedule in schedules}, now=database_now())
    horizon = timedelta(seconds=settings.HETUFLOW_PLANNING_HORIZON_SECS)
    job_of = {schedule.pk: schedule.job_id for schedule in schedules}
    for pk, instants in list(comparison.missing.items()):
        job_id = job_of[pk]
        left = [instant for instant in instants if (job_id, _in_ms(instant)) not in deleted]
        if job_id in kept:
            # A task is created so long before its instant at most.
            left = [instant for instant in left if instant > kept[job_id] + horizon]
        comparison.missing[pk] = left
        if not left:
            del comparison.missing[pk]


def _in_ms(instant: datetime) -> datetime:
    """Return an instant as the audit log writes it."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _first(wrong: Mapping[int, Sequence[datetime]]) -> str:
    instants = next(iter(wrong.values()), ())
    more = ", …" if len(instants) > NAMED else ""
    return ", ".join(f"{instant:%Y-%m-%dT%H:%M:%S.%fZ}" for instant in instants[:NAMED]) + more
