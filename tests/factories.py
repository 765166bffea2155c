"""Objects for tests, made by the same services that make them in production."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from access.actors import Actor, ActorKind
from agents.models import Agent
from agents.protocol.messages import Stream
from agents.services import create_agent
from scheduling.models import Job, Schedule, Task, TaskInstance
from scheduling.services.claiming import claim
from scheduling.services.definitions import create_job, create_schedule
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.manual import trigger_job
from scheduling.services.output import Chunk, store_output

ANN = Actor(kind=ActorKind.USER, name="ann")
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_numbers = itertools.count(1)


def job(*, cmd: str = "bash", args: list[str] | None = None, **fields: Any) -> Job:
    config = {"cmd": cmd, "args": args if args is not None else ["-c", "true"], **fields.pop("config", {})}
    return create_job(name=fields.pop("name", f"job-{next(_numbers)}"), config=config, **fields)


def schedule(*, now: datetime = NOW, job: Job | None = None, **fields: Any) -> Schedule:
    if "kind" not in fields:
        fields |= {"kind": "interval", "interval_secs": 5}
    return create_schedule(job=job or globals()["job"](), now=now, **fields)


def task(*, now: datetime = NOW, job: Job | None = None, **fields: Any) -> Task:
    return trigger_job(job=job or globals()["job"](), now=now, **fields)


def agent(
    *, labels: dict[str, str] | None = None, commands: list[str] | None = None, slots: int = 4
) -> Agent:
    return create_agent(
        name=f"agent-{next(_numbers)}",
        reported_labels=labels or {},
        status="idle",
        capabilities={
            "max_concurrent_tasks": slots,
            "commands": commands or ["bash", "exec"],
            "metadata": {},
        },
    )


def attempt(*written: tuple[Stream, bytes], **fields: Any) -> TaskInstance:
    """Return a live attempt that printed these one after the other.

    Without a job given, none but its own agent runs it, and that takes it before all else that waits.
    """
    own = {"attempt": f"number-{next(_numbers)}"}
    worker = agent(labels=own)
    if "job" not in fields:
        fields["job"] = job(config={"labels": own})
    begun = task(now=timezone.now(), **({"priority": 1} | fields))
    claim(slots={worker.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    live = TaskInstance.objects.get(task=begun)
    for stream, data in written:
        print_more(live, data, stream=stream)
    return live


def print_more(attempt: TaskInstance, data: bytes, *, stream: Stream = "stdout") -> None:
    """Let an attempt print something more."""
    assert attempt.agent_id is not None
    key = AttemptKey(agent_id=attempt.agent_id, instance_id=attempt.pk, token=attempt.token)
    offset = attempt.stdout_bytes if stream == "stdout" else attempt.stderr_bytes
    store_output([Chunk(key=key, stream=stream, offset=offset, data=data, at=timezone.now())])
    attempt.refresh_from_db()


def ran_before(job: Job, secs: float) -> None:
    """Let a job have run before, for so long."""
    done = task(job=job)
    TaskInstance.objects.create(
        task=done,
        job=job,
        attempt=1,
        token=done.pk,
        status="completed",
        started_at=NOW,
        completed_at=NOW + timedelta(seconds=secs),
    )
    Task.objects.filter(pk=done.pk).update(status="completed", completed_at=NOW)
