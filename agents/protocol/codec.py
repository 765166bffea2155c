"""Frames: one JSON object in one text message, `{"kind", "id", "timestamp", "payload"}`."""

import time
import uuid
from typing import Any, Final

import msgspec

from agents.protocol.messages import Payload
from agents.protocol.strict_json import StrictJsonError, parse_strict


class FrameError(Exception):
    """The text is not a frame at all: the socket is closed with 1007."""


class MessageError(Exception):
    """The frame is sound but its message is not: answered by a `nack` with `code` and `detail`."""

    def __init__(self, *, frame_id: str | None, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.frame_id = frame_id
        self.code = code
        self.detail = detail


class Frame(msgspec.Struct, frozen=True):
    """A decoded message with what its envelope said."""

    id: str
    timestamp: int
    payload: Payload


class _Envelope(msgspec.Struct):
    kind: str
    id: str
    timestamp: int
    payload: msgspec.Raw | Payload


_ENVELOPE: Final = {"kind", "id", "timestamp", "payload"}
_encoder = msgspec.json.Encoder()


def encode_frame(payload: Payload, *, frame_id: str | None = None, timestamp: int | None = None) -> str:
    """Return the text of a frame; `frame_id` is a fresh UUID and `timestamp` this moment unless given."""
    envelope = _Envelope(
        kind=payload.KIND,
        id=frame_id or str(uuid.uuid4()),
        timestamp=time.time_ns() // 1_000_000 if timestamp is None else timestamp,
        payload=payload,
    )
    return _encoder.encode(envelope).decode()


def decode_frame(text: str | bytes, messages: dict[str, type[Payload]]) -> Frame:
    """Return the frame that `text` holds, its payload decoded as the class that `messages` has for its kind.

    A class that forbids unknown fields forbids them around its payload too.
    Raises FrameError where the text is no strict JSON object, MessageError (`unknown_kind`, `invalid`)
    where its content is not a message.
    """
    try:
        value = parse_strict(text)
    except StrictJsonError as error:
        raise FrameError(str(error)) from None
    if not isinstance(value, dict):
        raise FrameError("a frame is a JSON object")
    frame_id = value.get("id")
    if not isinstance(frame_id, str) or not 0 < len(frame_id) <= 64:
        raise MessageError(
            frame_id=None, code="invalid", detail="id: expected a string of 1 to 64 characters"
        )
    kind = value.get("kind")
    timestamp = value.get("timestamp")
    if not isinstance(kind, str):
        raise MessageError(frame_id=frame_id, code="invalid", detail="kind: expected a string")
    if type(timestamp) is not int:
        raise MessageError(frame_id=frame_id, code="invalid", detail="timestamp: expected an integer")
    message = messages.get(kind)
    if message is None:
        raise MessageError(frame_id=frame_id, code="unknown_kind", detail=f"unknown kind {kind[:80]!r}")
    unknown = value.keys() - _ENVELOPE
    if unknown and message.__struct_config__.forbid_unknown_fields:
        raise MessageError(frame_id=frame_id, code="invalid", detail=f"unknown field {min(unknown)[:80]!r}")
    return Frame(id=frame_id, timestamp=timestamp, payload=_convert(frame_id, value.get("payload"), message))


def _convert(frame_id: str, payload: Any, message: type[Payload]) -> Payload:
    try:
        return msgspec.convert(payload, message)
    except msgspec.ValidationError as error:
        raise MessageError(frame_id=frame_id, code="invalid", detail=f"payload: {error}") from None
