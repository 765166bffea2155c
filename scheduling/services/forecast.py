"""Look ahead: what all schedules will run, and whether the agents can take it.

What is read comes in chunks and what is kept has one number for each bucket, so that memory stays the same
for a hundred schedules and for a hundred thousand. Schedules whose rules are alike are computed once.
"""

import heapq
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Count, QuerySet
from django.db.models.fields.json import KeyTextTransform

from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from scheduling.calendars import NO_CALENDAR
from scheduling.forecasting import (
    Arrivals,
    Demand,
    Frame,
    Load,
    Occupancy,
    add_job,
    arrivals_of,
    every,
    through_slots,
)
from scheduling.judging import FrozenSpan, Rules
from scheduling.kinds import IntervalMode, ScheduleKind, ScheduleStatus
from scheduling.models import Calendar, Freeze, Job, Route, Schedule, Task, TaskInstance
from scheduling.recurrence import Recurrence, drawn
from scheduling.services.calendars import rules_of
from scheduling.states import INSTANCE_LIVE, TASK_CLAIMABLE

MAX_HOURS: Final = 7 * 24
SHOWN_JOBS: Final = 20
JOBS_PER_CHUNK: Final = 500
# Rules remembered while a forecast is made, and offsets of their instants.
MAX_RULES: Final = 20_000
MAX_OFFSETS: Final = 2_000_000
# How long a run takes of which there was none before.
UNKNOWN_SECS: Final = 1.0
BUDGET_SECS: Final = 20.0
FRESH_SECS: Final = 30.0

# Of the newest attempts of each job those that began and ended, whatever came of them.
_DURATIONS: Final = """
SELECT j.id, avg(extract(epoch FROM newest.completed_at - newest.started_at))::float8
FROM unnest(%(job_ids)s::bigint[]) AS j(id), LATERAL (
    SELECT i.started_at, i.completed_at FROM scheduling_taskinstance i
    WHERE i.job_id = j.id ORDER BY i.id DESC LIMIT 20
) newest
WHERE newest.started_at IS NOT NULL AND newest.completed_at IS NOT NULL
GROUP BY j.id
"""


class _Row(NamedTuple):
    """What a forecast reads of a schedule and its job."""

    job_id: int
    namespace: str
    route_id: int
    max_concurrency: int | None
    policy: str | None
    kind: str
    cron_expression: str | None
    interval_secs: int | None
    interval_mode: str
    timezone: str
    start_time: datetime | None
    end_time: datetime | None
    dst_gap: str | None
    dst_overlap: str | None
    seed: int
    calendar_id: int | None
    calendar_policy: str
    max_count: int | None
    run_count: int
    next_run_at: datetime | None


_COLUMNS: Final = (
    "job_id",
    "job__namespace",
    "job__route_id",
    "job__max_concurrency",
    "policy",
    *_Row._fields[5:],
)


@dataclass(frozen=True, slots=True)
class JobForecast:
    """What is to come of one job; `runs` begin, by bucket."""

    job_id: int
    secs: float
    runs: Sequence[int]
    can_run: bool

    @property
    def total(self) -> int:
        return sum(self.runs)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to come in a frame; `jobs` are those with the most work. `slots` are those of agents on line.

    It is not complete where time ran out after so many `schedules`. `homeless` runs have no agent that fits.
    """

    frame: Frame
    load: Load
    occupancy: Sequence[Occupancy]
    jobs: Sequence[JobForecast]
    slots: int
    schedules: int
    homeless: int
    is_complete: bool


def forecast(
    *,
    now: datetime,
    hours: int,
    namespaces: Collection[str] | None = None,
    budget_secs: float = BUDGET_SECS,
) -> Forecast:
    """Return what schedules in `namespaces` (None: in all) will run in the next hours; writes nothing.

    Reads in chunks, without a transaction of its own; a schedule whose rule is broken counts for nothing.
    """
    frame = frame_of(now, hours)
    agents = _agents()
    maker = _Maker(frame=frame, now=now, agents=agents)
    give_up_at = time.monotonic() + budget_secs
    is_complete = True
    for chunk in _chunks(_rows(namespaces)):
        maker.add(chunk)
        if time.monotonic() > give_up_at:
            is_complete = False
            break
    backlog = _add_planned_tasks(maker.load, now=now, namespaces=namespaces)
    slots = sum(agent.capacity for agent in agents)
    begin = (now - frame.begin).total_seconds()
    return Forecast(
        frame=frame,
        load=maker.load,
        occupancy=through_slots(maker.load, slots, begin=begin, backlog=backlog),
        jobs=[job for _key, _number, job in sorted(maker.busiest, reverse=True)],
        slots=slots,
        schedules=maker.schedules,
        homeless=maker.homeless,
        is_complete=is_complete,
    )


def recent_forecast(*, now: datetime, hours: int, namespaces: Collection[str] | None = None) -> Forecast:
    """Return a forecast that is less than FRESH_SECS old; this process makes one at a time."""
    return _RECENT.get(now=now, hours=hours, namespaces=None if namespaces is None else frozenset(namespaces))


class _Recent:
    """The last few forecasts: what costs seconds is not made anew for everybody who looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[int, frozenset[str] | None], tuple[float, Forecast]] = {}

    def get(self, *, now: datetime, hours: int, namespaces: frozenset[str] | None) -> Forecast:
        with self._lock:
            oldest = time.monotonic() - FRESH_SECS
            self._made = {key: made for key, made in self._made.items() if made[0] > oldest}
            key = (hours, namespaces)
            if key not in self._made:
                found = forecast(now=now, hours=hours, namespaces=namespaces)
                self._made[key] = (time.monotonic(), found)
            return self._made[key][1]


