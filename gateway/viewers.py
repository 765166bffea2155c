"""The socket of a browser that watches an attempt: what it may say is where it is, and what it took.

    ← {"follow": {"stdout": 1024, "stderr": 0}}  send output from there on; null: of the state alone
    ← {"taken": 3}                                so many more messages were taken
    → {"output": [{"stream", "offset", "at", "data"}, …]}
    → {"state": {"status", "end", "is_cancelled", "log", "is_settled"}}

A browser that comes back says from where it lacks output, so nothing is missing or there twice. Closed with
1000 when the attempt has ended and all was sent, with 1008 when the session or the permission is over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from django.db import DatabaseError, InterfaceError

from agents.protocol import version
from gateway.browsers import Visit, admit
from gateway.runtime import running_runtime
from gateway.watching import WINDOW_MESSAGES, Viewer, in_viewing_thread
from scheduling.services.viewing import Place

logger = logging.getLogger(__name__)

_HANDSHAKE_LIMIT_SECS: Final = 4.0
MAX_MESSAGE_BYTES: Final = 1024
# More than anybody has pages open; each costs some memory and a place in every look.
MAX_SOCKETS_OF_A_USER: Final = 100
# As far as JavaScript counts exactly.
_MAX_OFFSET: Final = 2**53


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stdout: Annotated[int, msgspec.Meta(ge=0, lt=_MAX_OFFSET)]
    stderr: Annotated[int, msgspec.Meta(ge=0, lt=_MAX_OFFSET)]


class _Word(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a browser says."""

    follow: _Place | msgspec.UnsetType | None = msgspec.UNSET
    taken: Annotated[int, msgspec.Meta(ge=0, le=WINDOW_MESSAGES)] = 0


_decoder: Final = msgspec.json.Decoder(_Word)


async def viewer_socket(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Serve one socket of a browser, as an ASGI application."""
    await ViewerSocket(scope, send).run(receive)


class ViewerSocket:
    """One browser's socket, whole life. What it is shown comes from the runtime's watch."""

    def __init__(self, scope: dict[str, Any], send: Callable[..., Any]) -> None:
        self._scope = scope
        self._send = send
        self._viewer: Viewer | None = None
        self._is_closing = False

    async def run(self, receive: Callable[..., Any]) -> None:
        """Read messages until the socket is gone."""
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                if message["type"] == "websocket.connect":
                    await self._connect()
                elif not self._is_closing:
                    await self._receive(message)
        except Exception:
            logger.exception("the socket of a browser failed")
            await self._close(version.CLOSE_INTERNAL)
        finally:
            self._leave()

    async def _connect(self) -> None:
        instance_id = self._scope["url_route"]["kwargs"]["pk"]
        try:
            async with asyncio.timeout(_HANDSHAKE_LIMIT_SECS):
                self._watch = running_runtime().watch
                visit = await in_viewing_thread(lambda: admit(self._scope, instance_id))
        except (DatabaseError, InterfaceError, TimeoutError):
            await self._close(version.CLOSE_TRY_LATER)  # HTTP 503 where the ASGI server can
            return
        if visit is None:
            await self._close(version.CLOSE_POLICY)  # before the handshake is accepted: HTTP 403
        elif self._watch.count_of(visit.user_id) >= MAX_SOCKETS_OF_A_USER:
            await self._close(version.CLOSE_TRY_LATER)
        else:
            await self._open(visit)

    async def _open(self, visit: Visit) -> None:
        await self._send({"type": "websocket.accept"})
        self._viewer = Viewer(visit=visit, send_text=self._send_text, close=self._close)
        self._watch.join(self._viewer)

    async def _receive(self, message: dict[str, Any]) -> None:
        viewer, text = self._viewer, message.get("text")
        if viewer is None:
            return
        if text is not None and len(text) > MAX_MESSAGE_BYTES:
            await self._close(version.CLOSE_TOO_BIG)
            return
        try:
            word = _decoder.decode(text or "")
        except (msgspec.DecodeError, UnicodeEncodeError):
            await self._close(version.CLOSE_NOT_JSON)
            return
        if not viewer.note_taken(word.taken):
            await self._close(version.CLOSE_POLICY)
            return
        viewer.has_spoken = True
        if word.follow is None:
            viewer.place = None
        elif isinstance(word.follow, _Place):
            viewer.place = Place(stdout=word.follow.stdout, stderr=word.follow.stderr)
        self._watch.wake()

    async def _send_text(self, text: str) -> None:
        if not self._is_closing:
            # ASGI servers differ in whether they raise for a socket that is gone; its end is seen by `run`.
            with contextlib.suppress(OSError, RuntimeError):
                await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int) -> None:
        """Close the socket; nothing more is sent, and what still arrives on it is not looked at."""
        self._is_closing = True
        self._leave()
        with contextlib.suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": code})

    def _leave(self) -> None:
        viewer, self._viewer = self._viewer, None
        if viewer is not None:
            self._watch.leave(viewer)
