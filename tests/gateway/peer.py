"""An agent of a few lines, written from the protocol page alone: what outside agents rely on."""

import asyncio
import base64
import json
import time
import uuid
from typing import Any, ClassVar

from websockets.asyncio.client import ClientConnection, connect

LIMIT_SECS = 10


class Peer:
    """One socket of a scripted agent."""

    open_sockets: ClassVar[list[ClientConnection]] = []

    def __init__(self, socket: ClientConnection, agent_id: str) -> None:
        self.socket = socket
        self.agent_id = agent_id
        self.open_sockets.append(socket)

    @classmethod
    async def close_all(cls) -> None:
        while cls.open_sockets:
            await cls.open_sockets.pop().close()

    @classmethod
    async def connect(cls, port: int, *, agent_id: str, token: str) -> "Peer":
        socket = await connect(
            f"ws://127.0.0.1:{port}/ws/agent",
            subprotocols=["hetuflow.agent.v1"],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
        )
        return cls(socket, agent_id)

    async def send(self, kind: str, **payload: Any) -> str:
        frame_id = str(uuid.uuid4())
        frame = {"kind": kind, "id": frame_id, "timestamp": time.time_ns() // 10**6, "payload": payload}
        await self.socket.send(json.dumps(frame))
        return frame_id

    async def receive(self, kind: str) -> dict[str, Any]:
        """Return the payload of the next frame of that kind; others before it are passed over."""
        async with asyncio.timeout(LIMIT_SECS):
            while True:
                frame = json.loads(await self.socket.recv())
                if frame["kind"] == kind:
                    return dict(frame["payload"])

    async def register(self, *, epoch: str | None = None, slots: int = 4, **more: Any) -> dict[str, Any]:
        await self.send(
            "register",
            **{
                "protocol": 1,
                "agent_id": self.agent_id,
                "epoch": epoch or str(uuid.uuid4()),
                "name": "peer",
                "version": "1",
                "hostname": "host",
                "labels": {},
                "capabilities": {"max_concurrent_tasks": slots, "commands": ["bash"], "metadata": {}},
                "attempts": [],
                **more,
            },
        )
        return await self.receive("registered")

    async def take(self, *, slots: int = 4) -> dict[str, Any]:
        """Offer slots and return the first task that is dispatched."""
        await self.send("ready", nonce=1, slots=slots)
        dispatch = await self.receive("dispatch")
        task: dict[str, Any] = dispatch["tasks"][0]
        await self.send("accepted", attempts=[self.ref(task)])
        return task

    async def report(self, task: dict[str, Any], status: str, *, seq: int = 1, **more: Any) -> dict[str, Any]:
        now = time.time_ns() // 10**6
        await self.send(
            "report", reports=[{**self.ref(task), "seq": seq, "status": status, "at_ms": now, **more}]
        )
        return await self.receive("ack")

    async def output(self, task: dict[str, Any], data: bytes, *, offset: int = 0) -> dict[str, Any]:
        chunk = {
            **self.ref(task),
            "stream": "stdout",
            "offset": offset,
            "data": base64.b64encode(data).decode(),
            "at_ms": time.time_ns() // 10**6,
        }
        await self.send("output", chunks=[chunk])
        return await self.receive("ack")

    async def close_code(self) -> int | None:
        """Return the code with which the server closes the socket."""
        async with asyncio.timeout(LIMIT_SECS):
            await self.socket.wait_closed()
        return self.socket.close_code

    @staticmethod
    def ref(task: dict[str, Any]) -> dict[str, Any]:
        return {"instance_id": task["instance_id"], "token": task["token"]}
