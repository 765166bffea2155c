"""The bad network is bad in the way that was asked for, and in no other."""

import asyncio
import contextlib
import time

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidMessage

from tests.e2e.frames import FrameStream
from tests.e2e.network import Relay

HEAD = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
PING = b"\x89\x82\x01\x02\x03\x04" + bytes([ord("h") ^ 1, ord("i") ^ 2])


def masked(text, *, first=0x81):
    """Return a frame as clients send it."""
    data = text.encode()
    if len(data) < 126:
        size = bytes([0x80 | len(data)])
    elif len(data) < 0x10000:
        size = b"\xfe" + len(data).to_bytes(2, "big")
    else:
        size = b"\xff" + len(data).to_bytes(8, "big")
    payload = bytes(byte ^ (1, 2, 3, 4)[at % 4] for at, byte in enumerate(data))
    return bytes([first]) + size + b"\1\2\3\4" + payload


# --- frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 7, 1000, 10**6])
def test_a_stream_comes_apart_into_the_same_pieces_however_it_arrives(step):
    texts = ["", "a" * 125, "ä" * 100, "b" * 70_000]
    stream = HEAD + b"".join(masked(text) for text in texts) + PING
    frames = FrameStream()
    pieces = [piece for at in range(0, len(stream), step) for piece in frames.feed(stream[at : at + step])]
    assert [piece.text for piece in pieces] == [None, *texts, None]
    assert b"".join(piece.raw for piece in pieces) == stream
    assert [piece.is_frame for piece in pieces] == [False] + [True] * 5


def test_a_message_in_fragments_is_one_piece_and_a_ping_between_them_goes_before():
    fragments = [masked("one ", first=0x01), masked("two ", first=0x00), masked("three", first=0x80)]
    stream = HEAD + fragments[0] + PING + fragments[1] + fragments[2]
    _, ping, message = FrameStream().feed(stream)
    assert (ping.raw, message.raw, message.text) == (PING, b"".join(fragments), "one two three")


def test_what_is_no_websocket_passes_as_it_comes():
    frames = FrameStream()
    first, second = b"HTTP/1.1 200 OK\r\n\r\n", b"\x81\x05hel"
    assert b"".join(piece.raw for piece in frames.feed(first)) == first
    assert [piece.raw for piece in frames.feed(second)] == [second]


# --- the relay ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def through_a_relay(**options):
    """Give a relay before a server that echoes messages and lists what it heard."""
    heard = []

    async def echo(socket):
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                heard.append(text)
                await socket.send(text)

    async with serve(echo, "127.0.0.1", 0, ping_interval=None) as server:
        with Relay(server.sockets[0].getsockname()[1], **options).running() as relay:
            yield relay, heard


def client(relay):
    return connect(f"ws://127.0.0.1:{relay.port}", compression=None, ping_interval=None, close_timeout=1)


async def hears_nothing(socket, secs=0.3):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(secs):
            await socket.recv()


async def test_a_good_relay_changes_nothing_and_records_what_passes():
    async with through_a_relay() as (relay, heard), client(relay) as socket:
        relay.record()
        for text in ("short", "long" * 50_000):
            await socket.send(text)
            assert await socket.recv() == text
        assert heard == ["short", "long" * 50_000]
        assert relay.recorded == [(way, text) for text in heard for way in ("up", "down")]


async def test_a_cut_ends_the_connections_that_are_and_a_parted_network_lets_none_in():
    async with through_a_relay() as (relay, heard), client(relay) as socket:
        with relay.parted():
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            with pytest.raises((InvalidMessage, OSError)):
                await client(relay)
        async with client(relay) as another:
            await another.send("again")
            assert await another.recv() == "again"
        assert (heard, relay.cuts) == (["again"], 1)


async def test_a_held_way_keeps_what_is_sent_until_it_is_released():
    async with through_a_relay() as (relay, heard), client(relay) as socket:
        with relay.held("up"):
            await socket.send("up")
            await hears_nothing(socket)
            assert heard == []
        assert await socket.recv() == "up"
        with relay.held("down"):
            await socket.send("down")
            await hears_nothing(socket)
            assert heard == ["up", "down"]
        assert await socket.recv() == "down"


async def test_over_a_held_way_nobody_learns_that_the_other_end_is_gone():
    async with through_a_relay() as (relay, _heard), client(relay) as socket:
        with relay.held("up"):
            socket.transport.abort()
            await asyncio.sleep(0.3)
            assert len(relay._links) == 1
        async with asyncio.timeout(5):
            while relay._links:  # noqa: ASYNC110 (the relay's thread ends them)
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("ways", "expected"), [({"up"}, [2, 2]), ({"down"}, [1, 2]), ({"up", "down"}, [2, 4])]
)
async def test_messages_pass_twice_on_the_ways_that_are_asked_for(ways, expected):
    async with through_a_relay() as (relay, heard), client(relay) as socket:
        relay.twice = frozenset(ways)
        await socket.send("text" * 100)
        answers = [await socket.recv() for _ in range(expected[1])]
        await hears_nothing(socket)
        assert [len(heard), len(answers)] == expected
        assert set(heard + answers) == {"text" * 100}


async def test_frames_are_cut_as_often_as_asked_and_each_takes_its_connection_with_it():
    async with through_a_relay(seed=1) as (relay, heard):
        relay.cut_frames = 0.3
        for number in range(60):
            with contextlib.suppress(ConnectionClosed):
                async with client(relay) as socket:
                    await socket.send(str(number))
                    assert await socket.recv() == str(number)
        # 0.7 of the messages get there; of the rest, nothing does.
        assert 25 <= len(heard) <= 57
        assert len(heard) == len(set(heard))
        relay.heal()
        async with client(relay) as socket:
            await socket.send("whole")
            assert await socket.recv() == "whole"


async def test_a_slow_relay_takes_the_time_that_its_rate_and_its_delay_say():
    async with through_a_relay() as (relay, _heard), client(relay) as socket:
        relay.delay_secs = 0.2
        begun = time.monotonic()
        await socket.send("there and back")
        await socket.recv()
        assert 0.4 <= time.monotonic() - begun < 2
        relay.heal()
        relay.bytes_per_sec = 100_000
        begun = time.monotonic()
        await socket.send("x" * 50_000)
        await socket.recv()
        assert 0.9 <= time.monotonic() - begun < 5


async def test_a_relay_that_is_turned_to_another_server_leaves_the_connections_that_are():
    async with (
        through_a_relay() as (relay, heard),
        through_a_relay() as (other, others),
        client(relay) as socket,
    ):
        relay.target = other.target
        await socket.send("first")
        assert await socket.recv() == "first"
        async with client(relay) as another:
            await another.send("second")
            assert await another.recv() == "second"
        assert (heard, others) == (["first"], ["second"])


async def test_a_connection_is_cut_after_its_bytes_wherever_that_is():
    async with through_a_relay(cut_after_bytes=(1000, 1000)) as (relay, heard), client(relay) as socket:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                await socket.send("x" * 40)
                await socket.recv()
        assert relay.cuts == 1
        assert 1 <= len(heard) < 12
