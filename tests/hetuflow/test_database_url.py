from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hetuflow.database_url import parse_database_url, published_address


def test_an_address_becomes_an_entry_for_django() -> None:
    entry = parse_database_url("postgresql://me:s%40y@db.example:5433/jobs?sslmode=require")

    assert entry["ENGINE"] == "django.db.backends.postgresql"
    assert (entry["USER"], entry["PASSWORD"], entry["HOST"], entry["PORT"], entry["NAME"]) == (
        "me",
        "s@y",
        "db.example",
        5433,
        "jobs",
    )
    assert entry["OPTIONS"] == {"sslmode": "require"}


@pytest.mark.parametrize("address", ["jobs", "sqlite:///jobs", "mysql://me:secret@h/x", "://", ""])
def test_what_is_no_address_of_a_postgresql_is_refused(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="postgresql://"):
        parse_database_url(address)


def test_a_refusal_does_not_tell_the_password() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        parse_database_url("postgresql://me:secret@h:99999/x")

    assert "secret" not in str(caught.value)


def test_without_a_running_installation_there_is_no_published_address(tmp_path: Path) -> None:
    assert published_address(tmp_path) == ""


def test_a_file_with_something_else_in_place_of_the_address_is_named(tmp_path: Path) -> None:
    (tmp_path / "database_url").write_text("rubbish\n")

    with pytest.raises(ImproperlyConfigured, match=f"{tmp_path}/database_url cannot be used, remove it"):
        published_address(tmp_path)


def test_a_published_address_that_cannot_be_read_is_refused_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "database_url").mkdir()

    with pytest.raises(ImproperlyConfigured, match=str(tmp_path)):
        published_address(tmp_path)
