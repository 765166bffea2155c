import uuid

from agents.daemon.outbox import Outbox, instances
from agents.protocol.messages import AttemptReport


def report(number, *, seq=2, **fields):
    return AttemptReport(
        instance_id=uuid.UUID(int=number), token=1, seq=seq, status="completed", at_ms=0, **fields
    )


def numbers(batch):
    return [one.instance_id.int for one in batch]


def filled(*values):
    outbox = Outbox()
    for number in values:
        outbox.put(report(number))
    return outbox


def test_what_gathers_while_a_frame_is_unanswered_goes_together():
    outbox = filled(1)
    outbox.take("a")
    outbox.put(report(2))
    outbox.put(report(3))
    assert not outbox.has_next
    outbox.acknowledge("a")
    assert numbers(outbox.take("b")) == [2, 3]


def test_an_acknowledged_report_is_forgotten_and_named():
    outbox = filled(1, 2)
    outbox.take("a")
    assert instances(outbox.acknowledge("a"), seq=2) == [uuid.UUID(int=1), uuid.UUID(int=2)]
    assert outbox.acknowledge("a") == []
    assert len(outbox) == 0


def test_what_was_unanswered_is_sent_again_oldest_first():
    outbox = filled(1, 2)
    outbox.take("a")
    outbox.put(report(3))
    outbox.requeue()
    assert numbers(outbox.take("b")) == [1, 2, 3]


def test_a_refused_frame_is_taken_apart_until_the_report_at_fault_is_alone():
    outbox = filled(1, 2)
    outbox.take("a")
    outbox.put(report(3))
    assert outbox.refuse("a") == []
    assert numbers(outbox.take("b")) == [1]
    assert numbers(outbox.refuse("b")) == [1]
    assert numbers(outbox.take("c")) == [2]
    assert numbers(outbox.acknowledge("c")) == [2]
    assert numbers(outbox.take("d")) == [3]


def test_a_frame_is_bounded_by_number_and_by_size():
    outbox = filled(*range(150))
    assert len(outbox.take("a")) == 100
    outbox = Outbox()
    for number in range(10):
        outbox.put(report(number, result="x" * 60_000))
    assert len(outbox.take("b")) == 2


def test_reports_of_an_unwanted_attempt_are_dropped():
    outbox = filled(1, 2)
    outbox.forget(uuid.UUID(int=1))
    assert numbers(outbox.take("a")) == [2]
