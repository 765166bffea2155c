"""What must be true after any run, whatever failed on the way: the judge of every fault test.

Its ground truth is outside of the product: a ledger that the commands themselves write, the bytes that they
printed, and the process table. Everything else are the questions of `scheduling/invariants`, which the doctor
asks of live installations.
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
from typing import TYPE_CHECKING, TypeVar

import psutil
from django.db import connection

from agents.daemon.attempts import SUPERVISOR_DIED
from scheduling.clock import database_now
from scheduling.invariants import history, instants, progress
from scheduling.invariants.checks import Check, Finding, find, reading
from scheduling.models import OutputChunk, Schedule, Task, TaskInstance
from scheduling.recurrence import instants_between
from scheduling.services.next_runs import recurrence_of
from scheduling.states import INSTANCE_TERMINAL, TASK_TERMINAL

if TYPE_CHECKING:
    from tests.e2e.installation import Installation

LIMIT_SECS = 30.0
# More than any of these installations needs, and less than what grows without bound reaches soon.
MAX_RSS_BYTES = 300 * 2**20
MAX_SOCKETS = 100
MAX_DATABASE_CONNECTIONS_EACH = 20
# What was given up may be under way to its start: by so much, and no more.
START_TOLERANCE_SECS = 1.0
T = TypeVar("T")

# True of these installations, where nobody deletes an attempt.
UNBROKEN = Check(
    "attempts count from one without a gap",
    "task",
    """SELECT t.id FROM scheduling_task t JOIN scheduling_taskinstance i ON i.task_id = t.id
       GROUP BY t.id HAVING max(i.attempt) <> count(*) OR max(i.attempt) <> t.attempt_count""",
    "",
)
# What `check_all` looks at, by name.
INVARIANTS = (
    *(check.name for check in (*history.CHECKS, UNBROKEN, *progress.CHECKS)),
    *(check.name for check in (instants.MISSING, instants.SURPLUS, instants.NEXT)),
    "I3 nothing ran twice",
    "I6 no lost result",
    "I7 no lost output",
    "I9 no process is left",
    "nothing starts after it was given up",
    "no process grows without bound",
)


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
    """Check all that is true of the tables at any moment, whatever is under way."""
    now = database_now()
    _refuse([find(check, now=now, recent=None) for check in (*history.CHECKS, UNBROKEN)])


def check_instants() -> None:
    """Check that every enabled schedule has the tasks of its rule, and no others (I1, I2)."""
    with reading():
        compared = instants.compare(schedules=None, window=None, most=100_000)
    _refuse(compared.findings())


def check_progress() -> None:
    """Check that nothing waits for somebody who should have moved it on (I8, I9)."""
    now = database_now()
    _refuse([find(check, now=now, recent=None) for check in progress.CHECKS])


def _refuse(found: Iterable[Finding | None]) -> None:
    wrong = {finding.name: str(finding) for finding in found if finding is not None}
    assert not wrong, wrong


def check_always(installation: "Installation") -> None:
    """Check what is true of an installation at any moment, agents away and work under way."""
    check_database()
    check_instants()
    installation.ledger.check_starts()
    check_ceilings(installation)


def check_all(installation: "Installation") -> None:
    """Check all there is, once work has ended: tables, ledger, output, processes and what they use.

    Waits until the agents that run have delivered all, and until the processes of attempts are gone.
    """
    for folder in installation.running_agents():
        until(lambda folder=folder: not any((folder / "spool").iterdir()), "the agent has delivered all")  # type: ignore[misc]
    check_always(installation)
    check_progress()
    ended = list(TaskInstance.objects.filter(status__in=INSTANCE_TERMINAL).select_related("task"))
    installation.ledger.check_ends(ended)
    ids = [instance.pk for instance in ended]
    until(lambda: processes_of_attempts(ids) == [], f"no process is left of {len(ids)} attempts")


def check_schedule(schedule: Schedule) -> None:
    """Check that every instant up to the cursor has its task, and that there is no other (I1, I2).

    Of a schedule whose rule was never changed.
    """
    schedule.refresh_from_db()
    expected = instants_between(
        recurrence_of(schedule), schedule.rule_since, schedule.planned_until, limit=100_000
    )
    if schedule.max_count is not None:
        expected = expected[: schedule.max_count]
    planned = set(Task.objects.filter(schedule=schedule).values_list("scheduled_at", flat=True))
    wrong = {"missing": set(expected) - planned, "surplus": planned - set(expected)}
    assert planned == set(expected), f"schedule {schedule.pk}: {wrong}"


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
        self.printed = path.with_name(f"{path.name}-printed")
        self.printed.mkdir()
        self._excused: set[str] = set()

    def script(self, work: str = "true") -> str:
        """Return a bash script that enters its start and its end around `work`, each in one write."""
        entry = f'echo "$HETUFLOW_INSTANCE_ID $1 $EPOCHREALTIME" >> "{self.path}"'
        return f"note() {{ {entry}; }}; note start; {work}; note end"

    def printing_script(self, work: str) -> str:
        """Return the same around `work` whose output is kept on this side as well, to compare later."""
        kept = f'"{self.printed}/$HETUFLOW_INSTANCE_ID"'
        return self.script(f"{{ {work}; }} > {kept}; cat {kept}")

    def lonely_script(self, work: str) -> str:
        """Return the same around `work` that notes where any process of another one is at work."""
        return self.script(f'exec 9>>"{self.path}-lock"; flock -n 9 || note clash; {work}')

    def excuse(self, instance_ids: Iterable[uuid.UUID]) -> None:
        """Leave these attempts out of account: of them, nothing was promised."""
        self._excused |= {str(instance_id) for instance_id in instance_ids}

    def runs(self) -> list[Run]:
        """Return what was run, one entry for each start."""
        starts: list[tuple[str, float]] = []
        ends: dict[str, list[float]] = defaultdict(list)
        for instance_id, what, moment in self._entries():
            if what == "start":
                starts.append((instance_id, moment))
            elif what == "end":
                ends[instance_id].append(moment)
        assert all(len(moments) == 1 for moments in ends.values()), "a command ended twice"
        return [Run(name, moment, next(iter(ends[name]), None)) for name, moment in starts]

    def _entries(self) -> list[tuple[str, str, float]]:
        lines = (line.split() for line in self.path.read_text().splitlines())
        entries = [(instance_id, what, float(moment)) for instance_id, what, moment in lines]
        return [entry for entry in entries if entry[0] not in self._excused]

    def check(self, instances: Iterable[TaskInstance]) -> None:
        """Check that nothing ran twice, and that what is said to have run to its end did (I6)."""
        self.check_starts()
        ended = {run.instance_id for run in self.runs() if run.ended_at is not None}
        known = {str(instance.pk): instance for instance in instances}
        completed = {name for name, instance in known.items() if instance.status == "completed"}
        assert completed <= ended
        assert ended & known.keys() <= completed

    def check_starts(self) -> None:
        """Check that nothing ran twice."""
        starts = Counter(run.instance_id for run in self.runs())
        twice = [name for name, count in starts.items() if count > 1]
        assert not twice, f"ran twice: {twice}"

    def check_alone(self) -> None:
        """Check that of those who want to be alone no two were at work at once."""
        clashes = [instance_id for instance_id, what, _ in self._entries() if what == "clash"]
        assert not clashes, f"was not alone: {clashes}"

    def check_ends(self, instances: Iterable[TaskInstance]) -> None:
        """Check that every end has its result (I6), and that all that was printed is stored (I7).

        And that what was given up did not begin afterwards.
        """
        ended = {run.instance_id for run in self.runs() if run.ended_at is not None}
        ours = [
            instance
            for instance in instances
            if str(self.path) in str(instance.task.config["args"]) and str(instance.pk) not in self._excused
        ]
        self._check_late_starts(ours)
        completed = {str(instance.pk) for instance in ours if instance.status == "completed"}
        assert completed <= ended, f"completed, and never ran to the end: {completed - ended}"
        without = {str(instance.pk) for instance in ours if not _has_result(instance)}
        assert not ended & without, f"ended, and their results are lost: {ended & without}"
        for instance in ours:
            kept = self.printed / str(instance.pk)
            if instance.status == "completed" and not instance.output_truncated and kept.exists():
                is_whole = digest(stored_output(instance)) == digest(kept.read_bytes())
                assert is_whole, f"the output of {instance.pk} is not what was printed"

    def _check_late_starts(self, instances: Iterable[TaskInstance]) -> None:
        started = {run.instance_id: run.started_at for run in self.runs()}
        for instance in instances:
            if instance.status == "lost" and instance.completed_at and str(instance.pk) in started:
                secs = started[str(instance.pk)] - instance.completed_at.timestamp()
                assert secs < START_TOLERANCE_SECS, f"{instance.pk} began {secs:.2f} s after its loss"

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


def _has_result(instance: TaskInstance) -> bool:
    """Whether it is known how the command ended, or that nobody can know: its supervisor was killed."""
    is_known = instance.exit_code is not None or instance.signal is not None
    return is_known or SUPERVISOR_DIED in instance.error_message


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


def check_ceilings(installation: "Installation") -> None:
    """Check that no process grows without bound: memory, sockets and connections to the database."""
    pids = [program.pid for program in installation.programs if program.is_running]
    for pid in pids:
        # A daemon hides its sockets from everybody but root.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(pid)
            assert process.memory_info().rss < MAX_RSS_BYTES, process.cmdline()
            assert len(process.net_connections("all")) < MAX_SOCKETS, process.cmdline()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        (number,) = cursor.fetchone()
    assert number <= 2 + MAX_DATABASE_CONNECTIONS_EACH * max(1, len(pids))


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
