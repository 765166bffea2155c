"""Which token an agent shows, where it lies, and how another one takes its place."""

import os
import stat
import uuid

import pytest

from agents.daemon import tokens
from agents.daemon.tokens import Credentials, TokenProblem, TokenSource, replacing, stored_text

AGENT, OTHER = uuid.uuid4(), uuid.uuid4()


def token_of(agent_id=AGENT, letter="x"):
    return f"hfa_{agent_id.hex}_{letter * 43}"


GIVEN, IN_FILE, STORED = (token_of(letter=letter) for letter in "abc")


@pytest.fixture
def source(tmp_path):
    """Return what makes the source of the tokens that are given by name."""

    def make(*, given="", in_file="", stored=""):
        file = tmp_path / "given-file"
        if in_file:
            file.write_text(f"{in_file}\n")
        if stored:
            (tmp_path / tokens.STORED).write_text(stored_text(stored, enrolled_by="hfe_secret"))
        return TokenSource(Credentials(token=given, token_file=file if in_file else None), tmp_path)

    return make


def test_what_is_given_counts_more_than_what_is_stored(source):
    assert source(given=GIVEN, stored=STORED).next() == GIVEN
    assert source(in_file=IN_FILE, stored=STORED).next() == IN_FILE
    assert source(stored=STORED).next() == STORED


def test_a_refused_token_makes_way_for_the_next_and_the_first_comes_again_after_all_were_refused(source):
    three = source(given=GIVEN, in_file=IN_FILE, stored=STORED)
    shown = [three.next()]
    while three.refuse(shown[-1]):
        shown.append(three.next())
    assert shown == [GIVEN, IN_FILE, STORED]
    assert three.next() == GIVEN
    assert three.refuse(GIVEN)
    assert three.next() == IN_FILE


def test_a_single_token_that_is_refused_is_shown_again_later_and_not_at_once(source):
    one = source(stored=STORED)
    for _ in range(3):
        assert one.next() == STORED
        assert one.refuse(STORED) is False


def test_a_token_that_was_replaced_on_disk_is_shown_from_then_on(source):
    one = source(stored=STORED)
    assert one.next() == STORED
    fresh = token_of(letter="n")
    with replacing(one.stored) as write:
        write(stored_text(fresh))
    assert one.refuse(STORED) is True
    assert one.next() == fresh


def test_a_token_of_another_agent_is_passed_over_while_the_daemon_runs(source):
    both = source(given=GIVEN, stored=token_of(OTHER))
    assert both.agent_id == AGENT
    assert both.refuse(GIVEN) is False
    assert both.next() == GIVEN
    one = source(stored=STORED)
    assert one.agent_id == AGENT
    one.stored.write_text(token_of(OTHER))
    with pytest.raises(TokenProblem, match="another agent"):
        one.next()


def test_a_file_that_is_gone_leaves_the_stored_token(source, tmp_path):
    both = source(in_file=IN_FILE, stored=STORED)
    (tmp_path / "given-file").unlink()
    assert both.next() == STORED


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "--enroll"),
        ({"token_file": "missing"}, "missing"),
        ({"token_file": "."}, "Is a directory"),
        ({"token_file": "rubbish"}, "malformed"),
    ],
)
def test_without_a_token_it_says_in_one_line_why(tmp_path, given, said):
    (tmp_path / "rubbish").write_text("not a token\n")
    file = tmp_path / given["token_file"] if given else None
    with pytest.raises(TokenProblem) as problem:
        TokenSource(Credentials(token_file=file), tmp_path).next()
    assert said in str(problem.value)
    assert "\n" not in str(problem.value)


def test_the_stored_token_remembers_by_which_enrolment_token_it_came_without_keeping_that(tmp_path):
    path = tmp_path / "token"
    path.write_text(stored_text(STORED, enrolled_by="hfe_secret"))
    assert "hfe_secret" not in path.read_text()
    path.write_text(stored_text(GIVEN, kept=path))
    assert tokens.read_token(path) == GIVEN
    assert tokens.was_enrolled_by(path, "hfe_secret")
    assert not tokens.was_enrolled_by(path, "hfe_other")
    assert not tokens.was_enrolled_by(tmp_path / "missing", "hfe_secret")


def test_secrets_are_in_no_representation():
    text = repr(Credentials(token="hfa_secret", enrollment="hfe_secret"))
    assert "secret" not in text


def test_a_token_is_written_for_its_owner_alone_whole_and_flushed_with_its_folder(tmp_path, monkeypatch):
    path, flushed, umask = tmp_path / "token", [], os.umask(0)
    path.write_text("old")
    path.chmod(0o644)
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.fstat(fd).st_ino), flush(fd)))
    try:
        with replacing(path) as write:
            assert path.read_text() == "old"
            write("new\n")
    finally:
        os.umask(umask)
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert flushed == [path.stat().st_ino, tmp_path.stat().st_ino]
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_is_written_the_old_token_stays_and_no_draft(tmp_path):
    path = tmp_path / "token"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path):
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_without_room_is_found_out_before_anybody_is_asked(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    asked = []
    with pytest.raises(OSError, match="No space left"), replacing(tmp_path / "token"):
        asked.append(True)
    assert asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for somebody else")
def test_a_token_that_root_writes_belongs_to_whom_the_agent_runs_as(tmp_path):
    folder = tmp_path / "agent"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with replacing(folder / "token") as write:
        write("first")
    assert (folder / "token").stat().st_uid == 65534
    os.chown(folder / "token", 1234, 1234)
    with replacing(folder / "token") as write:
        write("second")
    assert (folder / "token").stat().st_uid == 1234
