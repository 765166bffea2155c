"""What must be true after any run, whatever failed on the way: the judge of every fault test.

Its ground truth is outside of the product: a ledger that the commands themselves write, the bytes that they
printed, and the process table. Everything else is SQL over the invariants of `docs/reliability.md`.
"""

import contextlib
import hashlib
import os
import signal
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.db import connection

from scheduling.models import OutputChunk, Schedule, Task, TaskInstance
from scheduling.recurrence import instants_between
from scheduling.services.next_runs import recurrence_of
from scheduling.states import TASK_TERMINAL

LIMIT_SECS = 30.0
T = TypeVar("T")

# Each finds rows that must not be there; the names are those of the invariants.
VIOLATIONS = {
    "I1 one task per instant": """
        SELECT schedule_id, scheduled_at FROM scheduling_task WHERE schedule_id IS NOT NULL
        GROUP BY 1, 2 HAVING count(*) > 1""",
    "I3 one live attempt": """
        SELECT task_id FROM scheduling_taskinstance WHERE status IN ('pending', 'dispatched', 'running')
        GROUP BY 1 HAVING count(*) > 1""",
    "I4 a task that ended has no live attempt": """
        SELECT t.id, i.id FROM scheduling_task t JOIN scheduling_taskinstance i ON i.task_id = t.id
        WHERE t.status IN ('completed', 'failed', 'cancelled')
          AND i.status IN ('pending', 'dispatched', 'running')""",
    "a task on an agent has a live attempt": """
        SELECT t.id FROM scheduling_task t WHERE t.status IN ('locked', 'dispatched', 'running')
          AND NOT EXISTS (SELECT 1 FROM scheduling_taskinstance i WHERE i.task_id = t.id
                          AND i.status IN ('pending', 'dispatched', 'running'))""",
    "a task is completed by its last attempt and by no other": """
        SELECT t.id FROM scheduling_task t LEFT JOIN LATERAL (
            SELECT i.status FROM scheduling_taskinstance i WHERE i.task_id = t.id
            ORDER BY i.attempt DESC LIMIT 1) last ON true
        WHERE (t.status = 'completed') <> COALESCE(last.status = 'completed', false)
          AND t.manual_retries = 0""",
    "a task that somebody wants cancelled is not tried again": """
        SELECT id FROM scheduling_task
        WHERE cancel_requested_at IS NOT NULL AND status IN ('pending', 'waiting_retry')""",
    "I5 tokens grow with the attempts of a task": """
        SELECT a.task_id FROM scheduling_taskinstance a JOIN scheduling_taskinstance b
            ON b.task_id = a.task_id AND b.attempt > a.attempt WHERE b.token <= a.token""",
    "attempts count from one without a gap": """
        SELECT t.id FROM scheduling_task t JOIN scheduling_taskinstance i ON i.task_id = t.id
        GROUP BY t.id HAVING max(i.attempt) <> count(*) OR max(i.attempt) <> max(t.attempt_count)""",
    "no more retries than allowed": """
        SELECT id FROM scheduling_task WHERE retry_count > max_retries""",
    "nothing ends before it starts": """
        SELECT id FROM scheduling_taskinstance WHERE completed_at < started_at""",
    "I7 and I13 output is whole and in order": """
        SELECT instance_id, stream FROM (
            SELECT instance_id, stream, "offset", length(data) AS size,
                   COALESCE(lag("offset" + length(data)) OVER
                       (PARTITION BY instance_id, stream ORDER BY "offset"), 0) AS expected
            FROM scheduling_outputchunk) chunk
        WHERE "offset" <> expected""",
    "I7 output is as long as it is said to be": """
        SELECT i.id FROM scheduling_taskinstance i LEFT JOIN scheduling_outputchunk c ON c.instance_id = i.id
        GROUP BY i.id
        HAVING COALESCE(sum(length(c.data)) FILTER (WHERE c.stream = 1), 0) <> i.stdout_bytes
            OR COALESCE(sum(length(c.data)) FILTER (WHERE c.stream = 2), 0) <> i.stderr_bytes""",
    "I10 no two live attempts share a place": """
        SELECT job_id, place FROM scheduling_taskinstance
        WHERE status IN ('pending', 'dispatched', 'running') AND place IS NOT NULL
        GROUP BY 1, 2 HAVING count(*) > 1""",
}


def until(condition: Callable[[], T], what: str, limit_secs: float = LIMIT_SECS) -> T:
    """Return what `condition` returns as soon as that is true; fail with `what` after the limit."""
    deadline = time.monotonic() + limit_secs
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {limit_secs:g} s: {what}"
        time.sleep(0.03)
    return result


def quiesce(tasks: Iterable[int], limit_secs: float = LIMIT_SECS) -> None:
    """Wait until each of these tasks has ended."""
    ids = list(tasks)
    until(
        lambda: not Task.objects.filter(pk__in=ids).exclude(status__in=TASK_TERMINAL).exists(),
        f"tasks end; they are {Counter(Task.objects.filter(pk__in=ids).values_list('status', flat=True))}",
        limit_secs,
    )


