"""What is to become of planned instants (pure): calendar first, then misfire policy.

A blackout, a freeze or a day off is stronger than everything but a disabled job. Of what is allowed, instants
that lie further back than the job's grace are misfires.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from scheduling.calendars import NO_CALENDAR, CalendarRules
from scheduling.kinds import CalendarPolicy
from scheduling.states import Outcome

RUNNING: Final = (Outcome.FIRED, Outcome.LATE)


@dataclass(frozen=True, slots=True)
class PlannedInstant:
    """One instant and what is to become of it; only fired and late ones run, at `due_at`.

    `instants` is more than one for a row that stands for so many.
    """

    scheduled_at: datetime
    outcome: Outcome
    due_at: datetime
    reason: str = ""
    instants: int = 1

    @property
    def runs(self) -> bool:
        return self.outcome in RUNNING


@dataclass(frozen=True, slots=True)
class FrozenSpan:
    """A namespace is frozen from `since` up to `until`, for ever where that is None."""

    since: datetime
    until: datetime | None = None
    reason: str = ""

    def holds(self, instant: datetime) -> bool:
        return self.since <= instant and (self.until is None or instant < self.until)


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about a schedule's instants; `grace_ends` is where misfires begin, going back."""

    zone: ZoneInfo
    grace_ends: datetime
    misfire_policy: str
    job_enabled: bool = True
    calendar: CalendarRules = NO_CALENDAR
    calendar_policy: str = CalendarPolicy.SKIP
    frozen: FrozenSpan | None = None


@dataclass(frozen=True, slots=True)
class _Allowed:
    """An instant that may run, at `due_at`; `note` says why that is another time."""

    scheduled_at: datetime
    due_at: datetime
    note: str = ""


def judge(
    instants: Sequence[datetime], following: datetime | None, later: Iterable[datetime], rules: Rules
) -> list[PlannedInstant]:
    """Return what is to become of each of these instants, in their order.

    `following` is the schedule's first instant after them, and `later` all that come, looked at only where
    several misfires become one run.
    """
    nexts = [*instants[1:], following]
    checked = [_check(instant, after, rules) for instant, after in zip(instants, nexts, strict=False)]
    misfires = [each for each in checked if isinstance(each, _Allowed) and each.due_at < rules.grace_ends]
    last = misfires[-1] if misfires else None
    if last is not None and rules.misfire_policy == "run_once" and _another_misfire(later, rules):
        last = None
    return [each if isinstance(each, PlannedInstant) else _fire(each, last, rules) for each in checked]


def _check(instant: datetime, following: datetime | None, rules: Rules) -> _Allowed | PlannedInstant:
    """Return whether and when an instant may run, or that it must not and why."""
    if not rules.job_enabled:
        return PlannedInstant(instant, Outcome.SKIPPED_DISABLED, instant, "the job was disabled")
    if rules.frozen is not None and rules.frozen.holds(instant):
        reason = f"the namespace is frozen: {rules.frozen.reason}".rstrip(": ")
        return PlannedInstant(instant, Outcome.SKIPPED_CALENDAR, instant, reason)
    forbidden = rules.calendar.forbids(instant, rules.zone)
    if not forbidden:
        return _Allowed(instant, instant)
    if rules.calendar_policy == CalendarPolicy.NEXT_DAY:
        moved = rules.calendar.moved_to_next_day(instant, rules.zone)
        if moved is not None and (following is None or following > moved):
            return _Allowed(instant, moved, f"moved: {forbidden}")
        forbidden = f"{forbidden}; the next run comes before a day on which it could be made good"
    return PlannedInstant(instant, Outcome.SKIPPED_CALENDAR, instant, forbidden)


def _another_misfire(later: Iterable[datetime], rules: Rules) -> bool:
    """Whether a misfire comes later that will run in place of these."""
    before: datetime | None = None
    for instant in later:
        if before is not None:
            checked = _check(before, instant, rules)
            if isinstance(checked, _Allowed) and checked.due_at < rules.grace_ends:
                return True
        if instant >= rules.grace_ends:
            return False
        before = instant
    if before is None:
        return False
    checked = _check(before, None, rules)
    return isinstance(checked, _Allowed) and checked.due_at < rules.grace_ends


def _fire(allowed: _Allowed, last_misfire: _Allowed | None, rules: Rules) -> PlannedInstant:
    at, due_at = allowed.scheduled_at, allowed.due_at
    if due_at >= rules.grace_ends:
        return PlannedInstant(at, Outcome.FIRED, due_at, allowed.note)
    if rules.misfire_policy == "run_all" or (rules.misfire_policy == "run_once" and allowed is last_misfire):
        return PlannedInstant(at, Outcome.LATE, due_at, "no scheduler planned it in time")
    if rules.misfire_policy == "run_once":
        return PlannedInstant(at, Outcome.COALESCED, due_at, "several were missed; only the last one runs")
    reason = "no scheduler planned it in time; the job skips misfires"
    return PlannedInstant(at, Outcome.MISSED, due_at, reason)
