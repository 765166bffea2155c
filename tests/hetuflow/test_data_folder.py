from pathlib import Path

import pytest

from hetuflow.data_folder import DataFolder, DataFolderError


def test_two_runs_cannot_share_a_data_folder(tmp_path: Path) -> None:
    with (
        DataFolder(tmp_path / "data").locked(),
        pytest.raises(DataFolderError, match="runs already"),
        DataFolder(tmp_path / "data").locked(),
    ):
        pass


def test_a_data_folder_is_free_again_after_a_run(tmp_path: Path) -> None:
    with DataFolder(tmp_path).locked():
        pass
    with DataFolder(tmp_path).locked() as ended_badly:
        assert ended_badly is False


def test_a_run_learns_that_the_one_before_it_was_killed(tmp_path: Path) -> None:
    (tmp_path / "standalone.lock").write_text("4711\n")

    with DataFolder(tmp_path).locked() as ended_badly:
        assert ended_badly is True


def test_a_file_in_place_of_the_data_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(DataFolderError) as caught, DataFolder(tmp_path / "data").locked():
        pass

    assert str(tmp_path / "data") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_is_readable_by_its_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.write_secret("agent_token", "first")
    path = folder.write_secret("agent_token", "second")

    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.read_secret("agent_token") == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["agent_token"]


def test_the_address_is_published_only_while_it_is_true(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)

    with folder.published_address("postgresql:///x"):
        assert folder.read_secret("database_url") == "postgresql:///x"

    assert not (tmp_path / "database_url").exists()