def check_database() -> None:
    """Check all that the invariants say of the tables."""
    found = {}
    with connection.cursor() as cursor:
        for name, query in VIOLATIONS.items():
            cursor.execute(query)
            if rows := cursor.fetchall():
                found[name] = rows[:5]
    assert found == {}


def check_schedule(schedule: Schedule) -> None:
    """Check that every instant up to the cursor has its task, and that there is no other (I1, I2)."""
    schedule.refresh_from_db()
    expected = instants_between(
        recurrence_of(schedule), schedule.created_at, schedule.planned_until, limit=100_000
    )
    if schedule.max_count is not None:
        expected = expected[: schedule.max_count]
    tasks = Task.objects.filter(schedule=schedule).order_by("scheduled_at")
    assert list(tasks.values_list("scheduled_at", flat=True)) == expected


# --- the ledger -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One execution of a command, by its own word; times are epoch seconds of the machine."""

    instance_id: str
    started_at: float
    ended_at: float | None


class Ledger:
    """A file to which commands append when they start and end; what they really did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def script(self, work: str = "true") -> str:
        """Return a bash script that enters its start and its end around `work`, each in one write."""
        entry = f'echo "$HETUFLOW_INSTANCE_ID $1 $EPOCHREALTIME" >> "{self.path}"'
        return f"note() {{ {entry}; }}; note start; {work}; note end"

    def runs(self) -> list[Run]:
        """Return what was run, one entry for each start."""
        starts: list[tuple[str, float]] = []
        ends: dict[str, list[float]] = defaultdict(list)
        for line in self.path.read_text().splitlines():
            instance_id, what, moment = line.split()
            if what == "start":
                starts.append((instance_id, float(moment)))
            else:
                ends[instance_id].append(float(moment))
        assert all(len(moments) == 1 for moments in ends.values()), "a command ended twice"
        return [Run(name, moment, next(iter(ends[name]), None)) for name, moment in starts]

    def check(self, instances: Iterable[TaskInstance]) -> None:
        """Check that nothing ran twice, and that what is said to have run to its end did (I6)."""
        runs = self.runs()
        starts = Counter(run.instance_id for run in runs)
        assert [name for name, count in starts.items() if count > 1] == []
        ended = {run.instance_id for run in runs if run.ended_at is not None}
        known = {str(instance.pk): instance for instance in instances}
        completed = {name for name, instance in known.items() if instance.status == "completed"}
        assert completed <= ended
        assert ended & known.keys() <= completed

    def most_at_once(self, instance_ids: Iterable[str]) -> int:
        """Return how many of these runs overlapped at most."""
        wanted = set(instance_ids)
        moments = []
        for run in self.runs():
            if run.instance_id in wanted:
                moments += [(run.started_at, 1), (run.ended_at or float("inf"), -1)]
        level = highest = 0
        for _, step in sorted(moments):
            level += step
            highest = max(highest, level)
        return highest


# --- output and processes -------------------------------------------------------------------------------


def stored_output(instance: TaskInstance, stream: int = 1) -> bytes:
    """Return all that is stored of one stream."""
    chunks = OutputChunk.objects.filter(instance=instance, stream=stream).order_by("offset")
    return b"".join(bytes(data) for data in chunks.values_list("data", flat=True))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def processes_with(marker: str) -> list[int]:
    """Return the processes whose command line holds `marker`."""
    return [pid for pid, line in _command_lines() if marker.encode() in line]


def supervisors_of(folder: Path) -> list[int]:
    """Return the processes that hold a file of an agent's folder open: the shims, and for root the daemon.

    The daemon hides what it holds from everybody else, for the token in its memory.
    """
    return [pid for pid, _ in _command_lines() if _holds(pid, str(folder))]


def processes_of(folder: Path) -> list[int]:
    """Return those processes and all their descendants."""
    found = supervisors_of(folder)
    children = defaultdict(list)
    for pid, _ in _command_lines():
        children[_parent(pid)].append(pid)
    for pid in found:
        found += [child for child in children[pid] if child not in found]
    return found


def processes_of_attempts(instance_ids: Iterable[uuid.UUID]) -> list[int]:
    """Return the processes whose environment says that they belong to one of these attempts."""
    markers = {f"HETUFLOW_INSTANCE_ID={instance_id}".encode() for instance_id in instance_ids}
    return [pid for pid, _ in _command_lines() if markers & set(_environment(pid))]


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _command_lines() -> list[tuple[int, bytes]]:
    lines = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            with contextlib.suppress(OSError):
                lines.append((int(path.name), (path / "cmdline").read_bytes()))
    return lines


def _holds(pid: int, folder: str) -> bool:
    try:
        return any(str(link.readlink()).startswith(folder) for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
