"""`make run`, from the first start to the last process gone."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hetuflow.standalone_process import LIMIT_SECS, StandaloneProcess, standalone
from tests.processes import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneProcess]:
    with standalone(tmp_path_factory.mktemp("standalone") / "data") as run:
        yield run


def _get(run: StandaloneProcess, path: str, token: str = "") -> Any:
    request = urllib.request.Request(f"{run.url}/api/v1/{path}")  # noqa: S310 (always http)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECS
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition never came"
        time.sleep(0.05)


def _is_healthy(run: StandaloneProcess) -> bool:
    try:
        return bool(_get(run, "health")["status"] == "healthy")
    except OSError:
        return False


def _token(run: StandaloneProcess) -> str:
    return run.manage("api_token", "admin").stdout.strip()


def test_it_shows_where_to_log_in_and_keeps_the_password(running: StandaloneProcess) -> None:
    assert f"{running.url}/admin/" in running.output
    shown = re.search(r"admin / (\S+)", running.output)
    assert shown is not None
    kept = running.data_dir / "admin_password"
    assert kept.read_text().strip() == shown[1]
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_sample_jobs_run_on_the_local_agent(running: StandaloneProcess) -> None:
    token = _token(running)

    names = {job["name"] for job in _get(running, "jobs?limit=100", token)["data"]}

    assert {"tick", "disk-report", "always-fails", "countdown"} <= names
    _until(lambda: _get(running, "tasks?status=completed", token)["data"])


def test_other_commands_find_it_by_its_data_folder(running: StandaloneProcess) -> None:
    done = running.manage("agent_token", "worker-7")

    assert done.returncode == 0
    assert json.loads(done.stdout).keys() == {"agent_id", "token"}


def test_a_second_run_with_the_same_data_folder_is_refused_in_one_line(running: StandaloneProcess) -> None:
    done = running.manage("standalone", HETUFLOW_PORT=str(running.port + 1))

    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        rf"hetuflow: Hetuflow runs already with the data folder .* \(process {running.process.pid}\).*\n",
        done.stderr,
    )


def test_a_process_that_is_killed_is_started_again(running: StandaloneProcess) -> None:
    _until(lambda: _is_healthy(running))
    pids = {pid for pid, command in running.processes().items() if "manage.py server" in command}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    running.wait_for("server was ended by SIGKILL; starting it again", process_lives=True)

    _until(lambda: _is_healthy(running))


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_walk_of_the_readme_works_as_printed(running: StandaloneProcess, page: str) -> None:
    blocks = re.findall(r"<!-- tested -->\n```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    script = "".join(blocks).replace("127.0.0.1:8000", f"127.0.0.1:{running.port}")

    done = running.run(["bash", "-euo", "pipefail", "-c", script])

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("^(Hello, world|你好，世界)$", done.stdout, re.MULTILINE)
    assert "Asia/Shanghai" in done.stdout


def test_ctrl_c_ends_everything_and_a_second_start_finds_the_data(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with standalone(tmp_path / "data") as first:
        token = _token(first)
        jobs = {job["id"] for job in _get(first, "jobs", token)["data"]}
        assert first.stop(signal.SIGINT) == 0
        first.wait_until_all_are_gone()
        assert not (tmp_path / "data" / "database_url").exists()
        with pytest.raises(urllib.error.URLError):
            _get(first, "health")

    with standalone(tmp_path / "data") as second:
        record_property("second_start_secs", round(second.start_secs, 2))
        print(f"first start {first.start_secs:.1f} s, second start {second.start_secs:.1f} s")  # noqa: T201
        assert {job["id"] for job in _get(second, "jobs", token)["data"]} == jobs
        assert "Loaded a few sample jobs" not in second.output
        assert "admin_password" in second.output
        assert (tmp_path / "data" / "admin_password").read_text().strip() not in second.output


def test_sigterm_during_a_long_command_ends_the_command_too(tmp_path: Path) -> None:
    with standalone(tmp_path / "data") as run:
        token = _token(run)
        job = next(job for job in _get(run, "jobs", token)["data"] if job["name"] == "countdown")
        request = urllib.request.Request(  # noqa: S310 (always http)
            f"{run.url}/api/v1/jobs/{job['id']}/trigger",
            data=b"{}",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            task = json.load(answer)
        _until(lambda: _get(run, f"tasks/{task['id']}", token)["status"] == "running")

        assert run.stop(signal.SIGTERM) == 0

        run.wait_until_all_are_gone()


def test_killed_outright_it_leaves_nothing_behind_and_starts_again_on_the_same_port(tmp_path: Path) -> None:
    with standalone(tmp_path / "data") as first:
        first.process.kill()
        first.process.wait()
        with standalone(tmp_path / "data", first.port) as second:
            first.wait_until_all_are_gone()
            assert _is_healthy(second)
