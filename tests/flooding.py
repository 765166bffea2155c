"""Peers that send as fast as they can, by plain sockets on threads: nothing in them slows them down."""

import base64
import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

_HANDSHAKE: Final = """GET /ws/agent HTTP/1.1\r
Host: 127.0.0.1\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: {key}\r
Sec-WebSocket-Protocol: hetuflow.agent.v1\r
Authorization: Bearer {token}\r
\r
"""
_WHOLE: Final = 0x81
PING: Final = 0x89
# When the flood begins: before the handshake is answered, then, or when the agent is registered.
Begins = Literal["unanswered", "unregistered", "registered"]


def frame(data: bytes, *, first: int = _WHOLE, claimed: int | None = None) -> bytes:
    """Return a client's frame, its mask all zeros; its header may claim another size."""
    size = len(data) if claimed is None else claimed
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 0x10000:
        head = bytes([first, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + size.to_bytes(8, "big")
    return head + bytes(4) + data


def message(kind: str, **payload: Any) -> bytes:
    """Return a message in a frame."""
    envelope = {
        "kind": kind,
        "id": str(uuid.uuid4()),
        "timestamp": time.time_ns() // 10**6,
        "payload": payload,
    }
    return frame(json.dumps(envelope).encode())


class Flood(threading.Thread):
    """One hostile agent: connects, registers, and sends `blocks` until it is cut off; then again, until told.

    `sent` counts bytes, `cut_off` how often the server ended a connection of it.
    """

    def __init__(
        self,
        port: int,
        *,
        agent_id: str,
        token: str,
        blocks: Callable[[], Iterator[bytes]],
        begins: Begins = "registered",
        reads: bool = True,
    ) -> None:
        super().__init__(daemon=True)
        self._port, self._agent_id, self._token = port, agent_id, token
        self._blocks, self._begins, self._reads = blocks, begins, reads
        self._ending = threading.Event()
        self.sent = self.cut_off = 0

    def run(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)) as peer:
                self._speak(peer)
            self.cut_off += not self._ending.is_set()

    def end(self) -> None:
        """Stop, and wait until that is so."""
        self._ending.set()
        self.join(20)

    def _speak(self, peer: socket.socket) -> None:
        peer.settimeout(0.2)
        key = base64.b64encode(os.urandom(16)).decode()
        peer.sendall(_HANDSHAKE.format(key=key, token=self._token).encode())
        if self._begins != "unanswered":
            self._until_heard(peer, b"\r\n\r\n")
        if self._begins == "registered":
            peer.sendall(self._registration())
            self._until_heard(peer, b'"registered"')
        if self._reads:
            threading.Thread(target=self._read, args=(peer,), daemon=True).start()
        for block in self._blocks():
            self._send(peer, block)
        while not self._ending.is_set() and self._is_open(peer):
            time.sleep(0.05)

    def _send(self, peer: socket.socket, block: bytes) -> None:
        view = memoryview(block)
        while view and not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                count = peer.send(view)
                self.sent += count
                view = view[count:]
        if self._ending.is_set():
            raise OSError

    def _read(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(TimeoutError):
                    if not peer.recv(2**16):
                        return

    def _is_open(self, peer: socket.socket) -> bool:
        """Whether the other end is still there, without reading anything."""
        try:
            return peer.send(b"") == 0 and _tcp_state(peer) == _ESTABLISHED
        except TimeoutError:
            return True

    def _until_heard(self, peer: socket.socket, text: bytes) -> None:
        heard = b""
        while text not in heard:
            with contextlib.suppress(TimeoutError):
                more = peer.recv(4096)
                if not more or self._ending.is_set():
                    raise OSError
                heard += more

    def _registration(self) -> bytes:
        return message(
            "register",
            protocol=1,
            agent_id=self._agent_id,
            epoch=str(uuid.uuid4()),
            name="flood",
            version="1",
            hostname="host",
            labels={},
            capabilities={"max_concurrent_tasks": 4, "commands": ["bash"], "metadata": {}},
            attempts=[],
        )


_ESTABLISHED: Final = 1


def _tcp_state(peer: socket.socket) -> int:
    return peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
