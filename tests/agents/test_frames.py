"""The strict JSON gate and the codec: hostile text gets an answer of its own, never another exception."""

import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol.codec import FrameError, MessageError, decode_frame, encode_frame
from agents.protocol.messages import AGENT_MESSAGES, SERVER_MESSAGES, Ready
from agents.protocol.strict_json import StrictJsonError, parse_strict

MESSAGES = AGENT_MESSAGES | SERVER_MESSAGES
INSTANCE = {"instance_id": "0193a1c2-aaaa-7000-8000-000000000007", "token": 7}


def frame(payload, *, kind="ready", **more):
    return json.dumps({"kind": kind, "id": "1", "timestamp": 1, "payload": payload} | more)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "{",
        '{"a": 1} x',
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": -1e999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": "\\uDC00\\uD800"}',
        '{"a": "\\u0000"}',
        '{"a": "\x00"}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        "[" * 33 + "]" * 33,
        '{"a":' * 33 + "1" + "}" * 33,
        "[" * 100_000,
        '{"a":' * 100_000,
        '"' + "\\" * 100_000,
    ],
    ids=lambda text: repr(text[:24]),
)
def test_what_is_not_strict_json_is_refused_with_a_reason(text):
    with pytest.raises(StrictJsonError) as refusal:
        parse_strict(text)
    assert str(refusal.value)
    with pytest.raises(FrameError):
        decode_frame(text, MESSAGES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud83d\\ude00"', "😀"),
        ("[" * 32 + "]" * 32, None),
        ('{"a": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', {"a": "[" * 36}),
        ('"\\\\u0000"', "\\u0000"),
        ("1e308", 1e308),
        (b'"\xc3\xa4"', "ä"),
    ],
)
def test_what_is_strict_json_passes(text, value):
    assert parse_strict(text) == value or value is None


@pytest.mark.parametrize("text", ["[]", "1", '"ready"', "null", "true"])
def test_a_frame_is_an_object(text):
    with pytest.raises(FrameError, match="object"):
        decode_frame(text, MESSAGES)


@pytest.mark.parametrize(
    ("text", "code", "frame_id"),
    [
        ("{}", "invalid", None),
        (frame({}, id=1), "invalid", None),
        (frame({}, id=""), "invalid", None),
        (frame({}, id="x" * 65), "invalid", None),
        (frame({}, kind=None), "invalid", "1"),
        (frame({}, kind="dance"), "unknown_kind", "1"),
        (frame({}, kind="Payload"), "unknown_kind", "1"),
        (frame({}, timestamp="1"), "invalid", "1"),
        (frame({}, timestamp=True), "invalid", "1"),
        (frame({}, timestamp=1.5), "invalid", "1"),
        (frame({"nonce": 1, "slots": 1}, more=1), "invalid", "1"),
        (frame(None), "invalid", "1"),
        (frame([]), "invalid", "1"),
        (frame({}), "invalid", "1"),
        (frame({"nonce": "1", "slots": 1}), "invalid", "1"),
        (frame({"nonce": 1, "slots": True}), "invalid", "1"),
        (frame({"nonce": 1, "slots": -1}), "invalid", "1"),
        (frame({"nonce": 2**53, "slots": 1}), "invalid", "1"),
        (frame({"nonce": 1, "slots": 1, "slot": 1}), "invalid", "1"),
        (frame({"nonce": 1, "status": "idle", "running": 2**31}, kind="heartbeat"), "invalid", "1"),
        (frame({"reports": []}, kind="report"), "invalid", "1"),
        (frame({"attempts": [INSTANCE | {"token": 0}]}, kind="accepted"), "invalid", "1"),
        (frame({"attempts": [INSTANCE | {"instance_id": "7"}]}, kind="accepted"), "invalid", "1"),
        (
            frame(
                {"reports": [INSTANCE | {"seq": n + 1, "status": "running", "at_ms": 1} for n in range(101)]},
                kind="report",
            ),
            "invalid",
            "1",
        ),
        (
            frame({"reports": [INSTANCE | {"seq": 1, "status": "lost", "at_ms": 1}]}, kind="report"),
            "invalid",
            "1",
        ),
        (
            frame(
                {"chunks": [INSTANCE | {"stream": "stdout", "offset": 0, "data": "%%%", "at_ms": 1}]},
                kind="output",
            ),
            "invalid",
            "1",
        ),
        (
            frame(
                {"nonce": 1, "status": "idle", "running": 0, "metrics": {"cpu_usage": 10**390}},
                kind="heartbeat",
            ),
            "invalid",
            "1",
        ),
    ],
)
def test_a_frame_whose_content_is_wrong_is_named_and_refused(text, code, frame_id):
    with pytest.raises(MessageError) as refusal:
        decode_frame(text, MESSAGES)
    assert (refusal.value.code, refusal.value.frame_id) == (code, frame_id)
    assert len(refusal.value.detail) < 500


