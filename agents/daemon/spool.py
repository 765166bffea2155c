"""The folder of one attempt on disk: what to run, whether it began, what it printed, how it ended.

    <agent dir>/spool/<instance id>/
        spec            what to run, as JSON behind one byte: `-` before the command is executed, `+` after;
                        locked (flock) by the shim while it lives
        stdout, stderr
        result.json     written by the command, if it has something to say
        exit.json       how it ended; complete and flushed, or absent

Everything that must survive a crash of daemon or shim is here. The shim imports this module, so it keeps to
what is cheap after a fork: few modules, no `open`, one Python frame to decode JSON.
"""

from __future__ import annotations

import fcntl
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, Literal

SPEC: Final = "spec"
EXIT: Final = "exit.json"
RESULT: Final = "result.json"
STREAMS: Final[tuple[Literal["stdout"], Literal["stderr"]]] = ("stdout", "stderr")

_WAITS: Final = b"-"
_STARTED: Final = b"+"
_BLOCK_BYTES: Final = 64 * 1024
_decode = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder().encode


def write_spec(folder: str, spec: dict[str, Any]) -> None:
    """Make the folder of an attempt; raises OSError, and leaves nothing behind then."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        # Nobody looks at it before it is whole: the server is told and the shim forked only afterwards.
        _write(f"{folder}/{SPEC}", _WAITS + _encode(spec).encode(), flush=False)
    except OSError:
        remove(folder)
        raise


def read_spec(folder: str) -> dict[str, Any] | None:
    """Return what to run; None where the folder or its specification is missing or incomplete."""
    return _read_object(f"{folder}/{SPEC}", skip=1)


def read_exit(folder: str) -> dict[str, Any] | None:
    """Return how the attempt ended; None where it has not."""
    return _read_object(f"{folder}/{EXIT}", skip=0)


def write_exit(folder: str, outcome: dict[str, Any]) -> None:
    """Write how the attempt ended, whole and flushed to the disk, or raise OSError."""
    draft = f"{folder}/{EXIT}.tmp"
    _write(draft, _encode(outcome).encode(), flush=True)
    os.rename(draft, f"{folder}/{EXIT}")


def lock(folder: str) -> int | None:
    """Become the one supervisor of this attempt; return a descriptor to keep open, or None."""
    descriptor = os.open(f"{folder}/{SPEC}", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_supervised(folder: str) -> bool:
    """Whether a living shim holds the attempt."""
    try:
        descriptor = lock(folder)
    except FileNotFoundError:
        return False
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def has_started(folder: str) -> bool:
    """Whether the command of this attempt was, or was about to be, executed."""
    return _read(f"{folder}/{SPEC}")[:1] == _STARTED


def claim_start(locked: int) -> bool:
    """Claim the one start of the attempt whose locked specification this is; False where it was claimed."""
    if os.pread(locked, 1, 0) != _WAITS:
        return False
    os.pwrite(locked, _STARTED, 0)
    return True


def prevent_start(folder: str) -> bool:
    """Claim the start of an attempt without a supervisor, so that nobody can; False if it was claimed."""
    try:
        descriptor = lock(folder)
    except FileNotFoundError:
        return False
    if descriptor is None:
        return False
    try:
        return claim_start(descriptor)
    finally:
        os.close(descriptor)


def output_sizes(folder: str) -> dict[str, int]:
    """Return how many bytes of each stream are in the folder."""
    sizes: dict[str, int] = {}
    for stream in STREAMS:
        try:
            sizes[stream] = os.stat(f"{folder}/{stream}").st_size
        except FileNotFoundError:
            sizes[stream] = 0
    return sizes


def read_output(folder: str, stream: str, offset: int, limit: int) -> bytes:
    """Return at most `limit` bytes of one stream from byte `offset` on."""
    descriptor = os.open(f"{folder}/{stream}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, limit, offset)
    finally:
        os.close(descriptor)


def remove(folder: str) -> None:
    """Delete the folder of an attempt that nobody needs any more."""
    try:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
    except OSError:
        return  # what is left is a stray, found when the daemon starts


def boot_id() -> str:
    """Return what tells this run of the machine from every other one."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def _read_object(path: str, *, skip: int) -> dict[str, Any] | None:
    try:
        value, _end = _decode(_read(path)[skip:].decode())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = block = os.read(descriptor, _BLOCK_BYTES)
        while len(block) == _BLOCK_BYTES:
            block = os.read(descriptor, _BLOCK_BYTES)
            data += block
        return data
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes, *, flush: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        if flush:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
