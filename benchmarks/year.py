"""Whether all stays as quick after a year of a busy installation: ten million tasks against ten thousand.

Two databases of one cluster, a process for each, asked in turn. Compared is the CPU time of the process and
of its database session, as for lists; the clock is printed beside it.
"""

import shutil
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from benchmarks.installation import Installation
from benchmarks.lists import AIM, Lists, compared, in_turn
from benchmarks.shapes import Shape, shapes
from benchmarks.table import Row, quantile
from benchmarks.workers import Worker, answer_questions

TASKS: Final = 10_000_000
FEW: Final = 10_000
DAYS: Final = 365
# So many wait in either, however much is behind them.
WAITING: Final = 1_000
BYTES_PER_TASK: Final = 4_000
# A fiftieth of all rows may be dead before PostgreSQL clears them away, and each life leaves four.
LIVES_PER_VACUUM: Final = 1 / 200
COUNTED: Final = "up to 100,000 tasks of each status are counted"


def measure(place: Installation, quick: bool, *, tasks: int = TASKS) -> list[Row]:
    """Go round the hot paths and ask for every list that could stay flat, in both in turn."""
    sizes, rounds = ((2_000, 4_000), 2) if quick else ((FEW, tasks), 40)
    free = shutil.disk_usage(place.folder).free
    if free < sizes[1] * BYTES_PER_TASK:
        needed = (
            f"{sizes[1] * BYTES_PER_TASK / 1e9:.0f} GB in {place.folder.parent}, {free / 1e9:.0f} are free"
        )
        return [Row(f"{sizes[1]:,} tasks", f"left out: would need {needed} (TMPDIR, or fewer --tasks)")]
    workers = {size: Worker(place, "benchmarks.year", str(size)) for size in sizes}
    try:
        filled = {size: worker.ask("filled") for size, worker in workers.items()}
        found = _steps(workers, "round", rounds)
        asked = workers[sizes[0]].ask("shapes")[:: 10 if quick else 1]
        found += [compared(shape, workers, -(-rounds // 4)) for shape in asked]
        for worker in workers.values():
            worker.ask("wear")
        found += _steps(workers, "lives", rounds, ", just before a vacuum")
    finally:
        for worker in workers.values():
            worker.stop()
    flat = [ratio for ratio, row in found if row.aim]
    within = sum(ratio <= AIM for ratio in flat)
    made = f"{filled[sizes[1]]['gb']:.1f} GB, made in {filled[sizes[1]]['secs']:.0f} s"
    return [
        Row(f"{sizes[1]:,} tasks with attempts and output", made),
        Row(f"within {AIM} times the cost over {sizes[0]:,}", f"{within} of {len(flat)}", "all of them"),
        *(row for _ratio, row in found),
    ]


def _steps(workers: Mapping[int, Worker], what: str, rounds: int, when: str = "") -> list[tuple[float, Row]]:
    both = in_turn({size: partial(worker.ask, what) for size, worker in workers.items()}, rounds)
    return [_step(name + when, [[costs[name] for costs in each] for each in both]) for name in both[0][0]]


def _step(name: str, both: list[list[dict[str, float]]]) -> tuple[float, Row]:
    (cpu, larger_cpu), (wall, larger_wall) = (
        [quantile([cost[kind] for cost in costs], 0.5) for costs in both] for kind in ("cpu", "wall")
    )
    ratio = larger_cpu / cpu
    figure = f"{ratio:.2f}: {cpu:.1f} and {larger_cpu:.1f} ms CPU, {wall:.1f} and {larger_wall:.1f} ms"
    return ratio, Row(name, figure, f"≤ {AIM}")


def _work(size: int) -> None:
    import django  # noqa: PLC0415

    django.setup()
    from django.db import connection  # noqa: PLC0415

    from benchmarks import history, tasks  # noqa: PLC0415
    from benchmarks.hot_paths import HotPaths  # noqa: PLC0415

    begin = time.monotonic()
    job = tasks.make_job(cmd="bash", args=["-c", "date"])
    history.fill(tasks=size, model=job, days=DAYS, waiting=WAITING, changes=max(size // 10, FEW))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        filled = {"secs": time.monotonic() - begin, "gb": cursor.fetchone()[0] / 1e9}
    jobs = history.some_jobs()
    flat = [each for each in shapes(busy_job=jobs[0], job=jobs[50], days=DAYS) if not each.grows]
    lists, paths = Lists([*flat, *_insight(jobs[0])]), HotPaths()

    def answer(question: Any) -> Any:
        match question:
            case "filled":
                return filled
            case "round":
                return paths.round()
            case "lives":
                return paths.lives()
            case "wear":
                return paths.wear(int(size * LIVES_PER_VACUUM))
        return lists.answer(question)

    answer_questions(answer)


def _insight(job: int) -> list[Shape]:
    """Return requests for one task and its output, why it does not run, and thirty entries of a ledger."""
    from scheduling.models import Schedule, Task, TaskInstance  # noqa: PLC0415

    of_job = Task.objects.filter(job_id=job).order_by("-id")
    waiting, ended = Task.objects.claimable().latest("id"), of_job.filter(status="completed")[0]
    attempt = TaskInstance.objects.get(task=ended)
    schedule = Schedule.objects.get(job_id=job)
    begin, end = (f"{of_job[place].scheduled_at:%Y-%m-%dT%H:%M:%SZ}" for place in (29, 0))
    return [
        Shape("a task", f"tasks/{ended.pk}"),
        Shape("output of an attempt", f"task-instances/{attempt.pk}/logs"),
        Shape("why a task waits", f"tasks/{waiting.pk}/explain"),
        Shape("what became of a task", f"tasks/{ended.pk}/explain"),
        Shape("why a job does not run", f"jobs/{job}/explain"),
        Shape("thirty entries of a ledger", f"schedules/{schedule.pk}/ledger?from={begin}&to={end}"),
        Shape("figures of the system", "system/metrics", {}, grows=COUNTED),
    ]


if __name__ == "__main__":
    _work(int(sys.argv[1]))
