"""What the overview shows, from a fixed number of bounded queries, made once for all who see the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Count, IntegerField, Q, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import HttpRequest

from access.backends import authority_of_user
from agents.models import CONNECTED_STATUSES, Agent
from scheduling.admin import words
from scheduling.clock import database_now
from scheduling.kinds import BackfillStatus, ScheduleStatus
from scheduling.models import Backfill, Freeze, Job, Schedule, Task, TaskInstance
from scheduling.services.last_lines import last_lines
from scheduling.services.recent_runs import Delays, delays_by_hour
from scheduling.services.run_counts import DAY, Days, RunCounts, Runs, newest_of
from scheduling.services.sharing import Shared
from scheduling.services.waiting import Waiting, waiting_by_cause
from scheduling.states import Outcome, TaskStatus

ROWS: Final = 8
# Tasks end in about the order of their numbers; the latest failures are sought among so many.
_FAILED: Final = 50
_OFF_TIME: Final = 5
# Of those who see only some namespaces, failures that are older than a day are sought among so many.
_FAILED_OF_ALL: Final = 10_000
# That hours which lie behind were counted a moment ago need not be said.
_AGED: Final = timedelta(minutes=1)
# Beyond it the page says "more than": it must open on the worst day, too.
COUNT_LIMIT: Final = 10_000

# What ran late or not at all.
OFF_TIME: Final = (Outcome.LATE, Outcome.MISSED)

Namespaces = frozenset[str] | None


class Sight(NamedTuple):
    """In which namespaces somebody sees what, None for all; who sees the same shares the figures."""

    tasks: Namespaces
    attempts: Namespaces
    jobs: Namespaces
    schedules: Namespaces
    backfills: Namespaces
    agents: bool

    def shows(self, job: Job) -> bool:
        """Whether the page of a job may be named and linked to."""
        return self.jobs is None or job.namespace in self.jobs


class Machines(NamedTuple):
    """How many agents there are and are on line, and how many of their slots are taken, by whomever."""

    agents: int
    online: int
    slots: int
    used: int


class Failure(NamedTuple):
    """A task that failed, its last attempt where that is seen, and the last line of its output."""

    task: Task
    attempt: TaskInstance | None
    line: str


class Held(NamedTuple):
    """Schedules and backfills that plan nothing at the moment."""

    frozen: int
    broken: int
    paused_backfills: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the overview tells of tasks, as of `now`."""

    now: datetime
    running: int
    waiting: list[Waiting]
    jobs: Mapping[int, Job]
    runs: Runs
    before: Runs
    delay: Delays | None
    delays: Mapping[int, Delays]
    off_time: list[Task]
    failures: list[Failure]

    @property
    def is_aged(self) -> bool:
        """Whether some of the runs were counted so long ago that it is to be said."""
        return self.now - self.runs.counted_at > _AGED


_FIGURES: Final = Shared[Figures](2)
_MACHINES: Final = Shared[Machines](2)
_UPCOMING: Final = Shared[list[tuple[datetime, Schedule]]](2)
_HELD: Final = Shared[Held](10)
_COUNTS: Final = RunCounts()
_DELAYS: Final = Shared[tuple[Delays | None, Mapping[int, Delays]]](10)
_DAYS: Final = Shared[Days](2)


def forget() -> None:
    """Make all figures anew when they are asked for next."""
    look_again()
    _COUNTS.forget()


def look_again() -> None:
    """Show no more what was shown a moment ago, but keep what was counted."""
    for shared in (_FIGURES, _MACHINES, _UPCOMING, _HELD, _DELAYS, _DAYS):
        shared.forget()


def sight_of(request: HttpRequest) -> Sight:
    """Return what the user sees."""
    authority = authority_of_user(request.user)
    return Sight(
        tasks=authority.namespaces("scheduling.view_task"),
        attempts=authority.namespaces("scheduling.view_taskinstance"),
        jobs=authority.namespaces("scheduling.view_job"),
        schedules=authority.namespaces("scheduling.view_schedule"),
        backfills=authority.namespaces("scheduling.view_backfill"),
        agents=authority.may("agents.view_agent"),
    )


def machines() -> Machines:
    """Return how many machines there are and how busy they are, with everybody's work: they are shared."""
    return _MACHINES.get(None, _machines)


def days() -> Days:
    """Return what became of the runs of two days; the namespaces that one sees are chosen from it."""
    return _DAYS.get(None, lambda: _COUNTS.count(now=database_now()))


def figures(sight: Sight) -> Figures:
    """Return what the overview tells of tasks."""
    return _FIGURES.get((sight.tasks, sight.attempts), lambda: _figures(sight))


def upcoming(sight: Sight) -> list[tuple[datetime, Schedule]]:
    """Return the schedules that run next and when, the next one first."""
    return _UPCOMING.get(sight.schedules, lambda: _upcoming(sight.schedules))


def held(sight: Sight) -> Held:
    """Return what plans nothing at the moment."""
    return _HELD.get((sight.schedules, sight.backfills), lambda: _held(sight))


def _machines() -> Machines:
    is_online = Q(status__in=CONNECTED_STATUSES)
    slots = Cast(KeyTextTransform("max_concurrent_tasks", "capabilities"), IntegerField())
    found = Agent.objects.filter(archived_at__isnull=True).aggregate(
        count=Count("pk"), online=Count("pk", filter=is_online), slots=Sum(slots, filter=is_online)
    )
    used = TaskInstance.objects.live().count()
    return Machines(found["count"], found["online"], found["slots"] or 0, used)


