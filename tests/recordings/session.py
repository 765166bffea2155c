"""A recorded session: its lines, and what they mean apart from ids, times and how things were bundled."""

import base64
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

FOLDER: Final = Path(__file__).parent
# Stands in recordings for the folder in which commands wait for each other.
PLACE: Final = "{folder}"
Json = dict[str, Any]
Way = Literal["up", "down", "do"]


@dataclass(frozen=True)
class Line:
    """A frame on its way, or something that was done (`{"do": what, …}`)."""

    way: Way
    said: Json

    @property
    def kind(self) -> str:
        return str(self.said["do" if self.way == "do" else "kind"])

    @property
    def payload(self) -> Json:
        return dict(self.said["payload"])


def recorded_versions() -> list[str]:
    """Return the versions of which there is a recording."""
    return sorted(path.parent.name for path in FOLDER.glob("*/session.jsonl"))


def load(version: str, *, place: Path) -> list[Line]:
    """Return the session of a version, as if its commands had been made for the folder `place`."""
    text = (FOLDER / version / "session.jsonl").read_text()
    return [Line(**json.loads(line)) for line in text.replace(PLACE, str(place)).splitlines()]


def save(version: str, lines: Iterable[Line], *, place: Path) -> None:
    """Write the session of a version, whose commands were made for the folder `place`."""
    written = [json.dumps({"way": line.way, "said": line.said}) for line in lines]
    path = FOLDER / version / "session.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(written).replace(str(place), PLACE) + "\n")


@dataclass
class Told:
    """What an agent told in a session, whatever frames it took: `reports` by attempt and number."""

    held: list[set[str]] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    declined: dict[str, str] = field(default_factory=dict)
    reports: dict[tuple[str, int], Json] = field(default_factory=dict)
    output: dict[tuple[str, str], bytes] = field(default_factory=lambda: defaultdict(bytes))
    answers: dict[str, bool] = field(default_factory=dict)
    statuses: set[str] = field(default_factory=set)

    @classmethod
    def by(cls, lines: Iterable[Line]) -> "Told":
        told = cls()
        for line in lines:
            if line.way == "up":
                told.add(line.kind, line.payload)
        return told

    def add(self, kind: str, payload: Json) -> None:
        """Take in a message, which may have come before."""
        if kind == "register":
            self.held.append({one["instance_id"] for one in payload.get("attempts", [])})
        elif kind == "heartbeat":
            self.statuses.add(payload["status"])
        elif kind == "accepted":
            self.accepted |= {one["instance_id"] for one in payload.get("attempts", [])}
            self.declined |= {one["instance_id"]: one["reason"] for one in payload.get("declined", [])}
        elif kind == "report":
            for report in payload["reports"]:
                self.reports[report["instance_id"], report["seq"]] = report
        elif kind == "output":
            for chunk in payload["chunks"]:
                self._add_output(chunk)
        elif kind == "command_result":
            self.answers[payload["command_id"]] = payload["ok"]

    def _add_output(self, chunk: Json) -> None:
        stream = chunk["instance_id"], chunk["stream"]
        before = self.output[stream]
        assert chunk["offset"] <= len(before), f"a gap in the output: {chunk}"
        self.output[stream] = before[: chunk["offset"]] + base64.b64decode(chunk["data"])

    def last_report(self, attempt: str) -> Json:
        """Return the report of how an attempt ended."""
        return self.reports[max(key for key in self.reports if key[0] == attempt)]


_MEASURED: Final = {"at_ms", "metrics", "start_delay_ms", "error_message"}


def meaning_of(report: Json) -> Json:
    """Return what of a report later agents must say as well; of texts for people, that there is one."""
    kept = {name: value for name, value in report.items() if name not in _MEASURED}
    return kept | {"has_error": bool(report.get("error_message"))}


# What differs from run to run. What is sent again comes with the value that was given.
_DRAWN: Final = {
    "instance_id", "token", "task_id", "job_id", "agent_id", "server_id", "command_id", "server_time_ms",
    "start_in_ms", "scheduled_at", "id", "ids", "nonce", "timestamp", "output_offset", "reason", "kill",
}  # fmt: skip


def differences(recorded: Any, today: Any, *, at: str = "") -> list[str]:
    """Return how what is said today lacks what was recorded. More may be said; ids and times are others."""
    name = at.rpartition(".")[2]
    if type(recorded) is not type(today) and not {type(recorded), type(today)} <= {int, float}:
        return [f"{at}: {today!r} is of another type than {recorded!r}"]
    if isinstance(recorded, dict):
        missing = [f"{at}.{key} is not there" for key in recorded if key not in today]
        both = [key for key in recorded if key in today]
        return missing + [
            one for key in both for one in differences(recorded[key], today[key], at=f"{at}.{key}")
        ]
    if name in _DRAWN or recorded == today:
        return []
    if isinstance(recorded, list) and len(recorded) == len(today):
        pairs = zip(recorded, today, strict=True)
        return [one for pair in pairs for one in differences(*pair, at=f"{at}[]")]
    return [f"{at}: {today!r} instead of {recorded!r}"]


def token_of(agent_id: str) -> str:
    """Return what looks like a token of an agent."""
    return f"hfa_{uuid.UUID(agent_id).hex}_{'r' * 43}"