def test_a_message_comes_out_as_it_went_in():
    sent = Ready(nonce=2**53 - 1, slots=0)
    received = decode_frame(encode_frame(sent, frame_id="a", timestamp=5), MESSAGES)
    assert (received.id, received.timestamp, received.payload) == ("a", 5, sent)
    assert uuid.UUID(decode_frame(encode_frame(sent), MESSAGES).id)


def test_an_agents_message_is_unknown_from_a_server_and_the_other_way_round():
    with pytest.raises(MessageError, match="unknown_kind"):
        decode_frame(frame({"nonce": 1, "slots": 1}), SERVER_MESSAGES)
    with pytest.raises(MessageError, match="unknown_kind"):
        decode_frame(frame({"reason": "x", "reconnect_after_ms": 1}, kind="goodbye"), AGENT_MESSAGES)


# --- properties ----------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**399), 10**399),
    st.floats(),
    st.text(),
    st.sampled_from(["\ud800", "\x00", "running", INSTANCE["instance_id"], "aGVsbG8K", "🙂"]),
)
NAMES = st.sampled_from(
    sorted(
        {field for message in MESSAGES.values() for field in message.__struct_fields__}
        | {
            "instance_id",
            "token",
            "seq",
            "status",
            "at_ms",
            "stream",
            "offset",
            "data",
            "metrics",
            "cpu_usage",
        }
        | {"stdout", "result", "exit_code", "max_concurrent_tasks", "output_size"}
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(NAMES, st.text()), inner, max_size=6)
    ),
    max_leaves=20,
)
ENVELOPES = st.fixed_dictionaries(
    {
        "kind": st.one_of(st.sampled_from(sorted(MESSAGES)), VALUES),
        "id": st.one_of(st.uuids().map(str), VALUES),
        "timestamp": st.one_of(st.integers(0, 2**53), VALUES),
        "payload": VALUES,
    },
    optional={"extra": VALUES},
)


def decode_or_refuse(text):
    try:
        decode_frame(text, MESSAGES)
    except (FrameError, MessageError) as refusal:
        # Every refusal can be told to the peer and written to a log.
        str(refusal).encode()


@given(st.one_of(st.text(), st.binary()))
def test_any_text_decodes_or_is_refused(text):
    decode_or_refuse(text)


@given(ENVELOPES)
@settings(max_examples=300, deadline=None)
def test_any_frame_decodes_or_is_refused(envelope):
    decode_or_refuse(json.dumps(envelope))


@st.composite
def damaged_frames(draw):
    """A sound frame of any kind, with one value somewhere inside replaced by another."""
    example = draw(st.sampled_from(sorted(EXAMPLES)))
    value = json.loads(EXAMPLES[example])
    spot = value
    while True:
        key = draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
        if isinstance(spot[key], dict | list) and spot[key] and draw(st.booleans()):
            spot = spot[key]
        else:
            break
    spot[key] = draw(VALUES)
    return json.dumps(value)


EXAMPLES = {
    "register": frame(
        {
            "protocol": 1,
            "agent_id": INSTANCE["instance_id"],
            "epoch": INSTANCE["instance_id"],
            "name": "a",
            "version": "1",
            "hostname": "h",
            "labels": {"zone": "a"},
            "capabilities": {"max_concurrent_tasks": 1, "commands": ["bash"], "metadata": {}},
            "attempts": [INSTANCE | {"status": "running", "output_size": {"stdout": 1, "stderr": 0}}],
        },
        kind="register",
    ),
    "heartbeat": frame(
        {
            "nonce": 1,
            "status": "busy",
            "running": 1,
            "metrics": {"cpu_usage": 1.5, "load_1m": None},
            "attempts": [INSTANCE],
        },
        kind="heartbeat",
    ),
    "report": frame(
        {
            "reports": [
                INSTANCE
                | {
                    "seq": 1,
                    "status": "failed",
                    "at_ms": 1,
                    "exit_code": 3,
                    "signal": 9,
                    "error_message": "e",
                    "result": [1],
                    "metrics": {"cpu_time": 0.5, "memory_peak": 1},
                    "output_size": 5,
                    "output_truncated": False,
                    "start_delay_ms": 0.5,
                }
            ]
        },
        kind="report",
    ),
    "output": frame(
        {"chunks": [INSTANCE | {"stream": "stdout", "offset": 0, "data": "aGVsbG8K", "at_ms": 1}]},
        kind="output",
    ),
    "log": frame({"lines": [{"at_ms": 1, "level": "info", "message": "m"}]}, kind="log"),
}


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_the_frames_that_are_damaged_below_are_sound(kind):
    frame = decode_frame(EXAMPLES[kind], MESSAGES)
    assert kind == frame.payload.KIND


@given(damaged_frames())
@settings(max_examples=500, deadline=None)
def test_a_frame_damaged_anywhere_decodes_or_is_refused(text):
    decode_or_refuse(text)
