"""Reports on their way: each is sent until the server says that it is durable, oldest first.

The end of an attempt is on disk before it comes here, so a lost outbox is rebuilt from the spool.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

import msgspec

from agents.protocol.messages import AttemptReport
from agents.protocol.version import MAX_REPORTS_PER_FRAME

MAX_BATCH_BYTES: Final = 128 * 1024

Key = tuple[UUID, int]


class Outbox:
    """Reports by attempt and sequence number, and which frame carries them."""

    def __init__(self) -> None:
        self._waiting: dict[Key, AttemptReport] = {}
        self._in_flight: dict[str, dict[Key, AttemptReport]] = {}
        self._alone: set[Key] = set()

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._in_flight.values()))

    @property
    def has_next(self) -> bool:
        """Whether a batch may be sent: while one is unanswered, what happens gathers for the next."""
        return bool(self._waiting) and not self._in_flight

    def put(self, report: AttemptReport) -> None:
        """Add a report; the same one twice is one."""
        self._waiting[report.instance_id, report.seq] = report

    def take(self, frame_id: str) -> list[AttemptReport]:
        """Return the next batch, which the frame `frame_id` carries."""
        batch: dict[Key, AttemptReport] = {}
        size = 0
        for key, report in self._waiting.items():
            size += len(msgspec.json.encode(report))
            if batch and (
                size > MAX_BATCH_BYTES or key in self._alone or len(batch) == MAX_REPORTS_PER_FRAME
            ):
                break
            batch[key] = report
            if key in self._alone:
                break
        for key in batch:
            del self._waiting[key]
        self._in_flight[frame_id] = batch
        return list(batch.values())

    def acknowledge(self, frame_id: str) -> list[AttemptReport]:
        """Forget the reports that `frame_id` carried, and return them: they are durable."""
        batch = self._in_flight.pop(frame_id, {})
        self._alone.difference_update(batch)
        return list(batch.values())

    def refuse(self, frame_id: str) -> list[AttemptReport]:
        """Send the reports of a refused frame one by one; return the one that was refused alone."""
        batch = self._in_flight.pop(frame_id, {})
        if len(batch) == 1:
            self._alone.difference_update(batch)
            return list(batch.values())
        self._alone.update(batch)
        self._waiting = {**batch, **self._waiting}
        return []

    def forget(self, instance_id: UUID) -> None:
        """Drop what waits of an attempt that the server does not know."""
        for key in [key for key in self._waiting if key[0] == instance_id]:
            del self._waiting[key]

    def requeue(self) -> None:
        """Everything unanswered waits again, oldest first: the connection is a new one."""
        unanswered: dict[Key, AttemptReport] = {}
        for batch in self._in_flight.values():
            unanswered |= batch
        self._in_flight.clear()
        self._waiting = {**unanswered, **self._waiting}


def instances(reports: Iterable[AttemptReport], *, seq: int) -> list[UUID]:
    """Return the attempts whose report number `seq` is among `reports`."""
    return [report.instance_id for report in reports if report.seq == seq]
