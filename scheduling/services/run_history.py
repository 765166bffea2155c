"""How the latest runs of a job went: how long they took, what came of them, and whether it gets slower.

Reads no more than stands here, however many tasks a job has had: along the indexes by which its tasks ended
and its attempts began.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from statistics import median
from typing import Any, Final

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.utils.dateparse import parse_datetime

from scheduling.models import Job, Task, TaskInstance
from scheduling.states import TASK_TERMINAL, InstanceStatus, TaskStatus

MAX_RUNS: Final = 100
# So many of the newest attempts are looked at for runs that go on, and for a picture of attempts.
MAX_ATTEMPTS: Final = 60
WEEK: Final = timedelta(days=7)
# Of a week, so many of the newest runs are compared; fewer than the least tell nothing.
MAX_COMPARED: Final = 500
_LEAST_COMPARED: Final = 10


@dataclass(frozen=True, slots=True)
class Run:
    """A task that ended or goes on; `secs` is what its last attempt took, so far where it still runs."""

    task_id: int
    status: str
    outcome: str | None
    scheduled_at: datetime
    attempts: int
    ended_as: str | None
    secs: float | None
    agent: str
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Trend:
    """What completed runs took in the middle: over the last week, and over the one before."""

    secs: float
    secs_before: float
    count: int
    count_before: int

    @property
    def change(self) -> float:
        """Return by what part the later ones took longer; negative where they were quicker."""
        return self.secs / self.secs_before - 1 if self.secs_before else 0.0


@dataclass(frozen=True, slots=True)
class RunHistory:
    """Runs in order of time, the newest last; attempts with their tasks and agents, the newest first."""

    runs: Sequence[Run]
    attempts: Sequence[TaskInstance]
    trend: Trend | None

    @property
    def durations(self) -> list[float]:
        """Return what the completed ones of the runs took, in order of length."""
        return sorted(run.secs for run in self.runs if run.status == "completed" and run.secs is not None)


def history_of(
    job: Job, *, tasks: QuerySet[Task], attempts: QuerySet[TaskInstance], now: datetime
) -> RunHistory:
    """Return how the latest runs of a job went, among the tasks and attempts that may be seen.

    Four statements, each bounded.
    """
    tasks, attempts = tasks.filter(job=job), attempts.filter(job=job)
    newest = list(attempts.select_related("task", "agent").order_by("-pk")[:MAX_ATTEMPTS])
    ended = tasks.filter(status__in=TASK_TERMINAL).order_by("-completed_at", "-pk")[:MAX_RUNS]
    runs = [_ended(row, now=now) for row in _with_last_attempt(ended)]
    runs = [*_active(newest, now=now), *runs][:MAX_RUNS]
    return RunHistory(runs=runs[::-1], attempts=newest, trend=_trend(tasks, now=now))


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the value that `fraction` of the values, which are in order, do not exceed."""
    return ordered[max(0, ceil(fraction * len(ordered)) - 1)]


def _with_last_attempt(tasks: QuerySet[Task]) -> Iterable[Any]:
    last = TaskInstance.objects.filter(task=OuterRef("pk")).order_by("-attempt")
    described = JSONObject(
        status="status",
        started_at="started_at",
        completed_at="completed_at",
        exit_code="exit_code",
        agent="agent__name",
    )
    return tasks.annotate(last=Subquery(last.values(described=described)[:1]))


def _ended(task: Any, *, now: datetime) -> Run:
    last = task.last or {}
    times = {name: parse_datetime(last[name]) for name in ("started_at", "completed_at") if last.get(name)}
    return _run(task, {**last, **times}, now=now)


def _active(newest: Sequence[TaskInstance], *, now: datetime) -> list[Run]:
    """Return the runs that have begun and not ended, the newest first, by their latest attempts."""
    latest: dict[int, TaskInstance] = {}
    for attempt in newest:
        latest.setdefault(attempt.task_id, attempt)
    return [
        _run(
            attempt.task,
            {
                "status": attempt.status,
                "started_at": attempt.started_at,
                "completed_at": attempt.completed_at,
                "exit_code": attempt.exit_code,
                "agent": attempt.agent.name if attempt.agent else "",
            },
            now=now,
        )
        for attempt in latest.values()
        if attempt.task.status not in TASK_TERMINAL
    ]


def _run(task: Task, last: Mapping[str, Any], *, now: datetime) -> Run:
    status, started_at, completed_at = (last.get(name) for name in ("status", "started_at", "completed_at"))
    secs = None
    if started_at is not None and (completed_at is not None or status == InstanceStatus.RUNNING):
        secs = max(0.0, ((completed_at or now) - started_at).total_seconds())
    return Run(
        task_id=task.pk,
        status=task.status,
        outcome=task.outcome,
        scheduled_at=task.scheduled_at,
        attempts=task.attempt_count,
        ended_as=status,
        secs=secs,
        agent=last.get("agent") or "",
        exit_code=last.get("exit_code"),
    )


def _trend(tasks: QuerySet[Task], *, now: datetime) -> Trend | None:
    """Return how this week's runs compare with those of the week before; None where they are too few."""
    later = _durations(tasks, since=now - WEEK, until=now)
    if len(later) < _LEAST_COMPARED:
        return None
    before = _durations(tasks, since=now - 2 * WEEK, until=now - WEEK)
    if len(before) < _LEAST_COMPARED:
        return None
    return Trend(secs=median(later), secs_before=median(before), count=len(later), count_before=len(before))


def _durations(tasks: QuerySet[Task], *, since: datetime, until: datetime) -> list[float]:
    """Return what the newest runs that completed in [since, until) took, in seconds."""
    ended = tasks.filter(status__in=TASK_TERMINAL, completed_at__gte=since, completed_at__lt=until)
    newest = ended.order_by("-completed_at", "-pk").values("pk")[:MAX_COMPARED]
    completed = TaskInstance.objects.filter(
        task__in=newest,
        task__status=TaskStatus.COMPLETED,
        status=InstanceStatus.COMPLETED,
    )
    spans = completed.values_list("started_at", "completed_at")
    return [(end - begin).total_seconds() for begin, end in spans if begin and end]
