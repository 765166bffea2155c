"""Requests as Django gets them from ASGI: how long they are, and what they get from a silent database."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any, Final

from django.core.handlers.asgi import ASGIHandler, ASGIRequest

from gateway.runtime import runtime_of_process
from hetuflow.response_headers import DATA_POLICY

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_UNAVAILABLE: Final = json.dumps(
    {
        "type": "server_error",
        "errors": [
            {
                "code": "unavailable",
                "detail": "The database is not available; try again.",
                "attr": None,
            }
        ],
    }
).encode()
_HEADERS: Final = (
    (b"Content-Type", b"application/json"),
    (b"Content-Security-Policy", DATA_POLICY.encode()),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-store"),
)
# Asks the database in its own way, with its own patience.
_HEALTH: Final = ("/api/v1/health", "/api/v1/system/health")


class SizedRequest(ASGIRequest):
    """A request that knows how long its body is, whatever its headers say.

    A body in chunks has no `Content-Length`, and DRF takes a request without one for one without a body: what
    a client sent would be lost without a word.
    """

    def __init__(self, scope: dict[str, Any], body_file: IO[bytes]) -> None:
        super().__init__(scope, body_file)
        if "CONTENT_LENGTH" not in self.META:
            body_file.seek(0, os.SEEK_END)
            self.META["CONTENT_LENGTH"] = str(body_file.tell())
            body_file.seek(0)


class Application(ASGIHandler):
    """Django as an ASGI application, which answers programs though its database does not answer it."""

    request_class = SizedRequest

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        runtime = runtime_of_process()
        if runtime is None or not _is_for_machines(scope["path"]):
            await super().__call__(scope, receive, send)
            return
        if runtime.database_is_silent.is_set():
            await _refuse(send)
            return
        answer = _Answer(send)
        handling = asyncio.ensure_future(super().__call__(scope, receive, answer.send))
        silence = asyncio.ensure_future(runtime.database_is_silent.wait())
        try:
            await asyncio.wait((handling, silence), return_when=asyncio.FIRST_COMPLETED)
            if not handling.done() and not answer.has_begun:
                await answer.refuse()
            # Its thread waits for the database; to leave it would end it no sooner.
            await handling
        finally:
            silence.cancel()
            handling.cancel()


class _Answer:
    """The way back to a caller, closed to Django once the caller was told to come again."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_refused = False
        self.has_begun = False

    async def send(self, message: Mapping[str, Any]) -> None:
        if not self._is_refused:
            self.has_begun = True
            await self._send(message)

    async def refuse(self) -> None:
        self._is_refused = True
        await _refuse(self._send)


async def _refuse(send: Send) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _UNAVAILABLE})


def _is_for_machines(path: str) -> bool:
    return (path.startswith("/api/") or path == "/metrics") and path.rstrip("/") not in _HEALTH
