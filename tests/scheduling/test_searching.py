"""Text is found wherever it is, also over the borders of pieces and pages, a bounded step at a time."""

import random

import pytest

from scheduling.services import searching
from scheduling.services.searching import find
from scheduling.services.viewing import BOTH, Place, end_of
from tests import factories

pytestmark = pytest.mark.django_db
NEEDLE = "needle"


def hay(chance, size):
    """Return bytes in which the needle is by accident only where it was put."""
    return bytes(chance.choice(b"xyz\n") for _ in range(size))


def written_by_chance(seed):
    chance = random.Random(seed)  # noqa: S311 (to be had again)
    streams = {}
    for stream in BOTH:
        streams[stream] = b"".join(hay(chance, chance.randrange(60)) + b"Needle" for _ in range(5))
    pieces, begun = [], dict.fromkeys(BOTH, 0)
    while any(begun[stream] < len(data) for stream, data in streams.items()):
        stream = chance.choice([name for name in BOTH if begun[name] < len(streams[name])])
        size = chance.randrange(1, 20)
        pieces.append((stream, streams[stream][begun[stream] : begun[stream] + size]))
        begun[stream] += size
    return pieces


def expected_of(written):
    """Return where the needle begins in each stream, in the order of arrival of those bytes."""
    whole = {stream: b"".join(data for name, data in written if name == stream).lower() for stream in BOTH}
    order, offsets = {}, dict.fromkeys(BOTH, 0)
    for number, (stream, data) in enumerate(written):
        for index in range(len(data)):
            order[stream, offsets[stream] + index] = (number, index)
        offsets[stream] += len(data)
    matches = [key for key in order if whole[key[0]].startswith(NEEDLE.encode(), key[1])]
    return sorted(matches, key=order.get)


def all_found(attempt, *, backwards):
    place, matches = end_of(attempt) if backwards else Place(), []
    while True:
        step = find(attempt, NEEDLE, place, backwards=backwards)
        if step.is_over:
            return matches
        place = step.place
        if step.stream is not None:
            matches.append((step.stream, step.offset))
            # As a browser goes on: from right behind the match, and where that is in the other stream.
            place = behind(attempt, step, backwards=backwards)


def behind(attempt, step, *, backwards):
    from scheduling.services.viewing import place_of

    place = place_of(attempt, step.stream, step.offset)
    return place if backwards else place.at(step.stream, step.offset + 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("page_bytes", [7, 64, 10_000])
def test_every_match_is_found_once_in_the_order_of_arrival(monkeypatch, seed, page_bytes):
    monkeypatch.setattr(searching, "PAGE_BYTES", page_bytes)
    written = written_by_chance(seed)
    attempt = factories.attempt(*written)
    forward, backward = all_found(attempt, backwards=False), all_found(attempt, backwards=True)
    assert set(forward) == set(backward) == set(expected_of(written))
    assert len(forward) == len(backward) == 10
    if page_bytes > 1000:
        assert forward == backward[::-1] == expected_of(written)


def test_a_step_is_bounded_and_says_where_to_go_on(monkeypatch):
    monkeypatch.setattr(searching, "PAGE_BYTES", 10)
    monkeypatch.setattr(searching, "STEP_BYTES", 20)
    attempt = factories.attempt(("stdout", b"." * 50 + b"needle"))
    step = find(attempt, NEEDLE, Place())
    assert (step.place, step.stream, step.is_over) == (Place(stdout=20), None, False)
    assert find(attempt, NEEDLE, Place(stdout=40)).offset == 50
    assert find(attempt, NEEDLE, Place(stdout=51)).is_over


def test_a_step_ends_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(searching, "PAGE_BYTES", 1)
    monkeypatch.setattr(searching, "STEP_SECS", 0)
    attempt = factories.attempt(("stdout", b"..needle"))
    assert find(attempt, NEEDLE, Place(stdout=1)).place == Place(stdout=1)
