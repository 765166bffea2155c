"""Answer "why does it not run?": the checks that a task passes on its way to a process, in their order.

Reads only. Each check says whether it holds now, in words, and names what blocks.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import Q

from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from scheduling.kinds import ScheduleStatus
from scheduling.models import Freeze, Job, Schedule, Task, TaskInstance
from scheduling.services.calendars import rules_of
from scheduling.states import TASK_CLAIMABLE, TASK_TERMINAL
from scheduling.task_config import load_task_config

# So many of what blocks are named; the text says how many there are.
NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that blocks, by kind (`task`, `agent`, `job`, `schedule`) and id."""

    kind: str
    id: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: its name, whether it holds, what there is to say, and what blocks."""

    name: str
    passed: bool
    text: str
    blockers: tuple[Blocker, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """All checks in order; `summary` is the first that fails, or what happens next."""

    summary: str
    checks: list[Check] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return all(check.passed for check in self.checks)


def explain_task(*, task: Task, now: datetime) -> Explanation:
    """Say what keeps a task from running, or what became of it."""
    if task.status in TASK_TERMINAL:
        text = f"The task has ended: {task.status}" + (f", {task.outcome}" if task.outcome else "")
        return Explanation(f"{text}. {task.reason}".strip(), [Check("waiting", False, text)])
    if task.status not in TASK_CLAIMABLE:
        return _explain_taken(task)
    checks = [
        Check("waiting", True, f"The task waits: {task.status}."),
        *_schedule_checks(task.schedule, task.job),
        _due(task, now),
        _concurrency(task.job),
        *_agent_checks(task.route.cmd, task.route.labels),
    ]
    return _explained(checks, "An agent will take it within seconds.")


def explain_job(*, job: Job, now: datetime) -> Explanation:
    """Say what keeps a job from running by its schedules, and what would keep it now."""
    config = load_task_config(job.config)
    schedules = list(job.schedules.filter(archived_at__isnull=True).select_related("calendar"))
    checks = [_job_enabled(job), _frozen(job.namespace, now)]
    if not schedules:
        checks.append(Check("schedule", False, "The job has no schedule: it runs only by hand."))
    for schedule in schedules:
        checks += [_schedule_enabled(schedule), _calendar(schedule)]
    checks += [_concurrency(job), *_agent_checks(config.cmd, config.labels)]
    nexts = [schedule.next_run_at for schedule in schedules if schedule.next_run_at is not None]
    will = f"It runs next at {min(nexts):%Y-%m-%dT%H:%M:%SZ}." if nexts else "It can run now."
    return _explained(checks, will)


def _explained(checks: list[Check], otherwise: str) -> Explanation:
    failing = next((check for check in checks if not check.passed), None)
    return Explanation(failing.text if failing else otherwise, checks)


def _explain_taken(task: Task) -> Explanation:
    attempt = TaskInstance.objects.live().filter(task=task).select_related("agent").first()
    if attempt is None or attempt.agent is None:
        return Explanation(f"The task is {task.status}.", [Check("taken", True, f"It is {task.status}.")])
    agent = attempt.agent
    text = f"Attempt {attempt.attempt} is {attempt.status} on agent {agent.name}."
    blocker = (Blocker("agent", str(agent.pk), agent.name),)
    checks = [
        Check("taken", True, text, blocker),
        Check(
            "agent_online",
            agent.status in CONNECTED_STATUSES,
            f"The agent is {agent.status}.",
            blocker,
        ),
    ]
    if attempt.lease_expires_at is not None:
        until = f"{attempt.lease_expires_at:%Y-%m-%dT%H:%M:%SZ}"
        checks.append(Check("lease", True, f"Its lease holds until {until} unless it is renewed."))
    return _explained(checks, text)


def _schedule_checks(schedule: Schedule | None, job: Job) -> list[Check]:
    if schedule is None:
        return []
    return [_job_enabled(job), _schedule_enabled(schedule)]


def _job_enabled(job: Job) -> Check:
    text = "The job is enabled." if job.enabled else "The job is disabled; schedules do not run it."
    return Check("job_enabled", job.enabled, text, () if job.enabled else (_job(job),))


def _schedule_enabled(schedule: Schedule) -> Check:
    passed = schedule.status == ScheduleStatus.ENABLED
    text = f"Schedule {schedule} is {schedule.status}."
    if schedule.problem:
        passed, text = False, f"Schedule {schedule} cannot be planned: {schedule.problem}"
    return Check("schedule_enabled", passed, text, (Blocker("schedule", str(schedule.pk), str(schedule)),))


def _calendar(schedule: Schedule) -> Check:
    if schedule.calendar is None or schedule.next_run_at is None:
        return Check("calendar", True, f"Schedule {schedule} has no calendar that forbids its next instant.")
    rules = rules_of(schedule.calendar)
    forbidden = rules.forbids(schedule.next_run_at, ZoneInfo(schedule.timezone))
    at = f"{schedule.next_run_at:%Y-%m-%dT%H:%M:%SZ}"
    if forbidden:
        return Check("calendar", False, f"The next instant, {at}, is forbidden by the calendar: {forbidden}.")
    return Check("calendar", True, f"The next instant, {at}, is allowed by calendar {schedule.calendar}.")


def _frozen(namespace: str, now: datetime) -> Check:
    freeze = (
        Freeze.objects.filter(namespace=namespace, since__lte=now)
        .filter(Q(until__isnull=True) | Q(until__gt=now))
        .first()
    )
    if freeze is None:
        return Check("not_frozen", True, f"Namespace {namespace} is not frozen.")
    until = f" until {freeze.until:%Y-%m-%dT%H:%M:%SZ}" if freeze.until else ""
    return Check("not_frozen", False, f"Namespace {namespace} is frozen{until}: {freeze.reason}".rstrip(": "))


def _due(task: Task, now: datetime) -> Check:
    at = f"{task.due_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    if task.due_at > now:
        return Check("due", False, f"It is due at {at}, in {(task.due_at - now).total_seconds():.1f} s.")
    return Check("due", True, f"It has been due since {at}.")


def _concurrency(job: Job) -> Check:
    limit = job.max_concurrency
    if limit is None:
        return Check("concurrency", True, "The job has no limit of runs at once.")
    holding = TaskInstance.objects.live().filter(job_id=job.pk).order_by("pk")
    count = holding.count()
    blockers = tuple(
        Blocker("task", str(task_id)) for task_id in holding.values_list("task_id", flat=True)[:NAMED]
    )
    text = f"{count} of {limit} runs of the job at once are taken."
    return Check("concurrency", count < limit, text, blockers if count >= limit else ())


def _agent_checks(cmd: str, labels: Mapping[str, str]) -> list[Check]:
    """Return what agents must be, from the first condition to the last; each looks at those that passed."""
    agents = list(
        Agent.objects.filter(archived_at__isnull=True).annotate(
            live_count=TaskInstance.objects.count_live_of_agent()
        )
    )
    checks = [Check("agents", bool(agents), f"There are {len(agents)} agents.")]
    offering = [agent for agent in agents if cmd in agent.capabilities.get("commands", [])]
    checks.append(_narrowed("command", f"{cmd} is offered by", offering, agents))
    if labels:
        matching = [agent for agent in offering if _missing(agent, labels) == {}]
        wanted = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        checks.append(_labels(wanted, labels, matching, offering))
        offering = matching
    enabled = [agent for agent in offering if agent.enabled]
    checks.append(_narrowed("enabled", "Enabled are", enabled, offering))
    online = [agent for agent in enabled if agent.status in CONNECTED_STATUSES]
    checks.append(_narrowed("online", "Online are", online, enabled))
    taking = [agent for agent in online if agent.status != AgentStatus.DRAINING]
    checks.append(_narrowed("not_draining", "Not draining are", taking, online))
    free = [agent for agent in taking if agent.live_count < agent.capacity]
    checks.append(_narrowed("slots", "A free slot have", free, taking))
    return checks


def _narrowed(name: str, words: str, left: Collection[Any], among: Collection[Any]) -> Check:
    lost = [agent for agent in among if agent not in left]
    blockers = tuple(Blocker("agent", str(agent.pk), agent.name) for agent in lost[:NAMED])
    text = f"{words} {len(left)} of {len(among)} agents."
    return Check(name, bool(left), text, () if left else blockers)


def _labels(wanted: str, labels: Mapping[str, str], left: Collection[Any], among: Collection[Any]) -> Check:
    check = _narrowed("labels", f"{wanted} match", left, among)
    if left or not among:
        return check
    nearest = min(among, key=lambda agent: (len(_missing(agent, labels)), agent.name))
    lacks = ", ".join(f"{name}={value}" for name, value in sorted(_missing(nearest, labels).items()))
    blocker = (Blocker("agent", str(nearest.pk), nearest.name),)
    return Check(
        "labels", False, f"{check.text} The nearest is {nearest.name}, which lacks {lacks}.", blocker
    )


def _missing(agent: Any, labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if agent.labels.get(name) != value}


def _job(job: Job) -> Blocker:
    return Blocker("job", str(job.pk), str(job))
