"""Take a WebSocket apart into what passes as a whole: handshake, control frames, messages (RFC 6455, 5.2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_MAX_HEAD_BYTES: Final = 64 * 1024
_FINAL: Final = 0x80
_CONTROL: Final = 0x08
_MASKED: Final = 0x80


@dataclass(frozen=True)
class Piece:
    """Bytes as they came; `text` is a text message's, None where this is none."""

    raw: bytes
    is_frame: bool
    text: str | None = None


@dataclass(frozen=True)
class _Frame:
    raw: bytes
    opcode: int
    is_final: bool
    payload: bytes


class FrameStream:
    """One way of a connection. What does not become a WebSocket passes as it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_websocket: bool | None = None
        self._fragments: list[_Frame] = []

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Return the pieces that are whole by now; of a fragmented message that is all its frames at once."""
        self._rest += data
        if self._is_websocket is None:
            yield from self._head()
        if self._is_websocket is False:
            raw, self._rest = self._rest, b""
            if raw:
                yield Piece(raw, is_frame=False)
        while self._is_websocket and (frame := self._next_frame()):
            if frame.opcode & _CONTROL:
                yield Piece(frame.raw, is_frame=True)
                continue
            self._fragments.append(frame)
            if frame.is_final:
                fragments, self._fragments = self._fragments, []
                yield _message(fragments)

    def _head(self) -> Iterator[Piece]:
        end = self._rest.find(_HEAD_END)
        if end >= 0:
            head, self._rest = self._rest[: end + len(_HEAD_END)], self._rest[end + len(_HEAD_END) :]
            self._is_websocket = b"upgrade: websocket" in head.lower()
            yield Piece(head, is_frame=False)
        elif len(self._rest) > _MAX_HEAD_BYTES:
            self._is_websocket = False

    def _next_frame(self) -> _Frame | None:
        data = self._rest
        if len(data) < 2:
            return None
        size, at = data[1] & ~_MASKED, 2
        if size >= 126:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at], "big")
        mask = b""
        if data[1] & _MASKED:
            mask = data[at : at + 4]
            at += 4
        if len(data) < at + size:
            return None
        raw, self._rest = data[: at + size], data[at + size :]
        return _Frame(raw, data[0] & 0x0F, bool(data[0] & _FINAL), _unmasked(raw[at:], mask))


def _message(fragments: list[_Frame]) -> Piece:
    payload = b"".join(fragment.payload for fragment in fragments)
    is_text = fragments[0].opcode == 1
    raw = b"".join(fragment.raw for fragment in fragments)
    return Piece(raw, is_frame=True, text=payload.decode(errors="replace") if is_text else None)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    if not mask:
        return payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
