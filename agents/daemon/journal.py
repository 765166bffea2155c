"""Which attempts this machine has taken on, flushed to the disk before the server is told.

Folders of attempts survive a crash of the daemon, but a power cut may take a folder, or the mark that its
command began. What the journal names from an earlier run of the machine was perhaps executed, so it must
never be executed again. One flush covers a whole batch.
"""

import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Final

COMPACT_BYTES: Final = 4 * 1024 * 1024


class Journal:
    """An append-only file of lines: `+` with attempts that were taken on, `-` with one that is settled."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._descriptor = -1
        self._size = 0

    def open(self) -> dict[uuid.UUID, int]:
        """Begin afresh; return the unsettled attempts of earlier runs of the machine, with their tokens."""
        earlier: dict[uuid.UUID, int] = {}
        current: dict[uuid.UUID, int] = {}
        for line in self._lines():
            try:
                entry = json.loads(line)
                held = current if entry["boot"] == self._boot_id else earlier
                held.update({uuid.UUID(name): int(token) for name, token in entry["held"].items()})
                for name in entry["settled"]:
                    earlier.pop(uuid.UUID(name), None)
                    current.pop(uuid.UUID(name), None)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # the last line may have been cut off; it was not acknowledged then
        self._rewrite(earlier | current)
        return earlier

    def take_on(self, attempts: dict[uuid.UUID, int]) -> None:
        """Note attempts with their tokens, and return when that is on the disk."""
        self._append({str(key): token for key, token in attempts.items()}, [])
        os.fsync(self._descriptor)

    def settle(self, instance_id: uuid.UUID, *, still_held: Iterable[tuple[uuid.UUID, int]]) -> None:
        """Note that an attempt needs nothing any more; begins a new file when this one has grown large."""
        if self._size > COMPACT_BYTES:
            self._rewrite(dict(still_held))
        else:
            self._append({}, [str(instance_id)])

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []

    def _append(self, held: dict[str, int], settled: list[str]) -> None:
        line = json.dumps({"boot": self._boot_id, "held": held, "settled": settled}) + "\n"
        self._size += os.write(self._descriptor, line.encode())

    def _rewrite(self, held: dict[uuid.UUID, int]) -> None:
        draft = self._path.with_suffix(".tmp")
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._size = 0
        self._append({str(key): token for key, token in held.items()}, [])
        os.fsync(self._descriptor)
        draft.rename(self._path)
