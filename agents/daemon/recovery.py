"""What an earlier daemon left in the spool: attempts that run, that ended, that never began, or may have."""

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from agents.daemon import spool
from agents.daemon.attempts import MACHINE_RESTARTED, HeldAttempt, unknown_outcome

logger = logging.getLogger(__name__)


def recover(folder: Path, earlier: Mapping[uuid.UUID, int], *, boot_id: str) -> Iterator[HeldAttempt]:
    """Yield every attempt that is still in hand; `earlier` are those of an earlier run of the machine.

    One of an earlier run that has no outcome has ended in a way that nobody knows, and is never started.
    """
    now_ms = time.time_ns() // 1_000_000
    found = set()
    for path in sorted(folder.iterdir()):
        attempt = _read(path, boot_id=boot_id, now_ms=now_ms)
        if attempt is not None:
            found.add(attempt.instance_id)
            yield attempt
    for instance_id, token in earlier.items():
        if instance_id not in found:
            lost = _attempt(folder / str(instance_id), instance_id, {"token": token})
            lost.outcome = unknown_outcome(MACHINE_RESTARTED, at_ms=now_ms)
            yield lost


def _read(path: Path, *, boot_id: str, now_ms: int) -> HeldAttempt | None:
    spec = spool.read_spec(str(path))
    try:
        instance_id = uuid.UUID(path.name)
    except ValueError:
        logger.warning("%s is not an attempt", path)
        return None
    if spec is None:
        spool.remove(str(path))  # never finished, so never acknowledged
        return None
    attempt = _attempt(path, instance_id, spec)
    attempt.outcome = spool.read_exit(str(path))
    if attempt.outcome is not None:
        attempt.started_at_ms = attempt.outcome["started_at_ms"]
        attempt.start_delay_ms = attempt.outcome["start_delay_ms"]
    elif spec["boot_id"] != boot_id:
        attempt.outcome = unknown_outcome(MACHINE_RESTARTED, at_ms=now_ms)
    return attempt


def _attempt(path: Path, instance_id: uuid.UUID, spec: Mapping[str, object]) -> HeldAttempt:
    return HeldAttempt(
        instance_id=instance_id,
        token=int(str(spec["token"])),
        folder=str(path),
        is_exclusive=spec.get("lease_until") is not None,
        launched_at=time.monotonic(),
    )
