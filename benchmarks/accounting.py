"""CPU time of processes, from /proc."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import psutil

_Result = TypeVar("_Result")


def cpu_seconds(root: psutil.Process) -> float:
    """Return the CPU seconds of a process and all below it, with those of their children that ended.

    What lives is counted itself; what ended was added to its parent by the kernel when that collected it.
    """
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def ran_ns(pid: int) -> int:
    """Return the CPU nanoseconds of one process, to the nanosecond where `cpu_seconds` knows hundredths."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def cost_of(action: Callable[[], _Result], *, backend: int) -> tuple[_Result, dict[str, float]]:
    """Call `action`; return what it returns, and the milliseconds that it took: `wall`, and `cpu` of this
    process and of its database session, the process `backend`.
    """
    before, own, begin = ran_ns(backend), time.process_time_ns(), time.perf_counter_ns()
    result = action()
    wall = time.perf_counter_ns() - begin
    cpu = time.process_time_ns() - own + ran_ns(backend) - before
    return result, {"cpu": cpu / 1e6, "wall": wall / 1e6}


class Stopwatch:
    """CPU seconds that named groups of processes use from now on."""

    def __init__(self, roots: Mapping[str, psutil.Process]) -> None:
        self._roots = dict(roots)
        self._before = {name: cpu_seconds(process) for name, process in self._roots.items()}

    def read(self) -> dict[str, float]:
        """Return the seconds used since the start, for each group."""
        return {name: cpu_seconds(process) - self._before[name] for name, process in self._roots.items()}
