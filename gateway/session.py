"""One agent's live session on this server: what it sent, what it may still send, what it has in hand."""

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agents.protocol import messages, version
from agents.protocol.codec import encode_frame
from scheduling.services.lifecycle import AttemptKey, StartedAttempt


@dataclass
class AgentSession:
    """The state of one socket. `send` and `close` are the socket's; everything runs on the event loop."""

    agent_id: uuid.UUID
    session_id: uuid.UUID
    send_text: Callable[[str], Awaitable[None]]
    close_socket: Callable[[int], Awaitable[None]]
    remote_address: str
    capacity: int = 1
    is_open: bool = False
    in_hand: set[uuid.UUID] = field(default_factory=set)
    ready_nonce: int = 0
    ready_slots: int = 0
    clock_offset_ms: float = 0.0
    messages_sent: int = 0
    messages_received: int = 0
    unacked: dict[str, int] = field(default_factory=dict)
    last_heard: float = field(default_factory=time.monotonic)

    @property
    def free_slots(self) -> int:
        """Slots that a claim may fill: what the agent offered, less what is on its way to it already."""
        if not self.is_open:
            return 0
        return max(0, min(self.ready_slots, self.capacity - len(self.in_hand)))

    @property
    def exceeds_credit(self) -> bool:
        """Whether the agent sent more than it may before waiting for acknowledgements."""
        return (
            len(self.unacked) > version.MAX_UNACKED_MESSAGES
            or sum(self.unacked.values()) > version.MAX_UNACKED_BYTES
        )

    def key(self, attempt: messages.AttemptRef | messages.AttemptReport | messages.OutputChunk) -> AttemptKey:
        """Return the attempt's key as this agent, and no other, may use it."""
        return AttemptKey(agent_id=self.agent_id, instance_id=attempt.instance_id, token=attempt.token)

    def note_clock(self, timestamp_ms: int, now: datetime) -> None:
        """Take the agent's clock from a frame; the offset is for display, never for a decision."""
        self.clock_offset_ms = now.timestamp() * 1000 - timestamp_ms

    def server_time(self, at_ms: int, now: datetime) -> datetime:
        """Translate a moment of the agent's clock to ours; never later than `now`."""
        age_ms = max(0.0, now.timestamp() * 1000 - self.clock_offset_ms - at_ms)
        return now - timedelta(milliseconds=min(age_ms, 365 * 86_400_000.0))

    async def send(self, payload: messages.Payload) -> None:
        """Send one message; a socket that is going down loses it, as the protocol expects."""
        self.messages_sent += 1
        await self.send_text(encode_frame(payload))

    async def dispatch(self, attempts: list[StartedAttempt], *, now: datetime, lease_secs: float) -> None:
        """Send attempts that are committed already, in frames no larger than the protocol allows."""
        for attempt in attempts:
            self.in_hand.add(attempt.instance_id)
        self.ready_slots = max(0, self.ready_slots - len(attempts))
        for frame in split_for_frames([dispatched_task(attempt, now=now) for attempt in attempts]):
            await self.send(
                messages.Dispatch(nonce=self.ready_nonce, lease_ttl_ms=int(lease_secs * 1000), tasks=frame)
            )


def dispatched_task(attempt: StartedAttempt, *, now: datetime) -> messages.DispatchedTask:
    """Return the wire form of an attempt; `start_in_ms` counts from `now`."""
    config = attempt.config
    return messages.DispatchedTask(
        instance_id=attempt.instance_id,
        token=attempt.token,
        task_id=attempt.task_id,
        job_id=attempt.job_id,
        job_name=attempt.job_name,
        attempt=attempt.attempt,
        start_in_ms=round((attempt.start_at - now).total_seconds() * 1000),
        scheduled_at=attempt.scheduled_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        cmd=config["cmd"],
        args=config["args"],
        environment=attempt.environment,
        parameters=attempt.parameters,
        working_dir=config["working_dir"],
        timeout_secs=config["timeout_secs"],
        kill_grace_secs=config["kill_grace_secs"],
        max_output_size=config["max_output_size"] if config["capture_output"] else 0,
        resource_limits=config["resource_limits"],
        on_lease_lost=config["on_lease_lost"],
    )


def split_for_frames(tasks: list[messages.DispatchedTask]) -> list[list[messages.DispatchedTask]]:
    """Return `tasks` in lists whose frames stay below the protocol's size."""
    frames: list[list[messages.DispatchedTask]] = []
    size = 0
    for task in tasks:
        task_size = sum(len(arg.encode()) for arg in task.args) + 1024
        task_size += sum(len(k) + len(v.encode()) for k, v in task.environment.items())
        task_size += len(str(task.parameters).encode())
        if not frames or size + task_size > version.MAX_FRAME_BYTES // 2:
            frames.append([])
            size = 0
        frames[-1].append(task)
        size += task_size
    return frames
