"""The supervisor with real, tiny programs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hetuflow.child_process import ChildProcess
from hetuflow.log_file import LogFile
from hetuflow.signal_queue import SignalQueue
from hetuflow.supervisor import STOP_SIGNALS, Supervisor
from tests.processes import ROOT

LIMIT_SECS = 20.0
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
# Says so when it is told to end, ends half a second later: the order of two of them can be seen.
SLOW_TO_END = """
import signal, sys, time
def end(*_):
    print('asked', flush=True)
    time.sleep(0.3)
    with open(sys.argv[1], 'a') as file:
        file.write(sys.argv[2] + ' ')
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('up', flush=True)
time.sleep(600)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(600)
"""


@pytest.fixture
def signals() -> Iterator[SignalQueue]:
    with SignalQueue([*STOP_SIGNALS, signal.SIGCHLD]) as queue:
        yield queue


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., ChildProcess]]:
    made: list[ChildProcess] = []

    def make(name: str, program: str, *arguments: str, **options: float) -> ChildProcess:
        process = ChildProcess(
            name,
            [sys.executable, "-c", program, *arguments],
            log=LogFile(tmp_path / f"{name}.log"),
            environment=dict(os.environ),
            folder=tmp_path,
            **options,  # type: ignore[arg-type]
        )
        made.append(process)
        return process

    yield make
    for process in made:
        process.signal(signal.SIGKILL)
        _until(lambda process=process: not process.is_alive, lambda: time.sleep(0.02))  # type: ignore[misc]


def _until(condition: Callable[[], bool], step: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECS
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition never came"
        step()


def _is_up(process: ChildProcess) -> bool:
    return process.log.path.exists() and b"up" in process.log.path.read_bytes()


def test_a_child_that_dies_is_started_again_with_one_line(
    signals: SignalQueue, child: Callable[..., ChildProcess]
) -> None:
    said: list[str] = []
    process = child("worker", SLEEPER)
    supervisor = Supervisor([process], signals=signals, say=said.append)
    supervisor.start()
    first = process.pid
    process_id = first or 0
    os.kill(process_id, signal.SIGKILL)

    _until(lambda: process.is_alive and process.pid != first, supervisor.step)

    assert said == ["worker was ended by SIGKILL; starting it again in 0.5 s"]


def test_the_pause_before_a_child_starts_again_grows(
    signals: SignalQueue, child: Callable[..., ChildProcess]
) -> None:
    said: list[str] = []
    supervisor = Supervisor([child("worker", "print('no luck'); exit(7)")], signals=signals, say=said.append)
    supervisor.start()

    _until(lambda: len(said) == 2, supervisor.step)

    assert said == [
        "worker ended with status 7 (no luck); starting it again in 0.5 s",
        "worker ended with status 7 (no luck); starting it again in 1 s",
    ]


@pytest.mark.parametrize("number", sorted(STOP_SIGNALS))
def test_a_stop_signal_ends_the_supervision(signals: SignalQueue, number: signal.Signals) -> None:
    supervisor = Supervisor([], signals=signals, say=print)
    assert supervisor.step(0) is True
    os.kill(os.getpid(), number)

    assert supervisor.step(LIMIT_SECS) is False


def test_children_end_one_after_the_other_the_last_one_first(
    signals: SignalQueue, child: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    order = tmp_path / "order"
    children = [child(name, SLOW_TO_END, str(order), name) for name in ("server", "scheduler", "agent")]
    supervisor = Supervisor(children, signals=signals, say=print)
    supervisor.start()
    _until(lambda: all(_is_up(process) for process in children), supervisor.step)

    supervisor.stop()

    assert order.read_text() == "agent scheduler server "
    assert not any(process.is_alive for process in children)


def test_a_child_that_does_not_end_is_killed_when_its_time_is_over(
    signals: SignalQueue, child: Callable[..., ChildProcess]
) -> None:
    said: list[str] = []
    process = child("worker", DEAF, stop_secs=0.2)
    supervisor = Supervisor([process], signals=signals, say=said.append)
    supervisor.start()
    _until(lambda: _is_up(process), supervisor.step)

    supervisor.stop()

    assert not process.is_alive
    assert said == ["worker does not stop and is killed"]


def test_a_second_stop_signal_hurries(signals: SignalQueue, child: Callable[..., ChildProcess]) -> None:
    process = child("worker", DEAF, stop_secs=600.0)
    supervisor = Supervisor([process], signals=signals, say=print)
    supervisor.start()
    _until(lambda: _is_up(process), supervisor.step)
    os.kill(os.getpid(), signal.SIGINT)
    before = time.monotonic()

    supervisor.stop()

    assert not process.is_alive
    assert time.monotonic() - before < LIMIT_SECS


def test_an_error_in_a_log_reaches_the_terminal(
    signals: SignalQueue, child: Callable[..., ChildProcess]
) -> None:
    said: list[str] = []
    program = f"print('12:00 ERROR gateway it broke', flush=True); {SLEEPER}"
    supervisor = Supervisor([child("server", program)], signals=signals, say=said.append)
    supervisor.start()

    _until(lambda: bool(said), supervisor.step)

    assert said == ["server: 12:00 ERROR gateway it broke"]


def test_children_do_not_outlive_us_when_we_are_killed(tmp_path: Path) -> None:
    """A middle process starts a child as the supervisor does and is killed at once."""
    middle = f"""
import os, signal, sys
from pathlib import Path
from hetuflow.child_process import ChildProcess
from hetuflow.log_file import LogFile
folder = Path({str(tmp_path)!r})
command = [sys.executable, "-c", {SLEEPER!r}]
child = ChildProcess("worker", command, log=LogFile(folder / "log"), environment={{}}, folder=folder)
child.start()
(folder / "pid").write_text(str(child.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", middle], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    grandchild = int((tmp_path / "pid").read_text())

    _until(lambda: not _exists(grandchild), lambda: time.sleep(0.02))


def _exists(pid: int) -> bool:
    """Tell whether the process runs; a zombie that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
