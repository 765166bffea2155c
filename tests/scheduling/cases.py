"""Tasks in every state that there is, as the services bring them there."""

from dataclasses import dataclass
from datetime import timedelta

from scheduling.attempts import ReportedFact
from scheduling.models import Task, TaskInstance
from scheduling.services import lifecycle, manual
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.states import (
    InstanceStatus,
)
from tests import factories
from tests.factories import NOW

LATER = NOW + timedelta(seconds=31)


@dataclass
class Case:
    """A task, the attempt that events speak of (the first one), and how it stands."""

    task: Task
    agent: object
    key: AttemptKey | None = None

    @property
    def statuses(self):
        self.task.refresh_from_db()
        instance = TaskInstance.objects.get(pk=self.key.instance_id).status if self.key else None
        return self.task.status, instance


def waiting(max_retries=0):
    job = factories.job(config={"max_retries": max_retries, "retry_interval_secs": 60})
    return Case(task=factories.task(job=job), agent=factories.agent())


def take(case, *, now=NOW):
    (started,) = claim(slots={case.agent.id: 1}, now=now, lead_secs=2, lease_secs=30)
    assert started.task_id == case.task.pk
    case.key = case.key or AttemptKey(
        agent_id=case.agent.id, instance_id=started.instance_id, token=started.token
    )


def report(status, *, seq=9):
    def event(case):
        fact = ReportedFact(seq=seq, status=InstanceStatus(status), at=NOW, exit_code=3)
        lifecycle.apply_reports([(case.key, fact)], now=NOW)

    return event


def claimed(max_retries=0):
    case = waiting(max_retries)
    take(case)
    return case


def accepted(max_retries=0):
    case = claimed(max_retries)
    lifecycle.accept_attempts([case.key], now=NOW)
    return case


def running(max_retries=0):
    case = accepted(max_retries)
    report("running", seq=1)(case)
    return case


def with_retries(build):
    return lambda: build(max_retries=1)


def asked_to_stop(build):
    def asked():
        case = build(max_retries=1)
        manual.cancel(task_id=case.task.pk, now=NOW)
        return case

    return asked


def after(build, event):
    def ended():
        case = build()
        event(case)
        return case

    return ended


def lose(case):
    lifecycle.lose_attempts(now=LATER, limit=10)


def decline(case):
    lifecycle.decline_attempts([(case.key, "no free slot")], now=NOW)


STATES = {
    "waiting": (waiting, ("pending", None)),
    "claimed": (claimed, ("locked", "pending")),
    "claimed with retries": (with_retries(claimed), ("locked", "pending")),
    "claimed, asked to stop": (asked_to_stop(claimed), ("locked", "pending")),
    "accepted": (accepted, ("dispatched", "dispatched")),
    "accepted with retries": (with_retries(accepted), ("dispatched", "dispatched")),
    "accepted, asked to stop": (asked_to_stop(accepted), ("dispatched", "dispatched")),
    "running": (running, ("running", "running")),
    "running with retries": (with_retries(running), ("running", "running")),
    "running, asked to stop": (asked_to_stop(running), ("running", "running")),
    "waiting for its retry": (
        after(with_retries(running), report("failed", seq=2)),
        ("waiting_retry", "failed"),
    ),
    "declined": (after(claimed, decline), ("pending", "skipped")),
    "completed": (after(running, report("completed", seq=2)), ("completed", "completed")),
    "failed": (after(running, report("failed", seq=2)), ("failed", "failed")),
    "timed out": (after(running, report("timeout", seq=2)), ("failed", "timeout")),
    "lost": (after(running, lose), ("failed", "lost")),
    "cancelled": (after(running, report("cancelled", seq=2)), ("cancelled", "cancelled")),
    "cancelled while it waited": (
        after(waiting, lambda case: manual.cancel(task_id=case.task.pk, now=NOW)),
        ("cancelled", None),
    ),
}
