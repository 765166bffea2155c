import os
import uuid

import pytest

from agents.daemon.journal import Journal

A, B = uuid.UUID(int=1), uuid.UUID(int=2)


def journal(tmp_path, boot):
    return Journal(tmp_path / "journal", boot_id=boot)


def test_after_a_restart_of_the_daemon_nothing_is_of_an_earlier_run(tmp_path):
    first = journal(tmp_path, "one")
    first.open()
    first.take_on({A: 7})
    assert journal(tmp_path, "one").open() == {}


def test_after_a_restart_of_the_machine_what_was_not_settled_is_named(tmp_path):
    first = journal(tmp_path, "one")
    first.open()
    first.take_on({A: 7, B: 8})
    first.settle([A])
    assert journal(tmp_path, "two").open() == {B: 8}


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    first = journal(tmp_path, "one")
    first.open()
    first.take_on({A: 7})
    with (tmp_path / "journal").open("ab") as file:
        file.write(b'{"boot": "one", "he')
    assert journal(tmp_path, "two").open() == {A: 7}


def test_the_journal_stays_small_while_the_machine_is_never_idle(tmp_path, monkeypatch):
    monkeypatch.setattr("agents.daemon.journal.COMPACT_BYTES", 1000)
    first = journal(tmp_path, "one")
    first.open()
    first.take_on({B: 8})
    for number in range(3, 100):
        first.take_on({uuid.UUID(int=number): number})
        first.settle([uuid.UUID(int=number)])
    assert (tmp_path / "journal").stat().st_size < 2000
    assert journal(tmp_path, "two").open() == {B: 8}


def test_a_line_for_which_there_is_no_room_is_refused_and_spoils_no_other(tmp_path, monkeypatch):
    first = journal(tmp_path, "one")
    first.open()
    write = os.write
    with monkeypatch.context() as full:
        full.setattr("agents.daemon.journal.os.write", lambda descriptor, data: write(descriptor, data[:5]))
        with pytest.raises(OSError, match="No space left"):
            first.take_on({A: 7})
        first.settle([A])
    first.take_on({B: 8})
    assert journal(tmp_path, "two").open() == {B: 8}


def test_where_there_is_no_room_for_a_new_file_the_old_one_goes_on(tmp_path, monkeypatch):
    first = journal(tmp_path, "one")
    first.open()
    first.take_on({A: 7})
    (tmp_path / "journal.tmp").mkdir()
    monkeypatch.setattr("agents.daemon.journal.COMPACT_BYTES", 0)
    first.settle([B])
    first.take_on({B: 8})
    assert journal(tmp_path, "two").open() == {A: 7, B: 8}


def test_a_daemon_that_starts_on_a_full_disk_goes_on_with_the_old_file(tmp_path):
    first = journal(tmp_path, "one")
    first.open()
    first.take_on({A: 7})
    with (tmp_path / "journal").open("ab") as file:
        file.write(b'{"boot": "one", "he')
    (tmp_path / "journal.tmp").mkdir()
    second = journal(tmp_path, "one")
    second.open()
    second.take_on({B: 8})
    assert journal(tmp_path, "two").open() == {A: 7, B: 8}
