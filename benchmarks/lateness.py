"""How late commands start: the planned instant against the clock that the child itself reads.

The child is `date +%s%N`: a small C program that prints the wall clock. Its reading lies after `exec` by what
the program takes to get there; how much that is, is measured too and not subtracted.
"""

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from benchmarks.installation import Installation, wait_until
from benchmarks.table import Row, quantile

if TYPE_CHECKING:
    from scheduling.models import Job

SLOTS: Final = 128


def measure(place: Installation, quick: bool) -> list[Row]:
    """Measure one task at a time, then many at the same instant and spread over a second."""
    singles, many = (3, [10]) if quick else (60, [100, 1000])
    rows = [Row("`date` by posix_spawn, without us", f"p50 {statistics.median(_floor_ms(50)):.1f} ms")]
    with place.server() as (_server, port), place.scheduler(), place.agent(port, slots=SLOTS):
        with _job() as job:
            _run(job, count=1, spread_secs=0)
        rows.append(_row(f"1 task, {singles} times a second apart", _singles(singles), "p99 < 20 ms"))
        for count in many:
            aim = "p99 < 250 ms" if count == 100 else ""
            spreads = ((1.0, "spread over one second"), (0.0, "at one instant"))
            for spread_secs, how in spreads[1:] if quick else spreads:
                with _job() as job:
                    late = _run(job, count=count, spread_secs=spread_secs)
                rows.append(_row(f"{count} tasks {how}, {SLOTS} slots", late, aim))
    return rows


def _row(name: str, late_ms: list[float], aim: str) -> Row:
    figure = f"p50 {quantile(late_ms, 0.5):.1f}, p99 {quantile(late_ms, 0.99):.1f}, max {max(late_ms):.1f} ms"
    return Row(name, figure, aim)


@contextlib.contextmanager
def _job() -> "Iterator[Job]":
    from benchmarks import tasks  # noqa: PLC0415 (after the settings are known)

    yield tasks.make_job(cmd="exec", args=["date", "+%s%N"])


def _singles(count: int) -> list[float]:
    with _job() as job:
        return _run(job, count=count, spread_secs=float(count))


def _run(job: "Job", *, count: int, spread_secs: float) -> list[float]:
    """Run `count` tasks from the top of a second on; return how many milliseconds late each was."""
    from benchmarks import tasks  # noqa: PLC0415
    from scheduling.clock import database_now  # noqa: PLC0415
    from scheduling.models import TaskInstance  # noqa: PLC0415
    from scheduling.services.output import read_output  # noqa: PLC0415

    first = database_now().replace(microsecond=0) + timedelta(seconds=3)
    tasks.insert_tasks(job=job, count=count, first=first, step_secs=spread_secs / count)
    wait_until(lambda: tasks.unfinished(job) == 0, "all tasks end", every_secs=0.2)
    ended = TaskInstance.objects.filter(job=job, status="completed").select_related("task")
    # Results and output are stored by turns; either may be there first.
    wait_until(lambda: not ended.filter(stdout_bytes=0).exists(), "all output is stored", every_secs=0.1)
    late_ms = []
    for instance in ended:
        started_ns = int(read_output(instance=instance, stream="stdout"))
        due = instance.task.due_at
        due_ns = int(due.timestamp()) * 10**9 + due.microsecond * 1000
        late_ms.append((started_ns - due_ns) / 1e6)
    assert len(late_ms) == count
    return late_ms


def _floor_ms(count: int) -> list[float]:
    """Return what passes between a moment before posix_spawn and the moment that the child prints."""
    path = shutil.which("date")
    assert path is not None
    values = []
    for _ in range(count):
        reader, writer = os.pipe()
        begin = time.time_ns()
        pid = os.posix_spawn(
            path, ["date", "+%s%N"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)]
        )
        os.close(writer)
        values.append((int(os.read(reader, 64)) - begin) / 1e6)
        os.close(reader)
        os.waitpid(pid, 0)
    return values
