import pytest

from agents.daemon.config import ConfigError, parse

TOKEN = "hfa_0123456789abcdef0123456789abcdef_" + "x" * 43
ENVIRONMENT = {"HETUFLOW_SERVER": "ws://127.0.0.1:8000", "HETUFLOW_AGENT_TOKEN": TOKEN}


def test_the_token_says_who_the_agent_is():
    config = parse([], ENVIRONMENT)
    assert str(config.agent_id) == "01234567-89ab-cdef-0123-456789abcdef"
    assert TOKEN not in repr(config)


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text('slots = 2\nname = "file"\n[labels]\ngpu = "true"\n')
    environment = {**ENVIRONMENT, "HETUFLOW_AGENT_CONFIG": str(file), "HETUFLOW_AGENT_SLOTS": "3"}
    config = parse(["--name", "flag"], environment)
    assert (config.name, config.slots, config.labels) == ("flag", 3, {"gpu": "true"})


def test_the_token_can_be_in_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    environment = {"HETUFLOW_SERVER": "wss://hetuflow.example", "HETUFLOW_AGENT_TOKEN_FILE": str(file)}
    assert parse([], environment).token == TOKEN


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"HETUFLOW_SERVER": ""}, "HETUFLOW_SERVER"),
        ({"HETUFLOW_SERVER": "http://x"}, "ws://host:port"),
        ({"HETUFLOW_AGENT_TOKEN": ""}, "HETUFLOW_AGENT_TOKEN"),
        ({"HETUFLOW_AGENT_TOKEN": "secret"}, "malformed"),
        ({"HETUFLOW_AGENT_SLOTS": "0"}, "slots"),
        ({"HETUFLOW_AGENT_SLOTS": "many"}, "slots"),
        ({"HETUFLOW_AGENT_LABELS": "gpu"}, "KEY=VALUE"),
        ({"HETUFLOW_AGENT_LOG_LEVEL": "loud"}, "log_level"),
        ({"HETUFLOW_AGENT_CONFIG": "/does/not/exist"}, "/does/not/exist"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(changes, said):
    with pytest.raises(ConfigError) as refusal:
        parse([], {**ENVIRONMENT, **changes})
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_key_in_the_file_is_refused(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text("slot = 2\n")
    with pytest.raises(ConfigError, match="slot"):
        parse(["--config", str(file)], ENVIRONMENT)
