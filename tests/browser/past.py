"""What an installation did before anybody looked: runs of many days, and how its machines fared."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import F

from agents.models import Agent, AgentSample
from scheduling.models import Schedule, Task, TaskInstance

_TOKENS: Final = "SELECT nextval('scheduling_fencing_token') FROM generate_series(1, %s)"


def ran(
    *, schedule: Schedule, agent: Agent, instants: Iterable[datetime], secs: float, fails_each: int = 0
) -> None:
    """Let a schedule have fired at these instants: each run took about `secs`, every so manieth failed.

    What came after a failure found that it still ran.
    """
    tasks = []
    for number, at in enumerate(instants, 1):
        kind = number % fails_each if fails_each else 2
        task = Task(
            job=schedule.job,
            namespace=schedule.job.namespace,
            schedule=schedule,
            schedule_kind=schedule.kind,
            route_id=schedule.job.route_id,
            status={0: "failed", 1: "cancelled"}.get(kind, "completed"),
            outcome="fired",
            scheduled_at=at,
            due_at=at,
            completed_at=at + timedelta(seconds=secs * (1 + 0.3 * math.sin(number) + 0.004 * number)),
            config=schedule.job.task_config,
            attempt_count=1,
            created_by="schedule",
        )
        if kind == 1:
            task.outcome, task.attempt_count, task.completed_at = "skipped_overlap", 0, at
        tasks.append(task)
    made = Task.objects.bulk_create(tasks)
    Task.objects.filter(pk__in=[task.pk for task in made]).update(created_at=F("due_at"))
    with connection.cursor() as cursor:
        cursor.execute(_TOKENS, [len(made)])
        tokens = [token for (token,) in cursor.fetchall()]
    attempts = TaskInstance.objects.bulk_create(
        _attempt(task, agent, token) for task, token in zip(made, tokens, strict=True) if task.attempt_count
    )
    TaskInstance.objects.filter(pk__in=[each.pk for each in attempts]).update(created_at=F("start_at"))


def _attempt(task: Task, agent: Agent, token: int) -> TaskInstance:
    return TaskInstance(
        id=_id_of(task.due_at, token),
        task=task,
        job=task.job,
        agent=agent,
        attempt=1,
        token=token,
        status=task.status,
        start_at=task.due_at,
        dispatched_at=task.due_at,
        started_at=task.due_at + timedelta(milliseconds=4),
        completed_at=task.completed_at,
        start_delay_ms=4.0,
        exit_code=3 if task.status == "failed" else 0,
    )


def _id_of(at: datetime, token: int) -> UUID:
    """Return an id (UUIDv7) as it would have been made then: by their ids attempts are found by time."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | token)


def fared(agent: Agent, *, now: datetime) -> None:
    """Let an agent's machine have been at work for a day, but for an hour in which it was off."""
    begin = now.replace(second=0, microsecond=0) - timedelta(hours=23, minutes=50)
    AgentSample.objects.bulk_create(
        AgentSample(
            agent=agent,
            at=begin + timedelta(minutes=minute),
            running=int(4 + 3 * math.sin(minute / 90)),
            cpu_usage=max(2.0, 45 + 30 * math.sin(minute / 90) + 10 * math.sin(minute / 7)),
            memory_usage=38 + 12 * math.sin(minute / 200),
        )
        for minute in range(23 * 60)
        if not 700 < minute < 760
    )
