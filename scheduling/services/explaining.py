"""Answer "why does it not run?": the checks that a task passes on its way to a process, in their order.

Reads only. Each check says whether it holds now, in words, and names what blocks.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.utils.translation import gettext_noop as _

from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from scheduling.kinds import ScheduleStatus
from scheduling.models import Job, Schedule, Task, TaskInstance
from scheduling.services.calendars import rules_of
from scheduling.services.previewing import freeze_of
from scheduling.states import TASK_CLAIMABLE, TASK_TERMINAL
from scheduling.task_config import load_task_config

# So many of what blocks are named; the text says how many there are.
NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that blocks, by kind (`task`, `agent`, `job`, `schedule`, `calendar`, `freeze`) and id."""

    kind: str
    id: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Saying:
    """A sentence as a message with places for values, so that a page can say it in another language.

    A value whose name ends with `status` or `outcome` is one of those; `obstacle` stands beside `why`.
    """

    message: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return (self.message % self.values).strip()


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: its name, whether it holds, what there is to say, and what blocks."""

    name: str
    passed: bool
    said: Saying
    blockers: tuple[Blocker, ...] = ()

    @property
    def text(self) -> str:
        return str(self.said)


@dataclass(frozen=True, slots=True)
class Explanation:
    """All checks in order; the conclusion is the first that fails, or what happens next."""

    conclusion: Saying
    checks: list[Check] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return str(self.conclusion)

    @property
    def runs(self) -> bool:
        return all(check.passed for check in self.checks)


def explain_task(*, task: Task, now: datetime) -> Explanation:
    """Say what keeps a task from running, or what became of it."""
    if task.status in TASK_TERMINAL:
        return _explain_ended(task)
    if task.status not in TASK_CLAIMABLE:
        return _explain_taken(task)
    checks = [
        _check("waiting", True, _("The task waits: %(status)s."), status=task.status),
        *_schedule_checks(task.schedule, task.job),
        _due(task, now),
        _concurrency(task.job),
        *_agent_checks(task.route.cmd, task.route.labels),
    ]
    return _explained(checks, Saying(_("An agent will take it within seconds.")))


def explain_job(*, job: Job, now: datetime) -> Explanation:
    """Say what keeps a job from running by its schedules, and what would keep it now."""
    config = load_task_config(job.config)
    schedules = list(job.schedules.filter(archived_at__isnull=True).select_related("calendar"))
    checks = [_job_enabled(job), _frozen(job.namespace, now)]
    if not schedules:
        checks.append(_check("schedule", False, _("The job has no schedule: it runs only by hand.")))
    for schedule in schedules:
        checks += [_schedule_enabled(schedule), _calendar(schedule)]
    checks += [_concurrency(job), *_agent_checks(config.cmd, config.labels)]
    nexts = [schedule.next_run_at for schedule in schedules if schedule.next_run_at is not None]
    if not nexts:
        return _explained(checks, Saying(_("It can run now.")))
    at = f"{min(nexts):%Y-%m-%dT%H:%M:%SZ}"
    return _explained(checks, Saying(_("It runs next at %(at)s."), {"at": at}))


def _check(name: str, passed: bool, message: str, blockers: tuple[Blocker, ...] = (), **values: Any) -> Check:
    return Check(name, passed, Saying(message, values), blockers)


def _explained(checks: list[Check], otherwise: Saying) -> Explanation:
    failing = next((check for check in checks if not check.passed), None)
    return Explanation(failing.said if failing else otherwise, checks)


def _explain_ended(task: Task) -> Explanation:
    values = {"status": task.status, "outcome": task.outcome, "reason": task.reason}
    message = _("The task has ended: %(status)s")
    told = _("The task has ended: %(status)s. %(reason)s")
    if task.outcome:
        message = _("The task has ended: %(status)s, %(outcome)s")
        told = _("The task has ended: %(status)s, %(outcome)s. %(reason)s")
    return Explanation(Saying(told, values), [Check("waiting", False, Saying(message, values))])


def _explain_taken(task: Task) -> Explanation:
    attempt = TaskInstance.objects.live().filter(task=task).select_related("agent").first()
    if attempt is None or attempt.agent is None:
        taken = _check("taken", True, _("The task is %(status)s."), status=task.status)
        return _explained([taken], taken.said)
    agent = attempt.agent
    blocker = (Blocker("agent", str(agent.pk), agent.name),)
    taken = _check(
        "taken",
        True,
        _("Attempt %(attempt)s is %(status)s on agent %(agent)s."),
        blocker,
        attempt=attempt.attempt,
        status=attempt.status,
        agent=agent.name,
    )
    is_online = agent.status in CONNECTED_STATUSES
    online = _check("agent_online", is_online, _("The agent is %(status)s."), blocker, status=agent.status)
    checks = [taken, online]
    if attempt.lease_expires_at is not None:
        until = f"{attempt.lease_expires_at:%Y-%m-%dT%H:%M:%SZ}"
        message = _("Its lease holds until %(until)s unless it is renewed.")
        checks.append(_check("lease", True, message, until=until))
    return _explained(checks, taken.said)


def _schedule_checks(schedule: Schedule | None, job: Job) -> list[Check]:
    if schedule is None:
        return []
    return [_job_enabled(job), _schedule_enabled(schedule)]


def _job_enabled(job: Job) -> Check:
    if job.enabled:
        return _check("job_enabled", True, _("The job is enabled."))
    message = _("The job is disabled; schedules do not run it.")
    return _check("job_enabled", False, message, (Blocker("job", str(job.pk), str(job)),))


def _schedule_enabled(schedule: Schedule) -> Check:
    blocker = (Blocker("schedule", str(schedule.pk), str(schedule)),)
    if schedule.problem:
        return _check(
            "schedule_enabled",
            False,
            _("Schedule %(schedule)s cannot be planned: %(problem)s"),
            blocker,
            schedule=schedule,
            problem=schedule.problem,
        )
    passed = schedule.status == ScheduleStatus.ENABLED
    message = _("Schedule %(schedule)s is %(status)s.")
    return _check("schedule_enabled", passed, message, blocker, schedule=schedule, status=schedule.status)


def _calendar(schedule: Schedule) -> Check:
    calendar = schedule.calendar
    if calendar is None or schedule.next_run_at is None:
        message = _("Schedule %(schedule)s has no calendar that forbids its next instant.")
        return _check("calendar", True, message, schedule=schedule)
    rules, zone = rules_of(calendar), ZoneInfo(schedule.timezone)
    at = f"{schedule.next_run_at:%Y-%m-%dT%H:%M:%SZ}"
    obstacle = rules.obstacle(schedule.next_run_at, zone)
    if obstacle is None:
        message = _("The next instant, %(at)s, is allowed by calendar %(calendar)s.")
        return _check("calendar", True, message, at=at, calendar=calendar)
    return _check(
        "calendar",
        False,
        _("The next instant, %(at)s, is forbidden by the calendar: %(why)s."),
        (Blocker("calendar", str(calendar.pk), calendar.name),),
        at=at,
        why=rules.forbids(schedule.next_run_at, zone),
        obstacle=obstacle,
    )


def _frozen(namespace: str, now: datetime) -> Check:
    freeze = freeze_of(namespace, now=now)
    if freeze is None:
        return _check("not_frozen", True, _("Namespace %(namespace)s is not frozen."), namespace=namespace)
    blocker = (Blocker("freeze", str(freeze.pk), namespace),)
    if freeze.until is None:
        message = (
            _("Namespace %(namespace)s is frozen: %(reason)s")
            if freeze.reason
            else _("Namespace %(namespace)s is frozen")
        )
        return _check("not_frozen", False, message, blocker, namespace=namespace, reason=freeze.reason)
    message = (
        _("Namespace %(namespace)s is frozen until %(until)s: %(reason)s")
        if freeze.reason
        else _("Namespace %(namespace)s is frozen until %(until)s")
    )
    values = {"namespace": namespace, "until": f"{freeze.until:%Y-%m-%dT%H:%M:%SZ}", "reason": freeze.reason}
    return Check("not_frozen", False, Saying(message, values), blocker)


def _due(task: Task, now: datetime) -> Check:
    at = f"{task.due_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    if task.due_at > now:
        secs = f"{(task.due_at - now).total_seconds():.1f}"
        return _check("due", False, _("It is due at %(at)s, in %(secs)s s."), at=at, secs=secs)
    return _check("due", True, _("It has been due since %(at)s."), at=at)


def _concurrency(job: Job) -> Check:
    limit = job.max_concurrency
    if limit is None:
        return _check("concurrency", True, _("The job has no limit of runs at once."))
    holding = TaskInstance.objects.live().filter(job_id=job.pk).order_by("pk")
    count = holding.count()
    blockers: tuple[Blocker, ...] = ()
    if count >= limit:
        ids = holding.values_list("task_id", flat=True)[:NAMED]
        blockers = tuple(Blocker("task", str(task_id)) for task_id in ids)
    message = _("%(count)s of %(limit)s runs of the job at once are taken.")
    return _check("concurrency", count < limit, message, blockers, count=count, limit=limit)


def _agent_checks(cmd: str, labels: Mapping[str, str]) -> list[Check]:
    """Return what agents must be, from the first condition to the last; each looks at those that passed."""
    agents = list(
        Agent.objects.filter(archived_at__isnull=True).annotate(
            live_count=TaskInstance.objects.count_live_of_agent()
        )
    )
    checks = [_check("agents", bool(agents), _("There are %(count)s agents."), count=len(agents))]
    offering = [agent for agent in agents if cmd in agent.capabilities.get("commands", [])]
    message = _("%(cmd)s is offered by %(left)s of %(among)s agents.")
    checks.append(_narrowed("command", message, offering, agents, cmd=cmd))
    if labels:
        matching = [agent for agent in offering if _missing(agent, labels) == {}]
        checks.append(_labels(labels, matching, offering))
        offering = matching
    enabled = [agent for agent in offering if agent.enabled]
    message = _("%(left)s of %(among)s agents are enabled.")
    checks.append(_narrowed("enabled", message, enabled, offering))
    online = [agent for agent in enabled if agent.status in CONNECTED_STATUSES]
    message = _("%(left)s of %(among)s agents are online.")
    checks.append(_narrowed("online", message, online, enabled))
    taking = [agent for agent in online if agent.status != AgentStatus.DRAINING]
    message = _("%(left)s of %(among)s agents are not draining.")
    checks.append(_narrowed("not_draining", message, taking, online))
    free = [agent for agent in taking if agent.live_count < agent.capacity]
    message = _("%(left)s of %(among)s agents have a free slot.")
    checks.append(_narrowed("slots", message, free, taking))
    return checks


def _narrowed(name: str, message: str, left: Collection[Any], among: Collection[Any], **values: Any) -> Check:
    kept = {agent.pk for agent in left}
    lost = [agent for agent in among if agent.pk not in kept]
    blockers = tuple(Blocker("agent", str(agent.pk), agent.name) for agent in lost[:NAMED])
    counts = {"left": len(left), "among": len(among)}
    return _check(name, bool(left), message, () if left else blockers, **counts, **values)


def _labels(labels: Mapping[str, str], left: Collection[Any], among: Collection[Any]) -> Check:
    wanted = _written(labels)
    if left or not among:
        message = _("%(wanted)s match %(left)s of %(among)s agents.")
        return _narrowed("labels", message, left, among, wanted=wanted)
    nearest = min(among, key=lambda agent: (len(_missing(agent, labels)), agent.name))
    return _check(
        "labels",
        False,
        _("%(wanted)s match %(left)s of %(among)s agents. The nearest is %(agent)s, which lacks %(lacks)s."),
        (Blocker("agent", str(nearest.pk), nearest.name),),
        wanted=wanted,
        left=0,
        among=len(among),
        agent=nearest.name,
        lacks=_written(_missing(nearest, labels)),
    )


def _written(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _missing(agent: Any, labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if agent.labels.get(name) != value}
