"""TaskConfig: what a job runs and how."""

import time
from datetime import datetime
from typing import Any

import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import Agent, until
from tests.conformance.objects import attempts_of, fresh, make_job, make_task, run

VALUES = {
    "cmd": kinds.COMMANDS,
    "args": ([], ["-c", "echo 'a b' $x \"; rm -rf /nowhere\"\n"], [""]),
    "working_dir": (None, "/tmp"),
    "timeout_secs": (1, 86_400),
    "max_retries": (0, 10),
    "retry_interval_secs": (0, 3600),
    "retry_backoff": ("fixed", "linear", "exponential", "exponential_jitter"),
    "capture_output": (True, False),
    "max_output_size": (0, 1, 2**31),
    "labels": ({}, {"zone": "eu", "gpu": ""}),
    "concurrency_policy": ("allow", "forbid", "replace", "queue"),
    "max_concurrency": (None, 1, 100),
    "misfire_policy": ("skip", "run_once", "run_all"),
    "misfire_grace_secs": (0, 3600),
}
WRONG = {
    "cmd": ("perl", "BASH", "", None, 1, ["bash"]),
    "args": ("-c true", [1], [None], {}),
    "working_dir": ("", 1),
    "timeout_secs": (0, -1, 1.5, "60", True, None),
    "max_retries": (-1, "1", None),
    "retry_interval_secs": (-1, "10", 1.5),
    "retry_backoff": ("none", 1, None),
    "capture_output": (1, "true", None),
    "max_output_size": (-1, "1M"),
    "labels": ([], {"a": 1}, "a=b", {"": "x"}),
    "concurrency_policy": ("never", None),
    "max_concurrency": (0, -1, "2"),
    "misfire_policy": ("run", None),
    "misfire_grace_secs": (-1, "60"),
    "resource_limits": ({"max_memory": 1}, {"max_memory_mb": 0}, {"max_cpu_percent": "50"}, [], None),
}
LIMITS = {
    "max_memory_mb": 256,
    "max_cpu_percent": 150,
    "max_execution_time_secs": 60,
    "max_output_size_bytes": 1000,
}


@covers("jobs.config")
def test_what_is_not_said_has_the_defaults_of_the_page(api: Client) -> None:
    job = api.create("/jobs/create", {"name": fresh("job"), "config": {"cmd": "bash"}})
    shapes.check(shapes.JOB, job)
    said = {
        "cmd": "bash",
        "args": [],
        "timeout_secs": 3600,
        "max_retries": 0,
        "retry_interval_secs": 10,
        "capture_output": True,
        "max_output_size": 10 * 1024 * 1024,
        "labels": {},
    }
    assert {name: job["config"][name] for name in said} == said
    assert job["config"]["working_dir"] is None
    assert set(job["config"]["resource_limits"].values()) == {None}


@covers("jobs.config")
@pytest.mark.parametrize("name", VALUES)
def test_every_value_that_the_page_names_is_taken(api: Client, name: str) -> None:
    job = make_job(api)
    for value in VALUES[name]:
        changed = api.patch(f"/jobs/{job['id']}", {"config": {name: value}})
        assert changed["config"] == {**job["config"], name: value}
    assert api.get(f"/jobs/{job['id']}") == changed


@covers("jobs.config")
def test_limits_on_resources_are_kept(api: Client) -> None:
    job = make_job(api, limits={"resource_limits": LIMITS})
    assert job["config"]["resource_limits"] == LIMITS
    one = {"max_memory_mb": 64}
    job = make_job(api, limits={"resource_limits": one})
    assert job["config"]["resource_limits"] == {**dict.fromkeys(LIMITS), **one}
    # What was read can be written back.
    assert api.patch(f"/jobs/{job['id']}", {"config": job["config"]})["config"] == job["config"]


@covers("jobs.config", "bad-input")
@pytest.mark.parametrize("name", WRONG)
def test_other_values_are_refused_by_the_name_of_their_field(api: Client, name: str) -> None:
    job = make_job(api)
    for value in WRONG[name]:
        changed = {"config": {name: value}}
        assert list(api.refuse(400, "PATCH", f"/jobs/{job['id']}", changed)) == [f"config.{name}"], value
        whole = {"name": fresh("job"), "config": {"cmd": "bash", name: value}}
        assert list(api.refuse(400, "POST", "/jobs", whole)) == [f"config.{name}"], value
    assert api.get(f"/jobs/{job['id']}") == job


@covers("jobs.config", "unknown", "bad-input")
@pytest.mark.parametrize("config", [None, [], "bash", {}, {"command": "x"}], ids=str)
def test_what_is_no_configuration_is_refused(api: Client, config: Any) -> None:
    refused = api.refuse(400, "POST", "/jobs", {"name": fresh("job"), "config": config})
    assert all(name.startswith("config") for name in refused)


