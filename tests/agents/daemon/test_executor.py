import shutil
import uuid

import pytest

from agents.daemon import executor
from agents.protocol.messages import DispatchedTask


def task(**changes):
    fields = {
        "instance_id": uuid.UUID(int=7),
        "token": 1,
        "task_id": 2,
        "job_id": 3,
        "job_name": "backup",
        "attempt": 4,
        "start_in_ms": 0,
        "scheduled_at": "2026-01-02T03:04:05.000000Z",
        "cmd": "exec",
        "args": ["true"],
        "environment": {},
        "parameters": {},
        "working_dir": None,
        "timeout_secs": 60,
        "kill_grace_secs": 1,
        "max_output_size": 1000,
        "resource_limits": {},
        "on_lease_lost": "keep",
    }
    return DispatchedTask(**{**fields, **changes})


def environment(dispatched, **own):
    return executor.environment(dispatched, own=own, result_file="/spool/result.json")


def test_arguments_are_passed_on_as_they_are():
    hostile = ["printf", "; rm -rf /", "$(id)", "a\nb", "'\""]
    assert executor.arguments(task(args=hostile)) == hostile
    bash = executor.arguments(task(cmd="bash", args=["-c", "$(id)"]))
    assert bash == [shutil.which("bash"), "-c", "$(id)"]


def test_what_is_not_installed_is_neither_offered_nor_run(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert executor.available_commands() == ["exec"]
    with pytest.raises(executor.CannotExecute, match="node is not installed"):
        executor.arguments(task(cmd="node"))


def test_exec_needs_a_program():
    with pytest.raises(executor.CannotExecute):
        executor.arguments(task(args=[]))


def test_a_command_learns_what_it_is_run_for():
    values = environment(task(environment={"STAGE": "test"}, parameters={"day": "mon", "n-1": [1]}))
    assert values["HETUFLOW_TASK_ID"] == "2"
    assert values["HETUFLOW_INSTANCE_ID"] == str(uuid.UUID(int=7))
    assert values["HETUFLOW_ATTEMPT"] == "4"
    assert values["HETUFLOW_SCHEDULED_AT"] == "2026-01-02T03:04:05.000000Z"
    assert (values["HETUFLOW_PARAM_DAY"], values["HETUFLOW_PARAM_N_1"]) == ("mon", "[1]")
    assert values["HETUFLOW_PARAMETERS"] == '{"day": "mon", "n-1": [1]}'
    assert values["STAGE"] == "test"


def test_a_command_sees_nothing_of_the_daemons_secrets():
    own = {
        "HETUFLOW_AGENT_TOKEN": "secret",
        "DATABASE_URL": "secret",
        "AWS_KEY": "secret",
        "HOME": "/home/x",
        "LC_ALL": "C",
    }
    values = environment(task(), **own)
    assert "secret" not in values.values()
    assert (values["HOME"], values["LC_ALL"]) == ("/home/x", "C")


def test_the_tighter_of_two_limits_counts():
    limited = task(resource_limits={"max_execution_time_secs": 5, "max_output_size_bytes": 10})
    assert (executor.timeout_secs(limited), executor.max_output_bytes(limited)) == (5, 10)
    assert (executor.timeout_secs(task()), executor.max_output_bytes(task())) == (60, 1000)
