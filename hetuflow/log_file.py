"""The log of one child process: written by the child, watched and kept small by us."""

import re
import shutil
from pathlib import Path
from typing import BinaryIO, Final

MAX_BYTES: Final = 20 * 1024 * 1024
_MAX_ERRORS_AT_ONCE: Final = 5
_MAX_READ_BYTES: Final = 256 * 1024
_MAX_LINE: Final = 300
_ERROR: Final = re.compile(rb"\b(ERROR|CRITICAL)\b")


class LogFile:
    """A file that a child appends to. What is in it when we first look is old and not shown again."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._seen = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def open(self) -> BinaryIO:
        """Open the file for a child to append to, readable by its owner alone."""
        self.path.touch(mode=0o600)
        return self.path.open("ab")

    def new_errors(self) -> list[str]:
        """Return the lines of level ERROR and CRITICAL written since the last call, the first few of them."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._seen)
            data = file.read(_MAX_READ_BYTES)
        self._seen += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [line.decode(errors="replace") for line in lines if _ERROR.search(line)]
        self._cut_when_large()
        if len(found) > _MAX_ERRORS_AT_ONCE:
            more = len(found) - _MAX_ERRORS_AT_ONCE
            found = [*found[:_MAX_ERRORS_AT_ONCE], f"… and {more} more, see {self.path}"]
        return found

    def last_line(self) -> str:
        """Return the last line with something in it, cut to a length that a terminal shows."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - _MAX_READ_BYTES))
            lines = file.read().split(b"\n")
        found = next((line for line in reversed(lines) if line.strip()), b"")
        return found.decode(errors="replace").strip()[:_MAX_LINE]

    def _cut_when_large(self) -> None:
        """Move what was written into `<name>.1` when it is much; the child goes on in the same, empty file.

        A line written between the copy and the cut is lost: a log may, a fact may not.
        """
        if self._seen >= self._max_bytes:
            shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.1"))
            with self.path.open("r+b") as file:
                file.truncate(0)
            self._seen = 0
