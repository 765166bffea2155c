"""Say why a task that waits is not running."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from scheduling.models import Task, TaskInstance
from scheduling.states import TASK_CLAIMABLE


class WaitReason(StrEnum):
    NOT_DUE = "not_due"
    JOB_AT_LIMIT = "job_at_limit"
    NO_AGENT_FITS = "no_agent_fits"
    AGENTS_OFFLINE = "agents_offline"
    AGENTS_FULL = "agents_full"
    SOON = "soon"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a task waits; `fitting` agents have its command and labels, `ready` ones are connected as well."""

    reason: WaitReason
    fitting: int = 0
    ready: int = 0


def why_waiting(*, task: Task, now: datetime) -> Waiting | None:
    """Return what keeps a waiting task from running at this moment; None where it does not wait.

    Reads only. The first obstacle counts, in the order in which a claim would meet them.
    """
    if task.status not in TASK_CLAIMABLE:
        return None
    if task.due_at > now:
        return Waiting(WaitReason.NOT_DUE)
    limit = task.job.max_concurrency
    if limit is not None and TaskInstance.objects.live().filter(job_id=task.job_id).count() >= limit:
        return Waiting(WaitReason.JOB_AT_LIMIT)
    fitting = Agent.objects.filter(
        archived_at__isnull=True,
        enabled=True,
        labels__contains=task.route.labels,
        capabilities__commands__contains=[task.route.cmd],
    )
    count = fitting.count()
    if count == 0:
        return Waiting(WaitReason.NO_AGENT_FITS)
    ready = fitting.filter(status__in=CONNECTED_STATUSES).exclude(status=AgentStatus.DRAINING)
    agents = list(ready.annotate(live_count=TaskInstance.objects.count_live_of_agent()))
    if not agents:
        return Waiting(WaitReason.AGENTS_OFFLINE, fitting=count)
    is_full = all(agent.live_count >= agent.capacity for agent in agents)
    reason = WaitReason.AGENTS_FULL if is_full else WaitReason.SOON
    return Waiting(reason, fitting=count, ready=len(agents))
