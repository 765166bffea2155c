"""The commands as a person calls them."""

import json
import socket
from pathlib import Path

import pytest

from agents.tokens import authenticate_token
from scheduling.clock import database_now
from tests.processes import database_url, free_port, only_line, run_manage

NOWHERE = "postgresql://me@127.0.0.1:1/nothing"


@pytest.mark.parametrize(
    "command", [["migrate"], ["api_token", "admin"], ["agent_token", "x"], ["scheduler"]]
)
def test_a_command_says_in_one_line_that_no_database_is_reachable(command: list[str]) -> None:
    done = run_manage(*command, DATABASE_URL=NOWHERE, HETUFLOW_PORT=str(free_port()))

    assert "The database cannot be reached" in only_line(done)


def test_standalone_says_in_one_line_that_the_given_database_is_not_reachable(tmp_path: Path) -> None:
    done = run_manage(
        "standalone", DATABASE_URL=NOWHERE, HETUFLOW_DATA_DIR=str(tmp_path), HETUFLOW_PORT=str(free_port())
    )

    assert "The database cannot be reached" in only_line(done)


@pytest.mark.parametrize("command", ["server", "standalone"])
def test_a_port_in_use_is_one_line(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_manage(command, HETUFLOW_PORT=str(port), HETUFLOW_DATA_DIR=str(tmp_path))

    assert f"Port {port} is in use" in only_line(done)


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    done = run_manage("standalone", HETUFLOW_DATA_DIR=str(tmp_path / "data"), HETUFLOW_SECRET_KEY="")

    assert f"The data folder {tmp_path / 'data'} cannot be used" in only_line(done)


def test_an_empty_secret_key_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("")

    done = run_manage("standalone", HETUFLOW_DATA_DIR=str(tmp_path), HETUFLOW_SECRET_KEY="")

    assert f"it holds no key; remove it ({tmp_path / 'secret_key'})" in only_line(done)


def test_files_in_place_of_the_cluster_are_one_line_and_stay(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "letter").write_text("dear")

    done = run_manage(
        "standalone", DATABASE_URL="", HETUFLOW_DATA_DIR=str(tmp_path), HETUFLOW_PORT=str(free_port())
    )

    assert "holds files but no PostgreSQL cluster" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert (tmp_path / "postgres" / "letter").read_text() == "dear"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HETUFLOW_PORT", "http"),
        ("HETUFLOW_PORT", "70000"),
        ("HETUFLOW_LEASE_SECS", "long"),
        ("HETUFLOW_DATABASE_POOL_SIZE", "5"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named_in_one_line(name: str, value: str) -> None:
    assert name in only_line(run_manage("migrate", **{name: value}))


def test_an_address_of_another_kind_of_database_is_one_line() -> None:
    done = run_manage("migrate", DATABASE_URL="sqlite:///x")

    assert "postgresql://" in only_line(done)


@pytest.mark.django_db(transaction=True)
def test_api_token_prints_a_token_and_nothing_else(django_user_model: type) -> None:
    django_user_model.objects.create_superuser("admin", password="x")  # type: ignore[attr-defined]

    done = run_manage("api_token", "admin", DATABASE_URL=database_url())

    assert done.stderr == ""
    assert done.stdout.startswith("hfu_")
    assert len(done.stdout.split()) == 1


@pytest.mark.django_db(transaction=True)
def test_agent_token_prints_the_agent_and_a_token_that_works() -> None:
    done = run_manage("agent_token", "worker-1", DATABASE_URL=database_url())

    answer = json.loads(done.stdout)
    assert answer.keys() == {"agent_id", "token"}
    agent = authenticate_token(secret=answer["token"], now=database_now()).agent
    assert (str(agent.pk), agent.name) == (answer["agent_id"], "worker-1")
