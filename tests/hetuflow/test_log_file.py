from pathlib import Path

from hetuflow.log_file import LogFile


def _append(log: LogFile, text: str) -> None:
    with log.open() as file:
        file.write(text.encode())


def test_errors_are_given_once_and_lines_of_lower_levels_not_at_all(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "server.log")
    _append(log, "12:00 INFO a fine\n12:00 ERROR a broken\n12:00 CRITICAL a worse\n")

    assert log.new_errors() == ["12:00 ERROR a broken", "12:00 CRITICAL a worse"]
    assert log.new_errors() == []


def test_a_line_that_is_half_written_is_given_when_it_is_whole(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "server.log")
    _append(log, "12:00 ERROR a bro")
    assert log.new_errors() == []
    _append(log, "ken\n")

    assert log.new_errors() == ["12:00 ERROR a broken"]


def test_what_a_former_run_wrote_is_not_shown_again(tmp_path: Path) -> None:
    _append(LogFile(tmp_path / "server.log"), "12:00 ERROR a of yesterday\n")

    assert LogFile(tmp_path / "server.log").new_errors() == []


def test_a_flood_of_errors_is_shortened(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "server.log")
    _append(log, "12:00 ERROR a broken\n" * 100)

    shown = log.new_errors()

    assert len(shown) == 6
    assert "95 more" in shown[-1]


def test_a_large_log_is_moved_aside_while_the_child_keeps_writing(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "server.log", max_bytes=10)
    with log.open() as child:
        child.write(b"12:00 INFO a before\n")
        child.flush()
        log.new_errors()
        child.write(b"12:00 ERROR a after\n")
        child.flush()

        assert log.path.read_bytes() == b"12:00 ERROR a after\n"
        assert (tmp_path / "server.log.1").read_bytes() == b"12:00 INFO a before\n"
        assert log.new_errors() == ["12:00 ERROR a after"]


def test_a_log_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "server.log")
    _append(log, "12:00 INFO a\n")

    assert log.path.stat().st_mode & 0o777 == 0o600