@covers("jobs.config-frozen")
def test_a_task_keeps_the_configuration_with_which_it_was_made(api: Client) -> None:
    job = make_job(api, limits={"timeout_secs": 60, "max_retries": 2})
    task = make_task(api, job)
    shapes.check(shapes.TASK, task)
    assert task["config"] == job["config"]
    assert task["max_retries"] == 2
    api.patch(f"/jobs/{job['id']}", {"config": {"timeout_secs": 99, "cmd": "sh", "max_retries": 5}})
    assert api.get(f"/tasks/{task['id']}") == task
    assert make_task(api, job)["config"]["timeout_secs"] == 99


@covers("jobs.config-labels")
def test_a_task_goes_to_an_agent_that_carries_all_its_labels(api: Client, agents: list[Agent]) -> None:
    labelled = make_job(api, limits={"labels": {"machine": "yes"}})
    _, attempt = run(api, labelled)
    assert attempt["agent_id"] in [agent.id for agent in agents]
    wanting = make_job(api, limits={"labels": {"machine": "yes", "gpu": "none-has-it"}})
    waiting = api.create(f"/jobs/{wanting['id']}/trigger")
    # Others are taken meanwhile, so that it does not merely wait for its turn.
    for _ in range(3):
        run(api, labelled)
    assert api.get(f"/tasks/{waiting['id']}")["status"] == "pending"
    label = {"labels": {"gpu": "none-has-it"}}
    api.patch(f"/agents/{agents[1].id}", label)
    try:
        until(
            lambda: api.get(f"/tasks/{waiting['id']}")["status"] == "completed", "the label brings the task"
        )
    finally:
        api.patch(f"/agents/{agents[1].id}", {"labels": {}})
    assert attempts_of(api, waiting)[0]["agent_id"] == agents[1].id


# --- what a configuration does --------------------------------------------------------------------------


@covers("jobs.config-runs")
def test_a_command_runs_with_its_arguments_in_its_folder(api: Client, agent: Agent) -> None:
    script = 'pwd; printf "%s|" "$@"'
    job = make_job(api, limits={"args": ["-c", script, "x", "a b", "$HOME;", "*"], "working_dir": "/usr"})
    _, attempt = run(api, job)
    assert attempt["output"] == "/usr\na b|$HOME;|*|"


@covers("jobs.config-runs")
def test_a_command_of_a_job_is_its_script(api: Client, agent: Agent) -> None:
    body = {"name": fresh("job"), "command": "print(6 * 7)", "config": {"cmd": "python"}}
    _, attempt = run(api, api.create("/jobs", body))
    assert (attempt["status"], attempt["output"]) == ("completed", "42\n")


@covers("jobs.config-runs", "durations")
def test_a_command_that_takes_longer_than_it_may_is_ended(api: Client, agent: Agent) -> None:
    began = time.monotonic()
    task, attempt = run(api, make_job(api, "sleep 60", limits={"timeout_secs": 1}))
    assert time.monotonic() - began < 50
    assert (task["status"], attempt["status"]) == ("failed", "timeout")
    started, ended = (datetime.fromisoformat(attempt[name]) for name in ("started_at", "completed_at"))
    assert (ended - started).total_seconds() >= 0.9


@covers("jobs.config-runs")
def test_output_is_kept_up_to_its_cap_or_not_at_all(api: Client, agent: Agent) -> None:
    _, attempt = run(api, make_job(api, "printf 0123456789", limits={"max_output_size": 4}))
    assert (attempt["status"], attempt["output"][:4]) == ("completed", "0123")
    assert "4567" not in attempt["output"]
    _, attempt = run(api, make_job(api, "echo hello", limits={"capture_output": False}))
    assert (attempt["status"], attempt["output"]) == ("completed", "")


@covers("jobs.config-runs", "durations")
def test_a_failure_is_retried_as_often_as_it_may_after_its_interval(api: Client, agent: Agent) -> None:
    limits = {"max_retries": 1, "retry_interval_secs": 1}
    task, last = run(api, make_job(api, "exit 3", limits=limits))
    assert (task["status"], task["retry_count"], task["max_retries"]) == ("failed", 1, 1)
    attempts = attempts_of(api, task)
    assert [(one["attempt"], one["exit_code"], one["status"]) for one in attempts] == [
        (1, 3, "failed"),
        (2, 3, "failed"),
    ]
    first_ended = datetime.fromisoformat(attempts[0]["completed_at"])
    assert (datetime.fromisoformat(last["started_at"]) - first_ended).total_seconds() >= 0.9
