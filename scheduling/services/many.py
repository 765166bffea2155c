"""Do to many objects what other services do to one, by the same rules, a few statements for all.

Nothing waits for what somebody else has locked, but for the waiting tasks of jobs that are disabled: what is
locked is left, and named, for whoever asks to do it by itself. All are in the caller's transaction or one of
their own, and lock in the order of the services for one.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from access import audit
from access.actors import Actor
from access.permits import Permit
from access.sentences import said as _
from scheduling import hints
from scheduling.errors import InvalidField, InvalidState, JobArchived, NotPermitted, SchedulingError
from scheduling.kinds import ScheduleKind, ScheduleStatus
from scheduling.models import Alert, Job, Schedule, Task, TaskInstance
from scheduling.services import by_hand, lifecycle, manual
from scheduling.services.definitions import check_schedule, job_problems
from scheduling.services.next_runs import nothing_left, set_next_run
from scheduling.services.withdrawing import withdraw_planned
from scheduling.states import TASK_ON_AGENT, TASK_RETRYABLE, TaskStatus

GONE: Final = _("It is not there any more.")
_HOLD_JOBS: Final = """
SELECT id, archived_at IS NOT NULL FROM scheduling_job WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED
"""
_WRITTEN_OF_SCHEDULES: Final = (
    "status",
    "enabled_at",
    "planned_until",
    "problem",
    "next_run_at",
    "rule_since",
    "run_count",
    "updated_at",
)
_Row = TypeVar("_Row", bound=Model)


@dataclass(slots=True)
class Done:
    """What became of many objects, by id: why some were refused, and which were left; the others are done."""

    problems: dict[int, str] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)

    def refuse(self, ids: Iterable[int], problem: str | SchedulingError) -> None:
        """Note why these are left as they are, in a sentence that is not of any language yet."""
        sentence = problem.args[0] if isinstance(problem, SchedulingError) else problem
        self.problems.update(dict.fromkeys(ids, sentence))


def cancel_tasks(ids: Collection[int], *, now: datetime, by: Actor, permit: Permit) -> Done:
    """Cancel tasks as `manual.cancel` does one."""
    reason, done = manual.reason_of_cancel(by), Done()
    with transaction.atomic():
        tasks = _lock_tasks(ids, done, permit=permit)
        _refuse_others(tasks, manual.CANCELLABLE, done, action=_("cancel this task"))
        _leave(tasks, _with_locked_attempts(tasks), done)
        before = {pk: task.status for pk, task in tasks.items()}
        lifecycle.cancel_tasks(before, now=now, reason=reason)
        by_hand.end_cancelled_by_hand(task_ids=before, now=now)
        after = _statuses(before)
        _record(
            "task.cancel",
            tasks,
            by=by,
            before=lambda task: {"status": before[task.pk]},
            after=lambda task: {"status": after[task.pk], "reason": reason},
        )
    return done


def retry_tasks(ids: Collection[int], *, now: datetime, by: Actor, permit: Permit) -> Done:
    """Start tasks anew as `manual.retry` does one."""
    done = Done()
    with transaction.atomic():
        tasks = _lock_tasks(ids, done, permit=permit)
        _refuse_others(tasks, TASK_RETRYABLE, done, action=_("retry this task"))
        held = _hold_jobs({task.job_id for task in tasks.values()})
        _leave(tasks, {pk for pk, task in tasks.items() if task.job_id not in held}, done)
        archived = {pk for pk, task in tasks.items() if held[task.job_id]}
        done.refuse(archived, JobArchived())
        retried = lifecycle.retry_tasks(tasks.keys() - archived, now=now, by=by.name)
        for pk in tasks.keys() - archived - retried:
            done.refuse([pk], _refusal(_("retry this task"), tasks[pk].status, TASK_RETRYABLE))
        _record(
            "task.retry",
            {pk: tasks[pk] for pk in tasks if pk in retried},
            by=by,
            before=lambda task: {"status": task.status},
            after=lambda _task: {"status": TaskStatus.PENDING},
        )
    return done


def acknowledge_alerts(ids: Collection[int], *, now: datetime, by: Actor, permit: Permit) -> Done:
    """Note that somebody has seen alerts, as `alerts.acknowledge` does of one."""
    done = Done()
    with transaction.atomic():
        alerts = _lock(Alert.objects.all(), ids, done)
        _refuse_unpermitted(alerts, lambda alert: alert.namespace, done, permit=permit)
        still_open = {pk: alert for pk, alert in alerts.items() if alert.acknowledged_at is None}
        Alert.objects.filter(pk__in=still_open).update(acknowledged_at=now, acknowledged_by=by.name)
        _record(
            "alert.acknowledge",
            still_open,
            by=by,
            before=lambda _alert: {"acknowledged_at": None},
            after=lambda _alert: {"acknowledged_at": now},
        )
    return done


def switch_jobs(ids: Collection[int], *, enabled: bool, now: datetime, by: Actor, permit: Permit) -> Done:
    """Enable or disable jobs as `update_job` does one; may wait for tasks that somebody else has locked."""
    done = Done()
    with transaction.atomic():
        jobs = _lock(Job.objects.present(), ids, done, no_key=True)
        _refuse_unpermitted(jobs, lambda job: job.namespace, done, permit=permit)
        for pk, job in list(jobs.items()):
            if problems := job_problems(job):
                done.refuse([pk], InvalidField(problems))
                del jobs[pk]
        switched = {pk: job for pk, job in jobs.items() if job.enabled != enabled}
        Job.objects.filter(pk__in=switched).update(
            enabled=enabled, updated_by=by.name, updated_at=timezone.now()
        )
        if not enabled:
            lifecycle.skip_disabled_tasks(job_ids=switched.keys(), now=now)
        _record(
            "job.update",
            switched,
            by=by,
            before=lambda _job: {"enabled": not enabled},
            after=lambda _job: {"enabled": enabled},
        )
    return done


def switch_schedules(
    ids: Collection[int], *, enabled: bool, now: datetime, by: Actor, permit: Permit
) -> Done:
    """Enable or disable schedules as `enable_schedule` and `disable_schedule` do one.

    Those are left whose next run depends on how many of their planned runs are withdrawn.
    """
    done = Done()
    with transaction.atomic():
        schedules = _lock_schedules(ids, done)
        _refuse_unpermitted(schedules, lambda schedule: schedule.job.namespace, done, permit=permit)
        if enabled:
            _leave(schedules, {pk for pk, each in schedules.items() if _counts_runs(each)}, done)
        before = {pk: schedule.status for pk, schedule in schedules.items()}
        for pk, schedule in list(schedules.items()):
            try:
                _plan(schedule, enabled=enabled, now=now)
            except SchedulingError as error:
                done.refuse([pk], error)
                del schedules[pk]
        for pk, number in withdraw_planned(schedules.keys(), now=now).items():
            schedules[pk].run_count = max(0, schedules[pk].run_count - number)
        Schedule.objects.bulk_update(schedules.values(), _WRITTEN_OF_SCHEDULES)
        hints.tasks_became_claimable()
        _record(
            "schedule.update",
            schedules,
            by=by,
            before=lambda schedule: {"status": before[schedule.pk]},
            after=lambda schedule: {"status": schedule.status},
        )
    return done


def _lock(rows: QuerySet[_Row], ids: Collection[int], done: Done, *, no_key: bool = False) -> dict[int, _Row]:
    """Lock and return rows by id; note which are gone, and which are left because somebody else has them."""
    locked = rows.filter(pk__in=ids).order_by("pk")
    found = {row.pk: row for row in locked.select_for_update(skip_locked=True, of=("self",), no_key=no_key)}
    missing = set(ids) - found.keys()
    if missing:
        done.left |= set(rows.filter(pk__in=missing).values_list("pk", flat=True))
        done.refuse(missing - done.left, GONE)
    return found


def _lock_tasks(ids: Collection[int], done: Done, *, permit: Permit) -> dict[int, Task]:
    columns = Task.objects.only("pk", "job_id", "namespace", "status")
    tasks = _lock(columns, ids, done)
    _refuse_unpermitted(tasks, lambda task: task.namespace, done, permit=permit)
    return tasks


def _lock_schedules(ids: Collection[int], done: Done) -> dict[int, Schedule]:
    """Lock schedules with their jobs, these first."""
    present = Schedule.objects.present().select_related("job", "calendar")
    job_of = dict(present.filter(pk__in=ids).values_list("pk", "job_id"))
    done.refuse(set(ids) - job_of.keys(), GONE)
    of_jobs = Done()
    jobs = _lock(Job.objects.present(), set(job_of.values()), of_jobs, no_key=True)
    done.refuse((pk for pk, job_id in job_of.items() if job_id in of_jobs.problems), GONE)
    done.left |= {pk for pk, job_id in job_of.items() if job_id in of_jobs.left}
    return _lock(present, [pk for pk, job_id in job_of.items() if job_id in jobs], done)


def _with_locked_attempts(tasks: Mapping[int, Task]) -> set[int]:
    """Lock the attempts of tasks that an agent has; return the tasks of those that somebody else has."""
    on_agent = [pk for pk, task in tasks.items() if task.status in TASK_ON_AGENT]
    if not on_agent:
        return set()
    live = TaskInstance.objects.live().filter(task_id__in=on_agent)
    locked = live.order_by("pk").select_for_update(skip_locked=True, of=("self",))
    mine = set(locked.values_list("task_id", flat=True))
    return set(live.values_list("task_id", flat=True)) - mine


def _hold_jobs(ids: Collection[int]) -> dict[int, bool]:
    """Keep jobs from being archived until the transaction ends; return of those held whether they are."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLD_JOBS, [sorted(ids)])
        return dict(cursor.fetchall())


