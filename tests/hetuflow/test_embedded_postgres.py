"""The embedded PostgreSQL, with real clusters."""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from hetuflow import embedded_postgres
from hetuflow.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, running

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody to give its rights up for")


def _owner_of_server(cluster: Path) -> int:
    return Path(f"/proc/{_server_pid(cluster)}").stat().st_uid


def _server_pid(cluster: Path) -> int:
    return int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])


def test_what_was_stored_is_there_at_the_next_start(tmp_path: Path) -> None:
    with running(tmp_path, throw_away=True) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    with running(tmp_path, throw_away=True) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (42,)


def test_the_server_is_reachable_by_its_socket_alone(tmp_path: Path) -> None:
    with running(tmp_path, throw_away=True) as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert stat.S_IMODE((tmp_path / "postgres").stat().st_mode) == 0o700


def test_a_data_folder_with_a_very_long_path_works(tmp_path: Path) -> None:
    with running(tmp_path / ("long" * 30), throw_away=True) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@as_root
def test_root_starts_it_as_somebody_else_in_a_folder_closed_to_everyone_else(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with running(closed / "data", throw_away=True):
        assert _owner_of_server(closed / "data" / "postgres") != 0
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert closed.stat().st_uid == 0


@as_root
def test_binaries_that_only_root_can_reach_are_copied_to_where_everybody_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as reachable:
        Path(reachable).chmod(0o755)
        monkeypatch.setattr(embedded_postgres, "_STATE_DIR_OF_ROOT", Path(reachable))
        monkeypatch.setattr(embedded_postgres, "_others_can_enter", lambda folder: False)

        with running(tmp_path, throw_away=True):
            program = (Path(f"/proc/{_server_pid(tmp_path / 'postgres')}") / "exe").readlink()

        assert program.is_relative_to(reachable)


@as_root
def test_root_uses_the_cluster_of_an_ordinary_user_as_that_user(tmp_path: Path) -> None:
    ordinary = 54321
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", ordinary, ordinary)

    server = EmbeddedPostgres(tmp_path, throw_away=True)

    assert server._owner is not None
    assert (server._owner.uid, server._owner.gid) == (ordinary, ordinary)


def test_a_server_that_outlived_its_parent_is_ended_first(tmp_path: Path) -> None:
    left_over = EmbeddedPostgres(tmp_path, throw_away=True)
    left_over.start()
    try:
        with running(tmp_path, throw_away=True) as url, psycopg.connect(url) as connection:
            assert left_over.poll() is not None
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        left_over.stop()


def test_a_first_start_that_was_killed_half_way_is_made_good(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")

    with running(tmp_path, throw_away=True) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def _of_another_version(cluster: Path) -> None:
    (cluster / "PG_VERSION").write_text("9.6\n")


def _without_control_file(cluster: Path) -> None:
    (cluster / "global" / "pg_control").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [(_of_another_version, "was made by PostgreSQL 9.6"), (_without_control_file, "did not start")],
)
def test_a_broken_cluster_is_refused_in_one_line(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    with running(tmp_path, throw_away=True):
        pass
    harm(tmp_path / "postgres")

    with pytest.raises(EmbeddedPostgresError, match=message) as caught:
        EmbeddedPostgres(tmp_path, throw_away=True).start()

    assert "\n" not in str(caught.value)
