"""The folder of one attempt on disk: what to run, whether it began, what it printed, how it ended.

    <agent dir>/spool/<instance id>/spec.json   what to run; locked (flock) by the shim while it lives
                                    started     made before the command is executed, so that it never is twice
                                    stdout, stderr
                                    result.json written by the command, if it has something to say
                                    exit.json   how it ended; complete and flushed, or absent

Everything that must survive a crash of daemon or shim is here. Standard library only: the shim imports it.
"""

import fcntl
import json
import os
import shutil
from typing import Any, Final, Literal

SPEC: Final = "spec.json"
STARTED: Final = "started"
EXIT: Final = "exit.json"
RESULT: Final = "result.json"
STREAMS: Final[tuple[Literal["stdout"], Literal["stderr"]]] = ("stdout", "stderr")


def read_json(folder: str, name: str) -> dict[str, Any] | None:
    """Return the object in a file of `folder`; None where it is missing or incomplete."""
    try:
        with open(f"{folder}/{name}", "rb") as file:
            value = json.load(file)
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_spec(folder: str, spec: dict[str, Any]) -> None:
    """Make the folder of an attempt; raises OSError, and leaves nothing behind then."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        _write(f"{folder}/{SPEC}", spec, flush=False)
    except OSError:
        remove(folder)
        raise


def write_exit(folder: str, outcome: dict[str, Any]) -> None:
    """Write how the attempt ended, whole and flushed to the disk, or raise OSError."""
    _write(f"{folder}/{EXIT}", outcome, flush=True)


def mark_started(folder: str) -> bool:
    """Claim the one start of this attempt; False where somebody has claimed it already."""
    try:
        os.close(os.open(f"{folder}/{STARTED}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


def lock(folder: str) -> int | None:
    """Become the one supervisor of this attempt; return a descriptor to keep open, or None."""
    descriptor = os.open(f"{folder}/{SPEC}", os.O_RDONLY | os.O_CLOEXEC)
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
    return os.access(f"{folder}/{STARTED}", os.F_OK)


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
    shutil.rmtree(folder, ignore_errors=True)


def boot_id() -> str:
    """Return what tells this run of the machine from every other one."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _write(path: str, value: dict[str, Any], *, flush: bool) -> None:
    draft = f"{path}.tmp"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = json.dumps(value).encode()
        while data:
            data = data[os.write(descriptor, data) :]
        if flush:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(draft, path)
