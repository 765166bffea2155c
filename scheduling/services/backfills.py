"""Ask for a range of the past to be run after all; pause, resume and cancel it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from django.db import transaction

from access import audit
from access.actors import SYSTEM, Actor
from access.permits import Permit, anywhere
from access.sentences import said as _
from scheduling.calendars import NO_CALENDAR
from scheduling.errors import BadRange, InvalidField, InvalidState
from scheduling.judging import Rules, judge
from scheduling.kinds import BackfillFailure, BackfillOverlap, BackfillStatus
from scheduling.models import Backfill, Schedule, Task
from scheduling.recurrence import instants_between
from scheduling.services import lifecycle
from scheduling.services.calendars import rules_of
from scheduling.services.definitions import lock_schedule
from scheduling.services.next_runs import recurrence_of
from scheduling.states import TASK_TERMINAL

MAX_INSTANTS: Final = 50_000
MAX_PARALLEL: Final = 100
LIVE: Final = (BackfillStatus.RUNNING, BackfillStatus.PAUSED)
_AUDITED: Final = (
    "schedule_id",
    "range_from",
    "range_to",
    "parallel",
    "overlap",
    "on_failure",
    "only_missing",
    "status",
)
_ACTIONS: Final = {
    "pause": _("pause this backfill"),
    "resume": _("resume this backfill"),
    "cancel": _("cancel this backfill"),
}
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a backfill would run: `instants` in order; `forbidden` more are ruled out by the calendar."""

    instants: Sequence[datetime]
    forbidden: int


def survey(*, schedule: Schedule, range_from: datetime, range_to: datetime, now: datetime) -> Survey:
    """Return which instants a backfill would run, with the schedule and its calendar as they are.

    Raises BadRange where there are none, or more than MAX_INSTANTS.
    """
    if range_to < range_from:
        raise BadRange("reversed", "range_to", _("expected a time after range_from"))
    if range_to > now:
        raise BadRange(
            "future", "range_to", _("expected a time in the past; what is to come, the schedule runs")
        )
    if schedule.counts_from_the_end:
        text = _("counts from the end of its runs, so it has no instants to run")
        raise BadRange("no_rule", "schedule_id", text)
    rule = recurrence_of(schedule)
    found = instants_between(rule, range_from - timedelta(microseconds=1), range_to, MAX_INSTANTS + 1)
    if not found:
        raise BadRange("empty", "range_from", _("the schedule has no instant from here to range_to"))
    if len(found) > MAX_INSTANTS:
        text = _("more than %(most)s instants from range_from; shorten it", most=MAX_INSTANTS)
        raise BadRange("too_many", "range_to", text, count=MAX_INSTANTS)
    allowed = allowed_instants(found, None, schedule)
    if not allowed:
        text = _("the calendar forbids all %(found)s instants", found=len(found))
        raise BadRange("forbidden", "range_from", text, count=len(found))
    return Survey(instants=allowed, forbidden=len(found) - len(allowed))


def create_backfill(
    *,
    schedule_id: int,
    range_from: datetime,
    range_to: datetime,
    now: datetime,
    by: Actor = SYSTEM,
    permit: Permit = anywhere,
    parallel: int = 1,
    overlap: str = BackfillOverlap.QUEUE,
    on_failure: str = BackfillFailure.CONTINUE,
    only_missing: bool = False,
) -> Backfill:
    """Ask for the instants of a schedule in [range_from, range_to] to be run, and return that.

    The first tasks come with the next `run_once`. Locks the schedule. Raises InvalidField and
    Schedule.DoesNotExist.
    """
    if not 1 <= parallel <= MAX_PARALLEL:
        raise InvalidField({"parallel": _("expected a whole number from 1 to %(most)s", most=MAX_PARALLEL)})
    with transaction.atomic():
        schedule = lock_schedule(schedule_id, permit)
        found = survey(schedule=schedule, range_from=range_from, range_to=range_to, now=now)
        backfill = Backfill.objects.create(
            schedule=schedule,
            rule=msgspec.to_builtins(recurrence_of(schedule)),
            range_from=range_from,
            range_to=range_to,
            parallel=parallel,
            overlap=overlap,
            on_failure=on_failure,
            only_missing=only_missing,
            planned_until=range_from - timedelta(microseconds=1),
            total=len(found.instants),
            created_by=by.name,
            resumed_at=now,
        )
        _record(backfill, "backfill.create", by=by, after=audit.snapshot(backfill, _AUDITED))
    return backfill


def pause_backfill(
    *, backfill_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere
) -> Backfill:
    """Let a backfill begin no further runs, and return it; those under way go on.

    Raises InvalidState where it has ended, Backfill.DoesNotExist.
    """
    problem = f"paused by {by.name}" if by.name else "paused"
    changes = {"status": BackfillStatus.PAUSED, "problem": problem}
    return _switch(backfill_id, "pause", changes, by=by, permit=permit)


def resume_backfill(
    *, backfill_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere
) -> Backfill:
    """Let a paused backfill go on where it was; failures so far no longer pause it."""
    changes = {"status": BackfillStatus.RUNNING, "problem": "", "resumed_at": now}
    return _switch(backfill_id, "resume", changes, by=by, permit=permit)


def cancel_backfill(
    *, backfill_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere
) -> Backfill:
    """End a backfill for good and cancel its tasks that have not ended; commands that run are stopped.

    Raises InvalidState where it has ended, Backfill.DoesNotExist.
    """
    with transaction.atomic():
        changes = {"status": BackfillStatus.CANCELLED, "problem": "", "completed_at": now}
        backfill = _switch(backfill_id, "cancel", changes, by=by, permit=permit)
        tasks = Task.objects.filter(backfill=backfill).exclude(status__in=TASK_TERMINAL)
        for task_id in tasks.order_by("pk").values_list("pk", flat=True):
            lifecycle.cancel_task(task_id=task_id, now=now, reason=f"backfill {backfill} was cancelled")
    return backfill


def allowed_instants(
    instants: Sequence[datetime], following: datetime | None, schedule: Schedule
) -> list[datetime]:
    """Return those that the schedule's calendar, as it is now, does not forbid."""
    rules = Rules(
        zone=ZoneInfo(schedule.timezone),
        grace_ends=_LONG_AGO,
        misfire_policy="run_all",
        calendar=NO_CALENDAR if schedule.calendar is None else rules_of(schedule.calendar),
        calendar_policy=schedule.calendar_policy,
    )
    return [each.scheduled_at for each in judge(instants, following, (), rules) if each.runs]


def _switch(
    backfill_id: int, action: str, changes: Mapping[str, Any], *, by: Actor, permit: Permit
) -> Backfill:
    """Give a backfill that has not ended another status, under its lock."""
    with transaction.atomic():
        backfills = Backfill.objects.select_related("schedule__job").select_for_update(of=("self",))
        backfill: Backfill = backfills.get(pk=backfill_id)
        permit(backfill.namespace)
        if backfill.status not in LIVE:
            raise InvalidState(action=_ACTIONS[action], current=backfill.status, allowed=LIVE)
        if backfill.status == changes["status"]:
            return backfill
        before = audit.snapshot(backfill, _AUDITED)
        for name, value in changes.items():
            setattr(backfill, name, value)
        backfill.save(update_fields=["updated_at", *changes])
        after = audit.snapshot(backfill, _AUDITED)
        _record(backfill, f"backfill.{action}", by=by, before=before, after=after)
    return backfill


def _record(backfill: Backfill, action: str, *, by: Actor, **fields: Any) -> None:
    audit.record(by=by, action=action, subject=backfill, namespace=backfill.namespace, **fields)
