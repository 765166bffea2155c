import uuid

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
