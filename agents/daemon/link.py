"""How a shim talks with the daemon, there or not.

What happens it says on a pipe that it shares with the other shims of its launcher: one write for an event,
and one descriptor for the daemon to read. An attempt that lasts opens a socket as well, over which the
daemon gives orders, and over which another daemon finds it.
"""

from __future__ import annotations

import json
import os
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from agents.daemon.lifetime import Attempt

SOCKET: Final = "daemon.sock"
EVENTS: Final = 1  # the descriptor of the shared pipe

_READ_BYTES: Final = 64 * 1024
_NOTIFY_SECS: Final = 0.05
_RECONNECT_SECS: Final = 0.25
_NEVER: Final = float("inf")
_encode = json.JSONEncoder().encode


class DaemonLink:
    """The ways to the daemon: the pipe to say things, the socket to be told; there or not."""

    def __init__(self, folder: str, attempt: Attempt) -> None:
        self._agent_dir = os.path.dirname(os.path.dirname(folder))
        self._attempt = attempt
        self._has_pipe = True
        self._socket: socket.socket | None = None
        self._try_at = _NEVER
        self._notify_at = _NEVER

    @property
    def next_try_in(self) -> float:
        """Seconds until `tend` has something to do."""
        return max(0.0, min(self._try_at, self._notify_at) - time.monotonic())

    def connect(self) -> None:
        """Find the daemon and say who we are; without one, try again later."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.setblocking(False)
        folder = -1
        try:
            # By descriptor, because the path of a socket must be shorter than a folder's may be.
            folder = os.open(self._agent_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            link.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            link.send(_encode(self._attempt.state).encode())
        except OSError:
            link.close()
            self._try_at = time.monotonic() + _RECONNECT_SECS
            return
        finally:
            if folder >= 0:
                os.close(folder)
        self._socket = link
        self._try_at = _NEVER
        self._attempt.watch(link.fileno(), self._on_message)

    def say(self, message: dict[str, Any]) -> None:
        """Tell the daemon something, whichever daemon there is."""
        data = _encode(message).encode()
        if self._has_pipe:
            try:
                os.write(EVENTS, data + b"\n")  # shorter than PIPE_BUF, so never torn
            except OSError:
                self._has_pipe = False  # its daemon is gone, another one finds us by the socket
            else:
                return
        if self._socket is None:
            self.connect()
        if self._socket is not None:
            try:
                self._socket.send(data)
            except OSError:
                self._drop()  # behind or gone; a fresh connection says everything that counts

    def note_output(self) -> None:
        """Let the daemon know soon that there is more output."""
        if self._notify_at == _NEVER:
            self._notify_at = time.monotonic() + _NOTIFY_SECS

    def tend(self) -> None:
        """Do what is due: reconnect, or tell of output."""
        now = time.monotonic()
        if now >= self._try_at:
            self.connect()
        if now >= self._notify_at:
            self._notify_at = _NEVER
            self.say({"id": self._attempt.state["id"], "output": True})

    def close(self) -> None:
        """Let go of the socket; the pipe is every shim's."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _on_message(self, _descriptor: int) -> None:
        assert self._socket is not None  # noqa: S101
        try:
            message = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._has_pipe = False
            self._drop()
            return
        order = json.loads(message)
        if order["do"] == "stop":
            grace_secs = order["grace_secs"]
            self._attempt.stop(
                order["status"],
                order["reason"],
                self._attempt.grace_secs if grace_secs is None else float(grace_secs),
            )
        elif order["do"] == "lease":
            self._attempt.renew_lease(float(order["until"]))

    def _drop(self) -> None:
        if self._socket is not None:
            self._attempt.unwatch(self._socket.detach())
            self._socket = None
            self._try_at = time.monotonic() + _RECONNECT_SECS
