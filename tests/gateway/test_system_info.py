"""What the system says it is, and what it does not tell."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from gateway import build, servers
from hetuflow import __version__
from scheduling.clock import database_now
from tests.gateway.figures import BUILD, CONNECTIONS, INFO, RESOURCES, TASKS


@pytest.mark.parametrize("path", ["/api/v1/info", "/api/v1/system/info"])
def test_info_has_its_shape(api, path):
    answer = api.post(path, {}).json()
    assert list(answer) == INFO
    assert list(answer["build"]) == BUILD
    assert (answer["version"], answer["build"]["version"]) == (__version__, __version__)
    assert "cron_schedules" in answer["features"]
    assert (type(answer["uptime"]), answer["is_leader"]) == (int, False)
    assert {name: answer[name] for name in ("build_time", "git_commit")}.items() <= answer["build"].items()
    assert (list(answer["connections"]), list(answer["tasks"])) == (CONNECTIONS, TASKS)
    assert list(answer["resources"]) == RESOURCES


def test_environment_and_configuration_are_told_when_asked_for(api, settings):
    answer = api.post(
        "/api/v1/info", {"include_config": True, "include_environment": True}, SERVER_PORT="8123"
    ).json()
    assert list(answer) == [*INFO, "environment", "config"]
    assert list(answer["environment"]) == [
        "os",
        "architecture",
        "python_version",
        "rust_version",
        "hostname",
    ]
    assert list(answer["config"]) == [
        "database_type",
        "websocket_port",
        "http_port",
        "log_level",
        "timezone",
    ]
    assert (answer["config"]["http_port"], answer["config"]["database_type"]) == (8123, "postgresql")


def test_no_secret_is_told(api, settings, monkeypatch, token):
    monkeypatch.setenv("HETUFLOW_SECRET_KEY", "of-the-environment")
    settings.SECRET_KEY = "of-the-settings-and-long-enough-to-be-one"
    body = {"include_config": True, "include_environment": True, "include_details": True}
    answers = [
        api.post("/api/v1/info", {name: body[name] for name in ("include_config", "include_environment")}),
        api.post("/api/v1/metrics", {"include_details": True}),
        api.get("/metrics"),
    ]
    told = "".join(answer.content.decode() for answer in answers)
    database = connection.settings_dict
    host = database["HOST"] or database["OPTIONS"]["host"]
    for secret in (
        "of-the-environment",
        settings.SECRET_KEY,
        settings.DATABASE_URL,
        host,
        str(settings.DATA_DIR),
        token["authorization"].removeprefix("Bearer "),
    ):
        assert secret
        assert secret not in told


def test_a_server_leads_while_it_holds_the_lease(api, runtime):
    def leads():
        return api.post("/api/v1/info", {}).json()["is_leader"]

    assert not leads()
    servers.lead(server_id=runtime.server_id, now=database_now() - timedelta(seconds=60))
    assert not leads()
    servers.lead(server_id=runtime.server_id, now=database_now())
    assert leads()
    runtime.server_id = uuid.uuid4()
    assert not leads()


def test_a_checkout_tells_its_commit(tmp_path):
    def git(*arguments):
        return build._git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments)

    git("init", "-b", "trunk")
    git("commit", "--allow-empty", "-m", "a")
    commit, at, branch = build._read_checkout(tmp_path)
    assert (commit, branch) == (git("rev-parse", "HEAD"), "trunk")
    assert at.tzinfo is UTC
    (tmp_path / "within").mkdir()
    assert build._read_checkout(tmp_path / "within") == (None, None, None)


def test_without_a_checkout_nothing_is_made_up(tmp_path):
    assert build._read_checkout(tmp_path) == (None, None, None)


def test_the_environment_may_tell_the_build(settings):
    settings.HETUFLOW_GIT_COMMIT = "abc"
    settings.HETUFLOW_GIT_BRANCH = ""
    settings.HETUFLOW_BUILD_TIME = datetime(2026, 1, 2)  # noqa: DTZ001 (so may whoever builds)
    told = build.build_info.__wrapped__()
    assert (told.git_commit, told.git_branch) == ("abc", None)
    assert told.build_time == datetime(2026, 1, 2, tzinfo=UTC)
