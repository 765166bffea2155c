"""The lives of tasks, as servers write them: claimed, accepted, running, printing, ended."""

import uuid
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from scheduling.attempts import ReportedFact
from scheduling.clock import database_now
from scheduling.models import Task
from scheduling.services import lifecycle
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, store_output
from scheduling.states import InstanceStatus, TaskStatus

OUTPUT: Final = b"what a command prints\n" * 50

# Does what it is given, which has that name.
Step: TypeAlias = Callable[[str, Callable[[], Any]], Any]


def live(*, agent_id: uuid.UUID, count: int, step: Step, output: bytes = OUTPUT) -> None:
    """Let so many tasks that are due live their lives on an agent, all of them side by side."""
    now, slots = database_now(), {agent_id: count}
    started = step(f"a claim of {count}", lambda: claim(slots=slots, now=now, lead_secs=2, lease_secs=30))
    assert len(started) == count, f"{len(started)} of {count} were due"
    keys = [AttemptKey(each.agent_id, each.instance_id, each.token) for each in started]
    step(f"an acceptance of {count}", lambda: lifecycle.accept_attempts(keys, now=now))
    step(f"reports of {count} starts", lambda: _report(keys, seq=1, status=InstanceStatus.RUNNING))
    step(f"leases of {count}", lambda: lifecycle.renew_leases(keys, now=now, lease_secs=30))
    pieces = [Chunk(key=key, stream="stdout", offset=0, data=output, at=now) for key in keys]
    step(f"output of {count}", lambda: store_output(pieces))
    step(f"reports of {count} ends", lambda: _report(keys, seq=2, status=InstanceStatus.COMPLETED))
    ended = Task.objects.filter(pk__in=[each.task_id for each in started], status=TaskStatus.COMPLETED)
    assert ended.count() == count


def _report(keys: list[AttemptKey], *, seq: int, status: InstanceStatus) -> None:
    now = database_now()
    fact = ReportedFact(seq=seq, status=status, at=now, exit_code=None if seq == 1 else 0)
    assert not lifecycle.apply_reports([(key, fact) for key in keys], now=now).stale
