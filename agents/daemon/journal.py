"""Which attempts this machine has taken on, flushed to the disk before the server is told.

Folders of attempts survive a crash of the daemon, but a power cut may take a folder, or the mark that its
command began. What the journal names from an earlier run of the machine was perhaps executed, so it must
never be executed again. One flush covers a whole batch.
"""

import contextlib
import errno
import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

COMPACT_BYTES: Final = 4 * 1024 * 1024


class Journal:
    """An append-only file of lines: `+` with attempts that were taken on, `-` with one that is settled."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._descriptor = -1
        self._size = 0
        self._held: dict[uuid.UUID, int] = {}

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
        self._held = earlier | current
        try:
            self._rewrite()
        except OSError as error:
            logger.warning("the journal cannot be written anew: %s", error.strerror)
            self._go_on()
        return earlier

    def take_on(self, attempts: Mapping[uuid.UUID, int]) -> None:
        """Note attempts with their tokens, and return when that is on the disk."""
        if attempts:
            self._append(attempts, [])
            os.fsync(self._descriptor)
            self._held.update(attempts)

    def settle(self, instance_ids: Sequence[uuid.UUID]) -> None:
        """Note attempts that need nothing any more; begins a new file when this one has grown large.

        On a full disk it is not noted: the server is asked once more when the machine has restarted.
        """
        for instance_id in instance_ids:
            self._held.pop(instance_id, None)
        with contextlib.suppress(OSError):
            if self._size > COMPACT_BYTES:
                self._rewrite()
            else:
                self._append({}, instance_ids)

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []

    def _append(self, held: Mapping[uuid.UUID, int], settled: Sequence[uuid.UUID]) -> None:
        self._size += self._write(self._descriptor, self._size, held, settled)

    def _write(
        self, descriptor: int, size: int, held: Mapping[uuid.UUID, int], settled: Sequence[uuid.UUID]
    ) -> int:
        """Add a whole line to a file of `size` bytes and return its length, or none and raise OSError."""
        entry = {
            "boot": self._boot_id,
            "held": {str(instance_id): token for instance_id, token in held.items()},
            "settled": [str(instance_id) for instance_id in settled],
        }
        line = json.dumps(entry).encode() + b"\n"
        written = os.write(descriptor, line)
        if written < len(line):
            os.ftruncate(descriptor, size)  # a torn line would spoil the next one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def _rewrite(self) -> None:
        """Begin a new file with what is held; where that cannot be, keep the old one and raise OSError."""
        draft = self._path.with_suffix(".tmp")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = self._write(descriptor, 0, self._held, [])
            os.fsync(descriptor)
            draft.rename(self._path)
        except OSError:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._size = descriptor, size

    def _go_on(self) -> None:
        """Use the file that is there, without a last line that was cut off."""
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = self._path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._descriptor, self._size)
