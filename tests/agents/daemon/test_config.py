import pytest

from agents.daemon.config import ConfigError, parse

TOKEN = "hfa_0123456789abcdef0123456789abcdef_" + "x" * 43
ENVIRONMENT = {"HETUFLOW_SERVER": "ws://127.0.0.1:8000", "HETUFLOW_AGENT_TOKEN": TOKEN}


def test_what_is_secret_is_in_no_representation():
    config = parse(["--enroll", "hfe_" + "s" * 43], ENVIRONMENT)
    assert (config.credentials.token, config.credentials.enrollment) == (TOKEN, "hfe_" + "s" * 43)
    assert not any(secret in repr(config) for secret in config.credentials.secrets)


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text('slots = 2\nname = "file"\n[labels]\ngpu = "true"\n')
    environment = {**ENVIRONMENT, "HETUFLOW_AGENT_CONFIG": str(file), "HETUFLOW_AGENT_SLOTS": "3"}
    config = parse(["--name", "flag"], environment)
    assert (config.name, config.slots, config.labels) == ("flag", 3, {"gpu": "true"})


@pytest.mark.parametrize(
    ("arguments", "environment", "file", "expected"),
    [
        (["--token-file", "f"], {"HETUFLOW_AGENT_TOKEN": TOKEN}, "", "file f"),
        ([], {"HETUFLOW_AGENT_TOKEN": TOKEN, "HETUFLOW_AGENT_TOKEN_FILE": "f"}, "", "token"),
        ([], {"HETUFLOW_AGENT_TOKEN_FILE": "f"}, f'token = "{TOKEN}"', "file f"),
        ([], {}, f'token = "{TOKEN}"\ntoken_file = "f"', "token"),
        ([], {}, 'token_file = "f"', "file f"),
        ([], {}, "", "nothing"),
    ],
)
def test_the_first_place_that_says_anything_of_a_token_says_it_all(
    tmp_path, arguments, environment, file, expected
):
    (tmp_path / "agent.toml").write_text(file)
    environment = {
        "HETUFLOW_SERVER": "wss://hetuflow.example",
        "HETUFLOW_AGENT_CONFIG": str(tmp_path / "agent.toml"),
        **environment,
    }
    credentials = parse(arguments, environment).credentials
    found = "token" if credentials.token else "nothing"
    if credentials.token_file is not None:
        assert credentials.token_file.is_absolute()
        found = f"file {credentials.token_file.name}"
    assert found == expected


def test_an_enrolment_token_can_be_given_everywhere_too():
    environment = {"HETUFLOW_SERVER": "wss://x", "HETUFLOW_ENROLLMENT_TOKEN": "hfe_x"}
    assert parse([], environment).credentials.enrollment == "hfe_x"
    flagged = parse(["--enroll-file", "-"], environment).credentials
    assert (flagged.enrollment, flagged.enrollment_file) == ("", "-")


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ("http://host:8000", "ws://host:8000"),
        ("https://host/", "wss://host"),
        ("wss://host/below/", "wss://host/below"),
    ],
)
def test_the_server_may_be_given_by_the_address_that_people_use(given, server):
    assert parse(["--server", given], ENVIRONMENT).server == server


def test_the_token_can_be_replaced_by_a_word_on_the_command_line():
    assert parse(["rotate-token"], ENVIRONMENT).action == "rotate-token"
    assert parse([], ENVIRONMENT).action == "run"


def test_a_name_that_nobody_gave_is_the_hosts_and_known_as_such():
    assert parse(["--name", "seven"], ENVIRONMENT).given_name == "seven"
    config = parse([], ENVIRONMENT)
    assert (bool(config.name), config.given_name) == (True, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"HETUFLOW_SERVER": ""}, "HETUFLOW_SERVER"),
        ({"HETUFLOW_SERVER": "ftp://x"}, "ws://host:port"),
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