def _statuses(ids: Collection[int]) -> dict[int, str]:
    return dict(Task.objects.filter(pk__in=ids).values_list("pk", "status"))


def _leave(rows: dict[int, Any], ids: Collection[int], done: Done) -> None:
    for pk in ids:
        del rows[pk]
    done.left |= set(ids)


def _refuse_unpermitted(
    rows: dict[int, _Row], namespace_of: Callable[[_Row], str], done: Done, *, permit: Permit
) -> None:
    refused: dict[str, SchedulingError] = {}
    for namespace in {namespace_of(row) for row in rows.values()}:
        try:
            permit(namespace)
        except NotPermitted as error:
            refused[namespace] = error
    for pk, row in list(rows.items()):
        if namespace_of(row) in refused:
            done.refuse([pk], refused[namespace_of(row)])
            del rows[pk]


def _refuse_others(
    tasks: dict[int, Task], allowed: tuple[TaskStatus, ...], done: Done, *, action: str
) -> None:
    for pk, task in list(tasks.items()):
        if task.status not in allowed:
            done.refuse([pk], _refusal(action, task.status, allowed))
            del tasks[pk]


def _refusal(action: str, current: str, allowed: tuple[TaskStatus, ...]) -> InvalidState:
    return InvalidState(action=action, current=current, allowed=allowed)


def _counts_runs(schedule: Schedule) -> bool:
    return schedule.max_count is not None or schedule.kind == ScheduleKind.ONCE


def _plan(schedule: Schedule, *, enabled: bool, now: datetime) -> None:
    """Let a schedule in memory be planned from `now` on, or not any more; raise what makes it unsound."""
    schedule.status = ScheduleStatus.ENABLED if enabled else ScheduleStatus.DISABLED
    check_schedule(schedule, now=now)
    schedule.enabled_at = schedule.planned_until = now
    schedule.problem = ""
    set_next_run(schedule, now=now)
    schedule.rule_since = schedule.planned_until
    schedule.updated_at = timezone.now()
    if schedule.status == ScheduleStatus.EXPIRED:
        raise nothing_left(schedule)


def _record(
    action: str,
    rows: Mapping[int, Any],
    *,
    by: Actor,
    before: Callable[[Any], Mapping[str, Any]],
    after: Callable[[Any], Mapping[str, Any]],
) -> None:
    audit.record_all(
        audit.entry_of_write(
            by=by,
            action=action,
            subject=row,
            namespace=row.job.namespace if isinstance(row, Schedule) else row.namespace,
            before=before(row),
            after=after(row),
        )
        for row in rows.values()
    )
