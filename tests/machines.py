"""Agents as a page of Python that keeps the rules of `docs/protocol.md`, for the model of a cluster."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from agents.protocol import messages
from scheduling.attempts import ReportedFact
from scheduling.services.lifecycle import AttemptKey
from scheduling.states import InstanceStatus

SLOTS = 2


@dataclass
class Held:
    """An attempt on an agent's disk."""

    key: AttemptKey
    started_at: datetime | None = None
    end: ReportedFact | None = None
    is_acknowledged: bool = False
    must_stop: bool = False

    @property
    def started(self):
        return self.started_at is not None

    @property
    def facts(self):
        facts = [self.end] * (self.end is not None)
        if self.started:
            status = InstanceStatus.RUNNING
            facts.insert(0, ReportedFact(seq=1, status=status, at=self.started_at, start_delay_ms=1.0))
        return facts

    @property
    def output(self):
        return f"output of {self.key.instance_id}".encode()


@dataclass
class AgentMachine:
    """A machine that runs commands; `held` is on its disk and survives a crash."""

    agent: object
    epoch: uuid.UUID = field(default_factory=uuid.uuid4)
    session_id: uuid.UUID | None = None
    offered: int = 0
    held: dict[uuid.UUID, Held] = field(default_factory=dict)

    @property
    def free(self):
        return SLOTS - sum(held.end is None for held in self.held.values())


def key_of(started):
    return AttemptKey(agent_id=started.agent_id, instance_id=started.instance_id, token=started.token)


def registration(machine):
    def status(held):
        if held.end is not None:
            return held.end.status.value
        return "running" if held.started else "dispatched"

    return messages.Register(
        protocol=1,
        agent_id=machine.agent.id,
        epoch=machine.epoch,
        name="a",
        version="1",
        hostname="h",
        labels={},
        capabilities=messages.Capabilities(max_concurrent_tasks=SLOTS, commands=["bash"]),
        attempts=[
            messages.HeldAttempt(instance_id=held.key.instance_id, token=held.key.token, status=status(held))
            for held in machine.held.values()
            if not held.is_acknowledged
        ],
    )
