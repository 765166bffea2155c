"""The last line that an attempt printed."""

import pytest
from django.utils import timezone

from scheduling.models import TaskInstance
from scheduling.services.claiming import claim
from scheduling.services.last_lines import last_line, last_lines
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, store_output
from tests import factories


def attempt():
    agent = factories.agent()
    task = factories.task(now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    return TaskInstance.objects.get(task=task)


def printed(instance, *pieces):
    ends = {"stdout": 0, "stderr": 0}
    key = AttemptKey(agent_id=instance.agent_id, instance_id=instance.pk, token=instance.token)
    for stream, data in pieces:
        store_output([Chunk(key=key, stream=stream, offset=ends[stream], data=data, at=timezone.now())])
        ends[stream] += len(data)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n", "two"),
        (b"one\n\n   \n", "one"),
        (b"\x1b[1;31mred\x1b[0m\n", "red"),
        (b"10 %\r50 %\rdone\n", "done"),
        (b"done\r\n", "done"),
        (b"bell\x07", "bell\x07"),
        (b"half of \xe4\xbd", "half of \N{REPLACEMENT CHARACTER}"),
        (b"a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_the_last_line_is_what_one_would_have_seen_at_the_end(data, line):
    assert last_line(data) == line


def test_a_long_line_is_cut():
    assert len(last_line(b"x" * 5000)) == 300


@pytest.mark.django_db
def test_the_line_is_of_the_stream_that_was_written_last():
    first, second = attempt(), attempt()
    printed(first, ("stderr", b"a warning\n"), ("stdout", b"result\n"))
    printed(second, ("stdout", b"result\n"), ("stderr", b"failed\n"))
    assert last_lines([first.pk, second.pk]) == {first.pk: "result", second.pk: "failed"}


@pytest.mark.django_db
def test_a_stream_that_ends_in_nothing_but_blanks_gives_way_to_the_other():
    instance = attempt()
    printed(instance, ("stdout", b"result\n"), ("stderr", b"\n\n"))
    assert last_lines([instance.pk]) == {instance.pk: "result"}


@pytest.mark.django_db
def test_a_line_that_came_in_pieces_is_whole_again():
    instance = attempt()
    printed(instance, ("stdout", b"first\nse"), ("stdout", b"con"), ("stdout", b"d\n"))
    assert last_lines([instance.pk]) == {instance.pk: "second"}


@pytest.mark.django_db
def test_what_lies_before_a_piece_that_was_cut_is_not_joined_to_it():
    instance = attempt()
    printed(instance, ("stdout", b"before "), ("stdout", b"x" * 5000))
    assert last_lines([instance.pk]) == {instance.pk: "x" * 300}


@pytest.mark.django_db
def test_attempts_without_output_have_no_line(django_assert_num_queries):
    instance = attempt()
    with django_assert_num_queries(1):
        assert last_lines([instance.pk]) == {}
    with django_assert_num_queries(0):
        assert last_lines([]) == {}
