"""The configuration of a task: whatever comes in is either complete and sound, or refused by field."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.messages import COMMAND_KINDS
from scheduling.task_config import TaskConfig, TaskConfigError, clean_task_config, load_task_config

DEFAULTS = {
    "args": [],
    "working_dir": None,
    "timeout_secs": 3600,
    "max_retries": 0,
    "retry_interval_secs": 10,
    "retry_backoff": "fixed",
    "capture_output": True,
    "max_output_size": 10 * 1024 * 1024,
    "labels": {},
    "resource_limits": {
        "max_memory_mb": None,
        "max_cpu_percent": None,
        "max_execution_time_secs": None,
        "max_output_size_bytes": None,
    },
    "concurrency_policy": "allow",
    "max_concurrency": None,
    "misfire_policy": "run_once",
    "misfire_grace_secs": 60,
    "kill_grace_secs": 10,
    "on_lease_lost": "keep",
}


@pytest.mark.parametrize("cmd", COMMAND_KINDS)
def test_a_command_is_enough_and_the_rest_has_defaults(cmd):
    assert clean_task_config({"cmd": cmd}) == {"cmd": cmd} | DEFAULTS


@pytest.mark.parametrize("raw", [None, [], "bash", 1])
def test_what_is_no_object_is_refused(raw):
    with pytest.raises(TaskConfigError, match="expected an object"):
        clean_task_config(raw)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cmd", "perl"),
        ("cmd", None),
        ("args", "-c date"),
        ("args", [1]),
        ("args", ["x"] * 4097),
        ("args", ["\x00"]),
        ("args", ["x" * (96 * 1024)]),
        ("working_dir", ""),
        ("timeout_secs", 0),
        ("timeout_secs", "60"),
        ("timeout_secs", True),
        ("timeout_secs", 1.5),
        ("max_retries", -1),
        ("max_retries", 1001),
        ("retry_interval_secs", -1),
        ("retry_backoff", "sometimes"),
        ("capture_output", 1),
        ("max_output_size", -1),
        ("labels", ["gpu"]),
        ("labels", {"": "x"}),
        ("labels", {"gpu": 1}),
        ("resource_limits", {"max_memory_mb": 0}),
        ("resource_limits", {"memory": 1}),
        ("concurrency_policy", "deny"),
        ("max_concurrency", 0),
        ("misfire_policy", "later"),
        ("on_lease_lost", "wait"),
        ("timeout", 5),
    ],
)
def test_a_bad_value_is_refused_with_its_field(field, value):
    with pytest.raises(TaskConfigError) as refusal:
        clean_task_config({"cmd": "bash"} | {field: value})
    assert list(refusal.value.errors) == [field]


def test_every_bad_field_is_named_at_once():
    with pytest.raises(TaskConfigError) as refusal:
        clean_task_config({"args": 1, "max_retries": -1, "tiemout": 3})
    assert refusal.value.errors.keys() == {"cmd", "args", "max_retries", "tiemout"}


@pytest.mark.parametrize(
    "config", [{"working_dir": "/\x00"}, {"labels": {"a": "\x00"}}, {"labels": {"\x00": "a"}}]
)
def test_the_character_nul_is_refused_wherever_it_stands(config):
    with pytest.raises(TaskConfigError, match="NUL"):
        clean_task_config({"cmd": "bash"} | config)


@pytest.mark.parametrize(
    ("policy", "maximum", "limit"),
    [("allow", None, None), ("allow", 3, 3), ("forbid", None, 1), ("queue", None, 1), ("replace", 2, 2)],
)
def test_a_policy_other_than_allow_means_one_at_once(policy, maximum, limit):
    config = TaskConfig(cmd="bash", concurrency_policy=policy, max_concurrency=maximum)
    assert config.concurrency_limit == limit


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.one_of(st.sampled_from([*DEFAULTS, "cmd"]), st.text(max_size=5)), VALUES))
def test_anything_is_either_complete_or_refused(raw):
    with contextlib.suppress(TaskConfigError):
        cleaned = clean_task_config({"cmd": "bash"} | raw)
        assert cleaned.keys() == DEFAULTS.keys() | {"cmd"}
        assert msgspec.to_builtins(load_task_config(cleaned)) == cleaned
        assert clean_task_config(cleaned) == cleaned