_RECENT: Final = _Recent()


def frame_of(now: datetime, hours: int) -> Frame:
    """Return the frame of the next hours: quarters of an hour for two days, else hours."""
    size = 900 if hours <= 48 else 3600
    begin = now - timedelta(seconds=now.timestamp() % size)
    # Whole buckets, so that they begin at round times; the first one has begun already.
    return Frame(begin=begin, bucket_secs=size, buckets=hours * 3600 // size + 1)


class _Maker:
    """Adds up the schedules of jobs; knows rules, calendars, freezes and routes that it has met."""

    def __init__(self, *, frame: Frame, now: datetime, agents: Sequence[Agent]) -> None:
        self.load = Load(frame)
        self.busiest: list[tuple[tuple[float, int], int, JobForecast]] = []
        self.schedules = 0
        self.homeless = 0
        self._now, self._agents = now, agents
        self._known: dict[Any, Arrivals] = {}
        self._offsets = 0
        self._calendars: dict[int, Calendar] = {}
        self._fits: dict[int, bool] = {}
        self._frozen = {
            freeze.namespace: FrozenSpan(freeze.since, freeze.until, freeze.reason)
            for freeze in Freeze.objects.all()
        }

    def add(self, jobs: Sequence[Sequence[_Row]]) -> None:
        """Add jobs, each given by its schedules; four statements however many there are."""
        rows = [row for schedules in jobs for row in schedules]
        self._read_calendars({row.calendar_id for row in rows if row.calendar_id is not None})
        self._read_routes({row.route_id for row in rows})
        durations = durations_of({row.job_id for row in rows})
        for schedules in jobs:
            self._add_job(schedules, durations.get(schedules[0].job_id, UNKNOWN_SECS))

    def _add_job(self, schedules: Sequence[_Row], secs: float) -> None:
        self.schedules += len(schedules)
        job = schedules[0]
        arrivals = [self._arrivals(row, secs) for row in schedules]
        demand = Demand(secs=secs, limit=job.max_concurrency, policy=job.policy or "allow")
        can_run = self._fits.get(job.route_id, False)
        if not can_run:
            # It waits and takes no slot.
            self.homeless += sum(sum(each.counts) for each in arrivals)
            demand = Demand(secs=0.0)
        runs = add_job(self.load, arrivals, demand)
        total = sum(runs)
        if total:
            found = JobForecast(job_id=job.job_id, secs=secs, runs=runs, can_run=can_run)
            entry = ((total * secs, total), job.job_id, found)
            keep = heapq.heappush if len(self.busiest) < SHOWN_JOBS else heapq.heappushpop
            keep(self.busiest, entry)

    def _arrivals(self, row: _Row, secs: float) -> Arrivals:
        frame = self.load.frame
        if row.kind == ScheduleKind.INTERVAL and row.interval_mode == IntervalMode.DELAY:
            return self._delayed(row, secs)
        rule = drawn(
            Recurrence(
                kind=row.kind,
                cron_expression=row.cron_expression,
                interval_secs=row.interval_secs,
                timezone=row.timezone,
                start_time=row.start_time,
                end_time=row.end_time,
                dst_gap=row.dst_gap,
                dst_overlap=row.dst_overlap,
                seed=str(row.seed),
            )
        )
        left = None if row.max_count is None else max(0, row.max_count - row.run_count)
        frozen = self._frozen.get(row.namespace)
        key = (rule, row.calendar_id, row.calendar_policy, left, frozen)
        if key not in self._known:
            self._remember(key, self._computed(rule, row, frozen, left, frame))
        return self._known[key]

    def _computed(
        self, rule: Recurrence, row: _Row, frozen: FrozenSpan | None, left: int | None, frame: Frame
    ) -> Arrivals:
        calendar = None if row.calendar_id is None else self._calendars.get(row.calendar_id)
        rules = None
        if calendar is not None or frozen is not None:
            rules = Rules(
                zone=ZoneInfo(row.timezone),
                grace_ends=frame.begin - timedelta(days=366),
                misfire_policy="run_all",
                calendar=NO_CALENDAR if calendar is None else rules_of(calendar),
                calendar_policy=row.calendar_policy,
                frozen=frozen,
            )
        try:
            return arrivals_of(rule, frame, after=self._now, rules=rules, limit=left)
        except (ValueError, OverflowError):
            # Planning says on the schedule what is wrong with it.
            nothing = (0,) * frame.buckets
            return Arrivals(nothing, nothing, ())

    def _delayed(self, row: _Row, secs: float) -> Arrivals:
        """Assume that a schedule which counts from the end of its runs goes on as it did."""
        frame = self.load.frame
        first = (max(row.next_run_at or self._now, self._now) - frame.begin).total_seconds()
        last = None if row.end_time is None else (row.end_time - frame.begin).total_seconds()
        return every(first, secs + (row.interval_secs or 1), frame, last=last)

    def _remember(self, key: Any, arrivals: Arrivals) -> None:
        if len(self._known) >= MAX_RULES or self._offsets >= MAX_OFFSETS:
            self._known.clear()
            self._offsets = 0
        self._known[key] = arrivals
        self._offsets += len(arrivals.offsets or ())

    def _read_calendars(self, wanted: set[int]) -> None:
        self._calendars |= Calendar.objects.in_bulk(wanted - self._calendars.keys())

    def _read_routes(self, wanted: set[int]) -> None:
        for route in Route.objects.filter(pk__in=wanted - self._fits.keys()):
            self._fits[route.pk] = any(_fits(agent, route) for agent in self._agents)


def durations_of(job_ids: Iterable[int]) -> dict[int, float]:
    """Return how many seconds the newest runs of jobs took on average, of those that had any."""
    with connection.cursor() as cursor:
        cursor.execute(_DURATIONS, {"job_ids": sorted(job_ids)})
        return dict(cursor.fetchall())


def _agents() -> list[Agent]:
    on_line = Agent.objects.filter(archived_at__isnull=True, enabled=True, status__in=CONNECTED_STATUSES)
    return list(on_line.exclude(status=AgentStatus.DRAINING))


def _fits(agent: Agent, route: Route) -> bool:
    commands = agent.capabilities.get("commands", [])
    return route.cmd in commands and route.labels.items() <= agent.labels.items()


def _rows(namespaces: Collection[str] | None) -> Iterator[_Row]:
    schedules = Schedule.objects.present().filter(
        status=ScheduleStatus.ENABLED, job__enabled=True, job__archived_at__isnull=True
    )
    if namespaces is not None:
        schedules = schedules.filter(job__namespace__in=sorted(namespaces))
    rows = schedules.annotate(policy=KeyTextTransform("concurrency_policy", "job__config")).order_by("job_id")
    return map(_Row._make, rows.values_list(*_COLUMNS).iterator(chunk_size=2000))


def _chunks(rows: Iterable[_Row]) -> Iterator[list[list[_Row]]]:
    chunk: list[list[_Row]] = []
    for _job_id, schedules in groupby(rows, key=lambda row: row.job_id):
        chunk.append(list(schedules))
        if len(chunk) == JOBS_PER_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _add_planned_tasks(load: Load, *, now: datetime, namespaces: Collection[str] | None) -> float:
    """Add tasks that are there already and that no schedule's rule tells of; return the work that waits."""
    tasks = _within(Task.objects.filter(status__in=TASK_CLAIMABLE), namespaces)
    late = dict(tasks.filter(due_at__lte=now).order_by().values_list("job_id").annotate(Count("pk")))
    live = list(
        _within(TaskInstance.objects.filter(status__in=INSTANCE_LIVE), namespaces).values_list(
            "job_id", "started_at"
        )
    )
    durations = durations_of({*late, *(job_id for job_id, _ in live)})
    backlog: float = sum(number * durations.get(job_id, UNKNOWN_SECS) for job_id, number in late.items())
    for job_id, started_at in live:
        gone = 0.0 if started_at is None else (now - started_at).total_seconds()
        backlog += max(0.0, durations.get(job_id, UNKNOWN_SECS) - gone)
    coming = tasks.filter(due_at__gt=now, due_at__lte=load.frame.end)
    # What its rule plans for later is counted by the rule.
    others = coming.exclude(schedule__isnull=False, scheduled_at__gt=now)
    for due_at, number in others.order_by().values_list("due_at").annotate(Count("pk")).iterator():
        bucket = load.frame.bucket_of((due_at - load.frame.begin).total_seconds())
        load.runs[bucket] += number
        load.work[bucket] += number * UNKNOWN_SECS
    return backlog


def _within(rows: QuerySet[Any], namespaces: Collection[str] | None) -> QuerySet[Any]:
    return rows if namespaces is None else rows.filter(namespace__in=sorted(namespaces))


def names_of(jobs: Iterable[JobForecast]) -> Mapping[int, Job]:
    """Return the jobs of a forecast by their ids."""
    return Job.objects.in_bulk([job.job_id for job in jobs])
