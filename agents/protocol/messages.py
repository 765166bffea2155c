"""Every message of the agent protocol as a typed structure.

A class is one payload; `kind` in the frame names it. Wrong types are refused when a payload is decoded
(`msgspec` does that), so a handler never checks a shape. Unknown fields are refused in what an agent
sends; in what a server sends they are passed over, because servers are upgraded before agents. Times in
`_ms` are epoch milliseconds of the sender's clock where the name ends in `at_ms` or `time_ms`, else
durations.
"""

import uuid
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct, field

from agents.protocol.version import MAX_REPORTS_PER_FRAME

# JSON integers are exact only up to 2**53 in many languages, so no number on the wire is larger.
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Token = Annotated[int, Meta(ge=1, le=2**53 - 1)]
EpochMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
DurationMs = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
ExitCode = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(max_length=65_536)]

CommandKind = Literal["bash", "sh", "python", "uv", "node", "npx", "cargo", "java", "exec"]
Stream = Literal["stdout", "stderr"]
AttemptStatus = Literal["running", "completed", "failed", "timeout", "cancelled"]
HeldStatus = Literal["dispatched", "running", "completed", "failed", "timeout", "cancelled"]
AgentActivity = Literal["idle", "busy", "draining"]
LeaseLostAction = Literal["keep", "kill"]
RegisteredAction = Literal["continue", "kill", "forget"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

COMMAND_KINDS: Final[tuple[CommandKind, ...]] = (
    "bash",
    "sh",
    "python",
    "uv",
    "node",
    "npx",
    "cargo",
    "java",
    "exec",
)


class Payload(Struct, omit_defaults=True, kw_only=True):
    """Base of all payloads; `KIND` is the frame's `kind`."""

    KIND: ClassVar[str]


class Item(Struct, omit_defaults=True, kw_only=True):
    """Base of the structures inside payloads."""


class AgentPayload(Payload, forbid_unknown_fields=True):
    """Base of the payloads that agents send."""


class AgentItem(Item, forbid_unknown_fields=True):
    """Base of the structures inside what agents send."""


# --- agent → server ---------------------------------------------------------------------------------


class Capabilities(AgentItem):
    max_concurrent_tasks: Annotated[int, Meta(ge=1, le=10_000)]
    commands: Annotated[list[CommandKind], Meta(max_length=64)]
    metadata: dict[str, Any] = field(default_factory=dict)


class AttemptRef(AgentItem):
    instance_id: uuid.UUID
    token: Token


class HeldAttempt(AgentItem):
    """An attempt that the agent still holds when it registers; `output_size` in bytes per stream."""

    instance_id: uuid.UUID
    token: Token
    status: HeldStatus
    output_size: "OutputSizes | Count | None" = None


class OutputSizes(AgentItem, omit_defaults=False):
    """Bytes that an attempt has printed, by stream."""

    stdout: Count = 0
    stderr: Count = 0


class Register(AgentPayload):
    KIND = "register"
    protocol: int
    agent_id: uuid.UUID
    epoch: uuid.UUID
    name: Name
    version: Annotated[str, Meta(max_length=64)]
    hostname: Annotated[str, Meta(max_length=255)]
    labels: dict[Name, Annotated[str, Meta(max_length=255)]]
    capabilities: Capabilities
    attempts: Annotated[list[HeldAttempt], Meta(max_length=10_000)] = field(default_factory=list)


class AgentMetrics(AgentItem):
    """What the agent's machine is doing: usages in percent, load as the kernel's, uptime in seconds."""

    cpu_usage: float | None = None
    memory_usage: float | None = None
    disk_usage: float | None = None
    load_1m: float | None = None
    uptime: float | None = None


class Heartbeat(AgentPayload):
    KIND = "heartbeat"
    nonce: Count
    status: AgentActivity
    running: Annotated[int, Meta(ge=0, le=10_000)]
    metrics: AgentMetrics = field(default_factory=AgentMetrics)
    attempts: Annotated[list[AttemptRef], Meta(max_length=10_000)] = field(default_factory=list)


class Ready(AgentPayload):
    KIND = "ready"
    nonce: Count
    slots: Annotated[int, Meta(ge=0, le=10_000)]


class DeclinedAttempt(AgentItem):
    instance_id: uuid.UUID
    token: Token
    reason: Annotated[str, Meta(max_length=1000)]


class Accepted(AgentPayload):
    KIND = "accepted"
    attempts: Annotated[list[AttemptRef], Meta(max_length=10_000)] = field(default_factory=list)
    declined: Annotated[list[DeclinedAttempt], Meta(max_length=10_000)] = field(default_factory=list)


class AttemptMetrics(AgentItem):
    """What one attempt used: CPU in seconds, memory peak and disk traffic in bytes."""

    cpu_time: float | None = None
    memory_peak: Count | None = None
    disk_read: Count | None = None
    disk_write: Count | None = None


class AttemptReport(AgentItem):
    instance_id: uuid.UUID
    token: Token
    seq: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    status: AttemptStatus
    at_ms: EpochMs
    exit_code: ExitCode | None = None
    signal: Annotated[int, Meta(ge=0, le=128)] | None = None
    error_message: Text | None = None
    result: Any = None
    metrics: AttemptMetrics | None = None
    output_size: OutputSizes | Count | None = None
    output_truncated: bool | None = None
    start_delay_ms: float | None = None


class Report(AgentPayload):
    KIND = "report"
    reports: Annotated[list[AttemptReport], Meta(min_length=1, max_length=MAX_REPORTS_PER_FRAME)]


class OutputChunk(AgentItem):
    """`data` is base64 on the wire; `offset` counts the bytes of that stream before it."""

    instance_id: uuid.UUID
    token: Token
    stream: Stream
    offset: Count
    data: bytes
    at_ms: EpochMs


class Output(AgentPayload):
    KIND = "output"
    chunks: Annotated[list[OutputChunk], Meta(min_length=1, max_length=1000)]


class LogLine(AgentItem):
    at_ms: EpochMs
    level: LogLevel
    message: Annotated[str, Meta(max_length=8192)]
    instance_id: uuid.UUID | None = None


class Log(AgentPayload):
    KIND = "log"
    lines: Annotated[list[LogLine], Meta(max_length=1000)]


class CommandResult(AgentPayload):
    KIND = "command_result"
    command_id: uuid.UUID
    ok: bool
    result: Any = None
    error: Text | None = None


# --- server → agent ---------------------------------------------------------------------------------


class AgentConfig(Item):
    heartbeat_secs: float
    lease_secs: float
    lead_secs: float
    kill_grace_secs: float
    max_chunk_bytes: int


class OutputOffsets(Item, omit_defaults=False):
    """How many bytes of each stream the server has stored."""

    stdout: Count = 0
    stderr: Count = 0


class AttemptToKill(Item):
    instance_id: uuid.UUID
    token: Token


class RegisteredAttempt(Item, omit_defaults=False):
    instance_id: uuid.UUID
    action: RegisteredAction
    output_offset: OutputOffsets = field(default_factory=OutputOffsets)


class DispatchedTask(Item):
    """One attempt to start; `environment` is the job's and the task's, merged by the server."""

    instance_id: uuid.UUID
    token: Token
    task_id: int
    job_id: int
    job_name: str
    attempt: int
    start_in_ms: DurationMs
    scheduled_at: str
    cmd: CommandKind
    args: list[str]
    environment: dict[str, str]
    parameters: dict[str, Any]
    working_dir: str | None
    timeout_secs: float
    kill_grace_secs: float
    max_output_size: int
    resource_limits: dict[str, Any]
    on_lease_lost: LeaseLostAction


# These fields are always on the wire, also where they hold their defaults: a reader in another language
# finds every field that the protocol page names.
class Registered(Payload, omit_defaults=False):
    KIND = "registered"
    agent_id: uuid.UUID
    server_id: uuid.UUID
    server_time_ms: EpochMs
    config: AgentConfig
    attempts: list[RegisteredAttempt] = field(default_factory=list)
    resend: list[DispatchedTask] = field(default_factory=list)


class Lease(Payload, omit_defaults=False):
    KIND = "lease"
    nonce: Count
    ttl_ms: Count
    server_time_ms: EpochMs
    kill: list[AttemptToKill] = field(default_factory=list)


class Dispatch(Payload, omit_defaults=False):
    KIND = "dispatch"
    nonce: Count
    lease_ttl_ms: Count
    tasks: list[DispatchedTask]


class Cancel(Payload):
    KIND = "cancel"
    instance_id: uuid.UUID
    token: Token
    grace_secs: float
    reason: str


class Command(Payload):
    KIND = "command"
    command_id: uuid.UUID
    command: str
    parameters: dict[str, Any]
    timeout_secs: float


class StaleReport(Item, omit_defaults=False):
    instance_id: uuid.UUID
    token: Token
    seq: int | None = None


class StoredOffset(Item):
    """The highest contiguous byte of one stream that the server has stored."""

    instance_id: uuid.UUID
    stream: Stream
    offset: Count


class Ack(Payload, omit_defaults=False):
    KIND = "ack"
    ids: list[str]
    stale: list[StaleReport] = field(default_factory=list)
    offsets: list[StoredOffset] = field(default_factory=list)


class Nack(Payload, omit_defaults=False):
    KIND = "nack"
    id: str | None
    code: str
    detail: str


class Goodbye(Payload, omit_defaults=False):
    KIND = "goodbye"
    reason: str
    reconnect_after_ms: Count


AGENT_MESSAGES: Final[dict[str, type[Payload]]] = {
    message.KIND: message
    for message in (Register, Heartbeat, Ready, Accepted, Report, Output, Log, CommandResult)
}
SERVER_MESSAGES: Final[dict[str, type[Payload]]] = {
    message.KIND: message for message in (Registered, Lease, Dispatch, Cancel, Command, Ack, Nack, Goodbye)
}
