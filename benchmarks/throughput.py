"""How many tasks a second go through everything, against how many processes the machine could start."""

import time

from benchmarks import limit
from benchmarks.accounting import Stopwatch
from benchmarks.installation import Installation, wait_until
from benchmarks.table import Row


def measure(place: Installation, quick: bool) -> list[Row]:
    """Run N tasks of `true` on one server, scheduler and agent; the limit is measured before and after."""
    from benchmarks import tasks  # noqa: PLC0415 (after the settings are known)
    from scheduling.models import Task, TaskInstance  # noqa: PLC0415

    count, slots = (40, 8) if quick else (3000, 64)
    starts = 100 if quick else 2000
    limits = {method: [limit.measure(*method, starts)] for method in limit.METHODS}
    with (
        place.server() as (server, port),
        place.scheduler() as scheduler,
        place.agent(port, slots=slots) as agent,
    ):
        job = tasks.make_job(cmd="exec", args=["true"])
        tasks.insert_due_tasks(job=job, count=count // 10)
        wait_until(lambda: tasks.unfinished(job) == 0, "the first tasks end")
        job = tasks.make_job(cmd="exec", args=["true"])
        roots = {"server": server, "scheduler": scheduler, "agent": agent, "PostgreSQL": place.postmaster()}
        watch = Stopwatch(roots)
        begin = time.monotonic()
        tasks.insert_due_tasks(job=job, count=count)
        wait_until(lambda: tasks.unfinished(job) == 0, "all tasks end", every_secs=0.1)
        seconds = time.monotonic() - begin
        used = watch.read()
    assert Task.objects.filter(job=job, status="completed").count() == count
    assert TaskInstance.objects.filter(job=job).count() == count
    for method in limit.METHODS:
        limits[method].append(limit.measure(*method, starts))
    return _rows(count, slots, seconds, used, limits)


def _rows(
    count: int,
    slots: int,
    seconds: float,
    used: dict[str, float],
    limits: dict[tuple[str, int], list[limit.Limit]],
) -> list[Row]:
    best = {method: max(value.rate for value in values) for method, values in limits.items()}
    fastest = max(best, key=lambda method: best[method])
    command_secs = min(value.command_cpu_secs for values in limits.values() for value in values)
    start_secs = min(value.start_cpu_secs for values in limits.values() for value in values)
    rate = count / seconds
    rows = [
        Row(f"{count} tasks of `true`, {slots} slots", f"{rate:.0f} tasks/s ({seconds:.2f} s)"),
        *(
            Row(f"limit: {method}, {workers} at once", f"{rate_:.0f} starts/s")
            for (method, workers), rate_ in best.items()
        ),
        Row(
            "share of the limit",
            f"{rate / best[fastest]:.2f} of {fastest[0]}, {fastest[1]} at once",
            "≥ 0.33",
        ),
    ]
    for name, cpu_secs in used.items():
        figure = f"{cpu_secs / count * 1000:.2f} ms CPU a task"
        if name == "agent":
            own = cpu_secs / count - command_secs
            figure += f", {own * 1000:.2f} ms without the command itself ({command_secs * 1000:.2f} ms)"
        rows.append(Row(name, figure))
    all_secs = sum(used.values())
    rows.append(
        Row("all of it", f"{all_secs / count * 1000:.2f} ms CPU a task, {all_secs / seconds:.2f} cores busy")
    )
    # What other programs do to the machine meanwhile changes rates, but hardly CPU times.
    rows.append(
        Row(
            "share of the limit by CPU time",
            f"{start_secs / (all_secs / count):.2f} (one start without us: {start_secs * 1000:.2f} ms)",
        )
    )
    return rows
