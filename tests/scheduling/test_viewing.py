"""What people see of output: both streams in the order of arrival, from any place, by pages of any size."""

import random

import pytest

from scheduling.models import OutputChunk
from scheduling.services import viewing
from scheduling.services.viewing import (
    BOTH,
    Part,
    Place,
    end_of,
    from_line_starts,
    place_at,
    place_of,
    read_page,
    read_page_before,
    read_pages,
)
from tests import factories

pytestmark = pytest.mark.django_db


def by_chance(seed, *, count=60):
    """Return pieces of both streams, whose every byte tells where it is."""
    chance = random.Random(seed)  # noqa: S311 (to be had again)
    kinds = [chance.choice(BOTH) for _ in range(count)]
    return [(kind, chance.randbytes(chance.choice([1, 3, 17, 90]))) for kind in kinds]


def merged(written):
    return [(stream, byte) for stream, data in written for byte in data]


def bytes_of(page):
    return merged((part.stream, part.data) for part in page.parts)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [1, 40, 10_000])
def test_pages_forward_and_backward_are_the_output_in_the_order_of_arrival(seed, limit):
    written = by_chance(seed, count=60 if limit > 1 else 8)
    attempt = factories.attempt(*written)
    forward, place = [], Place()
    while place != end_of(attempt):
        page = read_page(attempt.pk, place, limit=limit)
        assert page.begin == place
        assert 0 < len(bytes_of(page)) <= limit
        forward += bytes_of(page)
        place = page.end
    backward, place = [], end_of(attempt)
    while place != Place():
        page = read_page_before(attempt.pk, place, limit=limit)
        assert 0 < len(bytes_of(page)) <= limit
        backward = bytes_of(page) + backward
        place = page.begin
    assert forward == backward == merged(written)


@pytest.mark.parametrize("seed", range(5))
def test_every_position_is_a_place_and_every_byte_has_one(seed):
    written = by_chance(seed, count=12)
    attempt, output = factories.attempt(*written), merged(written)
    counts = dict.fromkeys(BOTH, 0)
    for position in range(len(output) + 1):
        expected = Place(**counts)
        assert place_at(attempt, position) == expected
        if position < len(output):
            stream, _byte = output[position]
            begun = place_of(attempt, stream, counts[stream])
            assert (begun.of(stream), begun.total <= position) == (counts[stream], True)
            counts[stream] += 1
    assert place_at(attempt, 10**12) == end_of(attempt)
    assert place_of(attempt, "stderr", 10**12) == end_of(attempt)


def test_of_one_stream_alone_pages_hold_nothing_else():
    attempt = factories.attempt(("stdout", b"a\n"), ("stderr", b"b\n"), ("stdout", b"c\n"))
    page = read_page(attempt.pk, Place(), limit=100, streams=["stderr"])
    assert bytes_of(page) == merged([("stderr", b"b\n")])
    assert page.end == Place(stdout=0, stderr=2)
    assert bytes_of(read_page_before(attempt.pk, end_of(attempt), limit=3, streams=["stdout"])) == merged(
        [("stdout", b"\nc\n")]
    )


def test_an_attempt_that_printed_nothing_has_one_place():
    attempt = factories.attempt()
    assert place_at(attempt, 7) == end_of(attempt) == Place()
    assert read_page(attempt.pk, Place(), limit=100).parts == []
    assert read_page_before(attempt.pk, Place(), limit=100).parts == []


def test_behind_the_end_there_is_nothing():
    attempt = factories.attempt(("stdout", b"x"), ("stderr", b"y"))
    assert read_page(attempt.pk, end_of(attempt), limit=100).parts == []
    assert read_page(attempt.pk, Place(stdout=7, stderr=1), limit=100).parts == []


def test_a_stream_of_many_pieces_is_not_read_for_a_page_that_the_other_fills(monkeypatch):
    rare = [("stderr", b"!"), ("stdout", b"x" * 500)] * 30
    attempt = factories.attempt(*rare)
    read = []
    monkeypatch.setattr(viewing, "Part", lambda **fields: read.append(Part(**fields)) or read[-1])
    read_page(attempt.pk, Place(), limit=500)
    read_page_before(attempt.pk, end_of(attempt), limit=500)
    assert len(read) <= 8


def test_many_places_are_read_by_one_statement(django_assert_num_queries):
    attempts = [factories.attempt(("stdout", b"%d" % n), ("stderr", b"!")) for n in range(5)]
    with django_assert_num_queries(1):
        pages = read_pages([(attempt.pk, Place()) for attempt in attempts], limit=100)
    assert [page.parts[0].data for page in pages] == [b"0", b"1", b"2", b"3", b"4"]
    assert {page.end for page in pages} == {Place(stdout=1, stderr=1)}


def test_a_jump_takes_one_statement_however_long_the_output(django_assert_num_queries):
    attempt = factories.attempt(*by_chance(1, count=200))
    with django_assert_num_queries(1):
        place_at(attempt, end_of(attempt).total // 2)
    with django_assert_num_queries(1):
        place_of(attempt, "stderr", 5)


def test_a_page_from_the_middle_begins_with_whole_lines_of_each_stream():
    attempt = factories.attempt(
        ("stdout", b"first line\nsec"), ("stderr", b"trouble\nmore"), ("stdout", b"ond\nx")
    )
    page = from_line_starts(read_page(attempt.pk, Place(stdout=3, stderr=1), limit=100))
    assert page.begin == Place(stdout=11, stderr=8)
    assert [(part.stream, part.data) for part in page.parts] == [
        ("stdout", b"sec"),
        ("stderr", b"more"),
        ("stdout", b"ond\nx"),
    ]


def test_a_page_that_begins_with_a_line_keeps_it():
    attempt = factories.attempt(("stdout", b"one\ntwo\n"))
    # The byte before is read as well.
    page = from_line_starts(read_page(attempt.pk, Place(stdout=3), limit=100))
    assert page.begin == Place(stdout=4)
    assert from_line_starts(read_page(attempt.pk, Place(), limit=100)).begin == Place()


def test_a_line_that_is_longer_than_a_page_is_cut():
    attempt = factories.attempt(("stdout", b"x" * 1000 + b"\n"))
    page = from_line_starts(read_page(attempt.pk, Place(stdout=100), limit=50))
    assert (page.begin, page.end) == (Place(stdout=101), Place(stdout=150))
    # Nor is it lost where the page holds its end alone.
    page = from_line_starts(read_page_before(attempt.pk, end_of(attempt), limit=10))
    assert (page.begin, page.end) == (Place(stdout=992), end_of(attempt))


def test_the_longest_piece_that_may_be_stored_is_found_from_its_last_byte():
    attempt = factories.attempt(("stdout", b"x" * (1024 * 1024 - 1)), ("stdout", b"y"))
    assert OutputChunk.objects.count() == 2
    page = read_page(attempt.pk, Place(stdout=1024 * 1024 - 2), limit=100)
    assert [part.data for part in page.parts] == [b"x", b"y"]
    assert read_page_before(attempt.pk, Place(stdout=1024 * 1024 - 1), limit=3).parts[0].data == b"xxx"
