"""What the doctor says: lines in groups, as text for people and as JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Final


class Level(IntEnum):
    """How bad something is; a report is as bad as its worst line."""

    OK = 0
    WARNING = 1
    ERROR = 2


_MARKS: Final = {Level.OK: "✔", Level.WARNING: "!", Level.ERROR: "✘"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at: what was seen, and where that is not fine, what to do."""

    level: Level
    name: str
    seen: str
    remedy: str = ""
    ids: Sequence[str] = ()


def ok(name: str, seen: str) -> Line:
    """Return a line that needs nobody."""
    return Line(Level.OK, name, seen)


def warning(name: str, seen: str, remedy: str, ids: Sequence[str] = ()) -> Line:
    """Return a line about what will bite some day, or bites a little."""
    return Line(Level.WARNING, name, seen, remedy, ids)


def error(name: str, seen: str, remedy: str, ids: Sequence[str] = ()) -> Line:
    """Return a line about what is broken."""
    return Line(Level.ERROR, name, seen, remedy, ids)


@dataclass(slots=True)
class Report:
    """All lines by group, in the order in which they were looked at."""

    version: str
    at: datetime
    secs: float = 0.0
    groups: dict[str, list[Line]] = field(default_factory=dict)

    @property
    def lines(self) -> list[Line]:
        return [line for lines in self.groups.values() for line in lines]

    @property
    def level(self) -> Level:
        return max((line.level for line in self.lines), default=Level.OK)

    def count(self, level: Level) -> int:
        """Return how many lines are so bad."""
        return sum(line.level == level for line in self.lines)

    def as_text(self, *, width: int = 110) -> str:
        """Return the report for a terminal."""
        parts = []
        for group, lines in self.groups.items():
            parts.append(f"{group}\n{''.join(_as_text(line) for line in lines)}")
        errors, warnings = self.count(Level.ERROR), self.count(Level.WARNING)
        verdict = f"{errors} wrong, {warnings} to look at" if errors or warnings else "all is well"
        return "\n".join([*parts, f"{len(self.lines)} looked at in {self.secs:.1f} s: {verdict}\n"])

    def as_json(self) -> str:
        """Return the report as one JSON object."""
        groups = [
            {"name": name, "lines": [_as_object(line) for line in lines]}
            for name, lines in self.groups.items()
        ]
        report = {
            "status": self.level.name.lower(),
            "version": self.version,
            "checked_at": f"{self.at:%Y-%m-%dT%H:%M:%S.%fZ}",
            "secs": round(self.secs, 3),
            "groups": groups,
        }
        return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def _as_text(line: Line) -> str:
    text = f"  {_MARKS[line.level]} {line.name}: {line.seen}\n"
    return text + (f"      → {line.remedy}\n" if line.remedy else "")


def _as_object(line: Line) -> Mapping[str, Any]:
    return {
        "level": line.level.name.lower(),
        "name": line.name,
        "seen": line.seen,
        "remedy": line.remedy,
        "ids": list(line.ids),
    }
