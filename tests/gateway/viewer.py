"""A browser's socket, of a few lines: what a page does to watch an attempt."""

import asyncio
import base64
import contextlib
import json
from collections import defaultdict
from typing import Any

from django.conf import settings
from django.test import Client
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.gateway.peer import LIMIT_SECS, Peer


class ViewerOfTests:
    """Takes what it is sent, as long as it is told to; `output` is what it was shown of each stream."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.output: dict[str, bytes] = defaultdict(bytes)
        self.order: list[tuple[str, bytes]] = []
        self.states: list[dict[str, Any]] = []
        Peer.open_sockets.append(socket)

    @classmethod
    async def connect(
        cls, port: int, instance_id: Any, browser: Client | None, *, origin: str | None = "", **more: Any
    ) -> "ViewerOfTests":
        own = f"http://127.0.0.1:{port}"
        name = settings.SESSION_COOKIE_NAME
        cookie = {"Cookie": f"other=1; {name}={browser.cookies[name].value}"} if browser else {}
        socket = await connect(
            f"ws://127.0.0.1:{port}/ws/admin/attempts/{instance_id}",
            origin=own if origin == "" else origin,  # type: ignore[arg-type]
            additional_headers=cookie,
            compression=None,
            **more,
        )
        return cls(socket)

    async def follow(self, *, stdout: int = 0, stderr: int = 0) -> None:
        await self.say(follow={"stdout": stdout, "stderr": stderr})

    async def say(self, **word: Any) -> None:
        await self.socket.send(json.dumps(word))

    async def hear(self, *, takes: bool = True) -> dict[str, Any]:
        """Return the next message, and say that it was taken."""
        async with asyncio.timeout(LIMIT_SECS):
            message: dict[str, Any] = json.loads(await self.socket.recv())
        for part in message.get("output", ()):
            data = base64.b64decode(part["data"])
            assert part["offset"] == len(self.output[part["stream"]])
            self.output[part["stream"]] += data
            self.order.append((part["stream"], data))
        if "state" in message:
            self.states.append(message["state"])
        if takes:
            # The server may have closed already; what it sent before is still to be heard.
            with contextlib.suppress(ConnectionClosed):
                await self.say(taken=1)
        return message

    async def until_shown(self, stdout: bytes, stderr: bytes = b"") -> None:
        """Listen until all of this was shown."""
        while (self.output["stdout"], self.output["stderr"]) != (stdout, stderr):
            await self.hear()

    async def until_closed(self) -> int | None:
        """Listen to the end, and return the code with which the server closes."""
        try:
            while True:
                await self.hear()
        except ConnectionClosed:
            return self.socket.close_code
