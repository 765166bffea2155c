import uuid
from pathlib import Path

import pytest

from agents.daemon.attempts import HeldAttempt
from agents.daemon.output import WINDOW_BYTES, OutputSender
from agents.protocol.messages import OutputOffsets


@pytest.fixture
def attempt(tmp_path):
    return HeldAttempt(
        instance_id=uuid.uuid4(), token=1, folder=str(tmp_path), is_exclusive=False, launched_at=0
    )


def write(attempt, data, stream="stdout"):
    with Path(attempt.folder, stream).open("ab") as file:
        file.write(data)
    attempt.sizes[stream] += len(data)


def sent(chunks):
    return [(chunk.stream, chunk.offset, chunk.data) for chunk in chunks]


def key(attempt, stream="stdout"):
    return attempt.instance_id, stream


def test_output_is_sent_once_in_order_and_by_offset(attempt):
    sender = OutputSender()
    write(attempt, b"hello")
    sender.note(attempt)
    assert sent(sender.take("a", max_bytes=1000)) == [("stdout", 0, b"hello")]
    write(attempt, b" world")
    write(attempt, b"\x00\xff", "stderr")
    sender.note(attempt)
    assert sent(sender.take("b", max_bytes=1000)) == [("stdout", 5, b" world"), ("stderr", 0, b"\x00\xff")]
    assert not sender.has_next


def test_an_attempt_is_stored_when_the_server_has_every_byte(attempt):
    sender = OutputSender()
    write(attempt, b"hello")
    sender.note(attempt)
    sender.take("a", max_bytes=1000)
    assert not sender.is_stored(attempt)
    assert sender.acknowledge("a", {key(attempt): 5}) == [attempt]
    assert sender.is_stored(attempt)


def test_what_the_server_did_not_store_is_sent_again(attempt):
    sender = OutputSender()
    write(attempt, b"hello")
    sender.note(attempt)
    sender.take("a", max_bytes=1000)
    sender.acknowledge("a", {key(attempt): 2})
    assert sent(sender.take("b", max_bytes=1000)) == [("stdout", 2, b"llo")]


def test_after_a_reconnect_it_goes_on_from_what_the_server_has(attempt):
    sender = OutputSender()
    write(attempt, b"hello")
    sender.note(attempt)
    sender.take("a", max_bytes=1000)
    sender.requeue()
    sender.resume(attempt, OutputOffsets(stdout=3))
    assert sent(sender.take("b", max_bytes=1000)) == [("stdout", 3, b"lo")]


def test_unanswered_output_is_bounded_however_much_there_is(attempt):
    sender = OutputSender()
    write(attempt, b"x" * (4 * WINDOW_BYTES))
    sender.note(attempt)
    frames = 0
    while sender.has_next:
        frames += 1
        sender.take(str(frames), max_bytes=128 * 1024)
    assert 0 < frames <= WINDOW_BYTES // (128 * 1024) + 1
    sender.acknowledge("1", {key(attempt): 128 * 1024})
    assert sender.has_next


def test_a_talkative_attempt_does_not_hold_up_another(attempt, tmp_path):
    other = HeldAttempt(
        instance_id=uuid.uuid4(), token=2, folder=str(tmp_path / "b"), is_exclusive=False, launched_at=0
    )
    Path(other.folder).mkdir()
    sender = OutputSender()
    write(attempt, b"x" * 300_000)
    sender.note(attempt)
    sender.take("a", max_bytes=100_000)
    write(other, b"hi")
    sender.note(other)
    sender.take("b", max_bytes=100_000)
    assert sent(sender.take("c", max_bytes=100_000))[0] == ("stdout", 0, b"hi")
