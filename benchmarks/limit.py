"""The physical limit: how many times a second this machine starts `true` from this Python, without us."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

_WORKER: Final = """
import os, subprocess, sys, time
method, count, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.stdin.readline()
before, begin = sum(os.times()[:2]), time.monotonic()
if method == "posix_spawn":
    for _ in range(count):
        os.waitpid(os.posix_spawn(path, ["true"], os.environ), 0)
else:
    for _ in range(count):
        subprocess.run([path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
times = os.times()
children = times.children_user + times.children_system
print(begin, time.monotonic(), children, children + times.user + times.system - before, flush=True)
"""
METHODS: Final = [(method, workers) for method in ("posix_spawn", "subprocess.run") for workers in (1, 2)]


@dataclass(frozen=True)
class Limit:
    """Starts a second, and CPU seconds: of one `true`, and of starting it together with that."""

    rate: float
    command_cpu_secs: float
    start_cpu_secs: float


def measure(method: str, workers: int, count: int) -> Limit:
    """Start `true` `count` times, by `workers` processes at once."""
    path = shutil.which("true")
    assert path is not None
    processes = [
        subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _WORKER, method, str(count // workers), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(workers)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [[float(number) for number in process.communicate()[0].split()] for process in processes]
    begins, ends, command_cpu, all_cpu = zip(*answers, strict=True)
    done = count // workers * workers
    return Limit(
        rate=done / (max(ends) - min(begins)),
        command_cpu_secs=sum(command_cpu) / done,
        start_cpu_secs=sum(all_cpu) / done,
    )
