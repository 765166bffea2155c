"""One attempt as the daemon sees it, and what it will report of it."""

import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from agents.daemon import spool
from agents.protocol.messages import AttemptMetrics, AttemptReport, AttemptStatus, HeldStatus, OutputSizes
from agents.protocol.strict_json import StrictJsonError, parse_strict

RUNNING_SEQ: Final = 1
END_SEQ: Final = 2
MAX_RESULT_BYTES: Final = 64 * 1024
_MAX_MESSAGE_CHARS: Final = 65_536

MACHINE_RESTARTED: Final = (
    "The machine restarted while it held this attempt; whether its command ran is not known."
)
NEVER_STARTED: Final = "The command was not started."
SUPERVISOR_DIED: Final = "The supervisor of the attempt was killed; what was left of the command was ended."


@dataclass(slots=True)
class HeldAttempt:
    """An attempt that this agent holds until the server has all there is to know of it.

    `outcome` is what `exit.json` says. An attempt that nobody wants any more is dropped when it has ended.
    """

    instance_id: uuid.UUID
    token: int
    folder: str
    is_exclusive: bool
    launched_at: float
    started_at_ms: int | None = None
    start_delay_ms: float | None = None
    outcome: dict[str, Any] | None = None
    is_unwanted: bool = False
    is_asked_to_stop: bool = False
    is_reported: bool = False
    link: socket.socket | None = None
    orders: list[dict[str, Any]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(spool.STREAMS, 0))

    @property
    def has_ended(self) -> bool:
        return self.outcome is not None

    @property
    def was_declined(self) -> bool:
        """Whether it was given back before its command began."""
        return self.outcome is not None and self.outcome["status"] == "declined"

    @property
    def status(self) -> HeldStatus:
        """Return the status by which a registration names it."""
        if self.outcome is not None:
            return "dispatched" if self.was_declined else cast(HeldStatus, self.outcome["status"])
        return "dispatched" if self.started_at_ms is None else "running"

    def running_report(self) -> AttemptReport:
        """Return the report that the command was started."""
        return AttemptReport(
            instance_id=self.instance_id,
            token=self.token,
            seq=RUNNING_SEQ,
            status="running",
            at_ms=self.started_at_ms or 0,
            start_delay_ms=self.start_delay_ms,
        )

    def end_report(self) -> AttemptReport:
        """Return the report of how it ended."""
        outcome = self.outcome or {}
        message = str(outcome.get("error_message") or "")
        result, problem = self._read_result()
        return AttemptReport(
            instance_id=self.instance_id,
            token=self.token,
            seq=END_SEQ,
            status=cast(AttemptStatus, outcome["status"]),
            at_ms=outcome["ended_at_ms"],
            exit_code=outcome["exit_code"],
            signal=outcome["signal"],
            error_message=" ".join(filter(None, (message, problem)))[:_MAX_MESSAGE_CHARS] or None,
            result=result,
            metrics=AttemptMetrics(**outcome["metrics"]) if outcome.get("metrics") else None,
            output_size=OutputSizes(**self.sizes),
            output_truncated=bool(outcome.get("output_truncated")) or None,
            start_delay_ms=self.start_delay_ms,
        )

    def _read_result(self) -> tuple[Any, str]:
        """Return what the command wrote as its result, and what is wrong with it."""
        try:
            with Path(self.folder, spool.RESULT).open("rb") as file:
                text = file.read(MAX_RESULT_BYTES + 1)
        except OSError:
            return None, ""
        if len(text) > MAX_RESULT_BYTES:
            return None, f"The result is larger than {MAX_RESULT_BYTES} bytes and was left out."
        try:
            return parse_strict(text, max_depth=16), ""
        except StrictJsonError as error:
            return None, f"The result was left out: {error}."


def unknown_outcome(message: str, *, at_ms: int) -> dict[str, Any]:
    """Return the outcome of an attempt of which nobody knows more than `message`."""
    return {
        "status": "failed",
        "exit_code": None,
        "signal": None,
        "error_message": message,
        "metrics": {},
        "started_at_ms": None,
        "start_delay_ms": None,
        "output_truncated": True,
        "ended_at_ms": at_ms,
    }