def _figures(sight: Sight) -> Figures:
    now, namespaces = database_now(), sight.tasks
    running = _within(Task.objects.filter(status=TaskStatus.RUNNING), namespaces)
    waiting = waiting_by_cause(now=now, namespaces=namespaces)
    counted = days()
    runs = counted.last(namespaces)
    delay, delays = _DELAYS.get(
        sight.attempts, lambda: delays_by_hour(begin=now - DAY, end=now, namespaces=sight.attempts)
    )
    limited = [queue.job_id for each in waiting for queue in each.queues if queue.job_id is not None]
    return Figures(
        now=now,
        running=running.values("pk")[:COUNT_LIMIT].count(),
        waiting=waiting,
        jobs=Job.objects.in_bulk(limited) if limited else {},
        runs=runs,
        before=counted.before(namespaces),
        delay=delay,
        delays=delays,
        off_time=_off_time(runs, namespaces),
        failures=_failures(runs, sight),
    )


def _off_time(runs: Runs, namespaces: Namespaces) -> list[Task]:
    """Return the newest tasks that ran late or not at all, among those that were counted."""
    quarters = runs.newest_quarters(lambda _status, outcome: outcome in OFF_TIME, _OFF_TIME)
    ids = newest_of(quarters, namespaces=namespaces, number=_OFF_TIME, outcomes=OFF_TIME)
    found = Task.objects.filter(pk__in=ids).select_related("job", "schedule") if ids else ()
    return sorted(found, key=lambda task: task.scheduled_at, reverse=True)


def _failures(runs: Runs, sight: Sight) -> list[Failure]:
    failed = Task.objects.filter(status=TaskStatus.FAILED).order_by("-pk")
    if sight.tasks is not None:
        failed = failed.filter(pk__in=_failed_within(runs, sight.tasks))
    newest = failed.select_related("job")[:_FAILED]
    tasks = sorted(newest, key=lambda task: task.completed_at or task.scheduled_at, reverse=True)[:ROWS]
    of_tasks = _within(TaskInstance.objects.filter(task__in=[task.pk for task in tasks]), sight.attempts)
    latest = of_tasks.order_by("task_id", "-attempt").distinct("task_id")
    attempts = {attempt.task_id: attempt for attempt in latest}
    lines = last_lines([attempt.pk for attempt in attempts.values()])
    found = [(task, attempts.get(task.pk)) for task in tasks]
    return [
        Failure(task, attempt, "" if attempt is None else lines.get(attempt.pk, ""))
        for task, attempt in found
    ]


def _failed_within(runs: Runs, namespaces: frozenset[str]) -> set[int]:
    """Return failed tasks of namespaces in which all others may fail much more often."""
    quarters = runs.newest_quarters(
        lambda status, _outcome: status == TaskStatus.FAILED, ROWS // 2, enough=2 * ROWS
    )
    ids = set(newest_of(quarters, namespaces=namespaces, number=_FAILED, statuses=[TaskStatus.FAILED]))
    if len(ids) < ROWS:
        of_all = Task.objects.filter(status=TaskStatus.FAILED).order_by("-pk")[:_FAILED_OF_ALL]
        seen = Task.objects.filter(pk__in=of_all.values("pk"), namespace__in=namespaces)
        ids |= set(seen.order_by("-pk").values_list("pk", flat=True)[:_FAILED])
    return ids


def _upcoming(namespaces: Namespaces) -> list[tuple[datetime, Schedule]]:
    now = database_now()
    enabled = Schedule.objects.present().filter(
        status=ScheduleStatus.ENABLED, next_run_at__isnull=False, job__enabled=True
    )
    schedules = _within(enabled, namespaces, "job__namespace").select_related("job", "calendar")
    frozen = {each.namespace: each for each in Freeze.objects.filter(since__lte=now)}
    found = []
    for schedule in schedules.order_by("next_run_at")[: 2 * ROWS]:
        instant, freeze = words.next_run_of(schedule, now=now), frozen.get(schedule.job.namespace)
        is_thawed = freeze is None or (freeze.until is not None and freeze.until <= (instant or now))
        if instant is not None and is_thawed:
            found.append((instant, schedule))
    found.sort(key=lambda pair: (pair[0], pair[1].pk))
    return found[:ROWS]


def _held(sight: Sight) -> Held:
    now = database_now()
    enabled = Schedule.objects.present().filter(status=ScheduleStatus.ENABLED)
    freezes = Freeze.objects.filter(Q(until__isnull=True) | Q(until__gt=now), since__lte=now)
    is_frozen = Q(job__namespace__in=freezes.values("namespace"))
    found = _within(enabled, sight.schedules, "job__namespace").aggregate(
        frozen=Count("pk", filter=is_frozen), broken=Count("pk", filter=~Q(problem=""))
    )
    paused = Backfill.objects.filter(status=BackfillStatus.PAUSED)
    seen = _within(paused, sight.backfills, "schedule__job__namespace")
    return Held(found["frozen"], found["broken"], seen.count())


def _within(rows: QuerySet[Any], namespaces: Namespaces, path: str = "namespace") -> QuerySet[Any]:
    return rows if namespaces is None else rows.filter(**{f"{path}__in": sorted(namespaces)})
