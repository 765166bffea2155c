"""One agent's live session on this server: what it sent, what it may still send, what it has in hand."""

import math
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agents.protocol import messages, version
from agents.protocol.codec import encode_frame
from scheduling.services.lifecycle import AttemptKey, StartedAttempt

# Room in a frame for everything but its tasks.
_FRAME_BUDGET: Final = version.MAX_FRAME_BYTES - 4096
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Credit:
    """What a peer has sent and we still hold, against what it may have us hold."""

    messages: int = 0
    bytes: int = 0

    def take(self, size: int) -> bool:
        """Count a message of `size` bytes; return whether the peer was within its limits."""
        self.messages += 1
        self.bytes += size
        return self.messages <= version.MAX_UNACKED_MESSAGES and self.bytes <= version.MAX_UNACKED_BYTES

    def give_back(self, size: int) -> None:
        """Count a message as dealt with."""
        self.messages -= 1
        self.bytes -= size


@dataclass
class AgentSession:
    """The state of one socket. `send` and `close` are the socket's; everything runs on the event loop."""

    agent_id: uuid.UUID
    token_id: int
    session_id: uuid.UUID
    send_text: Callable[[str], Awaitable[None]]
    close_socket: Callable[[int], Awaitable[None]]
    remote_address: str
    capacity: int = 1
    is_open: bool = False
    in_hand: set[uuid.UUID] = field(default_factory=set)
    told_to_cancel: set[uuid.UUID] = field(default_factory=set)
    ready_nonce: int = 0
    ready_slots: int = 0
    clock_offset_ms: float = 0.0
    messages_sent: int = 0
    messages_received: int = 0
    unacked: Credit = field(default_factory=Credit)
    unprocessed: Credit = field(default_factory=Credit)
    last_heard: float = field(default_factory=time.monotonic)
    use_noted: float = -math.inf

    @property
    def free_slots(self) -> int:
        """Slots that a claim may fill: what the agent offered, less what is on its way to it already."""
        if not self.is_open:
            return 0
        return max(0, min(self.ready_slots, self.capacity - len(self.in_hand)))

    def key(self, attempt: messages.AttemptRef | messages.AttemptReport | messages.OutputChunk) -> AttemptKey:
        """Return the attempt's key as this agent, and no other, may use it."""
        return AttemptKey(agent_id=self.agent_id, instance_id=attempt.instance_id, token=attempt.token)

    def note_clock(self, timestamp_ms: int, now: datetime) -> None:
        """Take the agent's clock from a frame; the offset is for display, never for a decision.

        Only frames that are never sent a second time may be used: a kept one bears an old time.
        """
        self.clock_offset_ms = now.timestamp() * 1000 - timestamp_ms

    def server_time(self, at_ms: int, now: datetime) -> datetime:
        """Translate a moment of the agent's clock to ours; never later than `now`."""
        age_ms = max(0.0, now.timestamp() * 1000 - self.clock_offset_ms - at_ms)
        return now - timedelta(milliseconds=min(age_ms, 365 * 86_400_000.0))

    def forget_attempt(self, instance_id: uuid.UUID) -> None:
        """Note that the agent does not have this attempt any more: its slot is free."""
        self.in_hand.discard(instance_id)
        self.told_to_cancel.discard(instance_id)

    async def send(self, payload: messages.Payload) -> None:
        """Send one message; a socket that is going down loses it, as the protocol expects."""
        self.messages_sent += 1
        await self.send_text(encode_frame(payload))

    async def close(self, *, reason: str, code: int, reconnect_after_ms: int) -> None:
        """Say goodbye and close the socket; nothing is given to this session from now on."""
        self.ready_slots = 0
        await self.send(messages.Goodbye(reason=reason, reconnect_after_ms=reconnect_after_ms))
        await self.close_socket(code)

    async def close_as_refused(self) -> None:
        """Close a session whose token is not valid; the agent may have another one, so it may come back."""
        await self.close(reason="token refused", code=version.CLOSE_POLICY, reconnect_after_ms=1000)

    async def dispatch(
        self, attempts: Sequence[StartedAttempt], *, now: datetime, lease_secs: float
    ) -> list[StartedAttempt]:
        """Send attempts that are committed already; return those that fit into no frame."""
        self.ready_slots = max(0, self.ready_slots - len(attempts))
        frames, too_large = split_for_frames(attempts, now=now)
        for frame in filter(None, frames):
            await self.dispatch_frame(frame, lease_secs=lease_secs)
        return too_large

    async def dispatch_frame(self, tasks: list[messages.DispatchedTask], *, lease_secs: float) -> None:
        """Send one frame of tasks, which the agent has in hand from now on."""
        self.in_hand.update(task.instance_id for task in tasks)
        await self.send(
            messages.Dispatch(nonce=self.ready_nonce, lease_ttl_ms=int(lease_secs * 1000), tasks=tasks)
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
        resource_limits={name: at for name, at in config["resource_limits"].items() if at is not None},
        on_lease_lost=config["on_lease_lost"],
    )


def split_for_frames(
    attempts: Sequence[StartedAttempt], *, now: datetime, first_budget: int = _FRAME_BUDGET
) -> tuple[list[list[messages.DispatchedTask]], list[StartedAttempt]]:
    """Return the tasks of `attempts` in lists that fit into frames, and the attempts that fit into none.

    `first_budget` is the room in bytes for the first list, which may stay empty.
    """
    frames: list[list[messages.DispatchedTask]] = [[]]
    too_large = []
    room = first_budget
    for attempt in attempts:
        task = dispatched_task(attempt, now=now)
        size = len(_encoder.encode(task)) + 1
        if size > _FRAME_BUDGET:
            too_large.append(attempt)
            continue
        if size > room:
            frames.append([])
            room = _FRAME_BUDGET
        frames[-1].append(task)
        room -= size
    return frames, too_large
