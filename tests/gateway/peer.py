"""An agent of a few lines, written from the protocol page alone: what outside agents rely on."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

from django.db import connection
from websockets.asyncio.client import ClientConnection, connect

LIMIT_SECS = 10
T = TypeVar("T")


def run(conversation: Coroutine[Any, Any, T]) -> T:
    """Run a conversation to its end and close its sockets, so that nothing of it outlives the test."""

    async def whole() -> T:
        try:
            return await conversation
        finally:
            await Peer.close_all()

    return asyncio.run(whole())


async def in_thread(work: Callable[[], T]) -> T:
    """Do something with the database beside a conversation."""

    def call() -> T:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(call)


async def until(condition: Callable[[], Any], *, limit_secs: float = LIMIT_SECS) -> Any:
    """Wait until `condition`, asked of the database, is true, and return what it returned."""
    async with asyncio.timeout(limit_secs):
        while not (value := await in_thread(condition)):  # noqa: ASYNC110 (no event tells of a row)
            await asyncio.sleep(0.02)
        return value


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
    async def connect(cls, port: int, *, agent_id: str, token: str, **more: Any) -> "Peer":
        socket = await connect(
            f"ws://127.0.0.1:{port}/ws/agent",
            **{
                "subprotocols": ["hetuflow.agent.v1"],
                "additional_headers": {"Authorization": f"Bearer {token}"},
                "compression": None,
                "max_size": 256 * 1024,
                **more,
            },
        )
        return cls(socket, agent_id)

    @classmethod
    async def registered(
        cls, port: int, *, slots: int = 4, epoch: str | None = None, **credentials: str
    ) -> "Peer":
        """Connect and register."""
        peer = await cls.connect(port, **credentials)
        await peer.register(slots=slots, epoch=epoch)
        return peer

    async def send(self, kind: str, **payload: Any) -> str:
        frame_id = str(uuid.uuid4())
        frame = {"kind": kind, "id": frame_id, "timestamp": time.time_ns() // 10**6, "payload": payload}
        await self.socket.send(json.dumps(frame))
        return frame_id

    async def receive(self, kind: str) -> dict[str, Any]:
        """Return the payload of the next frame of that kind; others before it are passed over."""
        return await self.receive_any(kind)

    async def receive_any(self, *kinds: str) -> dict[str, Any]:
        """Return the payload of the next frame of one of these kinds."""
        async with asyncio.timeout(LIMIT_SECS):
            while True:
                frame = json.loads(await self.socket.recv())
                if frame["kind"] in kinds:
                    return dict(frame["payload"])

    async def register(self, *, epoch: str | None = None, slots: int = 4, **more: Any) -> dict[str, Any]:
        await self.send("register", **self.registration(epoch=epoch, slots=slots, **more))
        return await self.receive("registered")

    def registration(self, *, epoch: str | None = None, slots: int = 4, **more: Any) -> dict[str, Any]:
        return {
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
        }

    async def heartbeat(self, *tasks: dict[str, Any], nonce: int = 1, **more: Any) -> dict[str, Any]:
        """Send a heartbeat that names the attempts of `tasks` and return the lease."""
        await self.send(
            "heartbeat",
            **{
                "nonce": nonce,
                "status": "busy" if tasks else "idle",
                "running": len(tasks),
                "metrics": {},
                "attempts": [self.ref(task) for task in tasks],
                **more,
            },
        )
        return await self.receive("lease")

    async def hears_nothing(self, kind: str, *, secs: float) -> bool:
        """Return whether no frame of that kind comes for a while."""
        try:
            async with asyncio.timeout(secs):
                while json.loads(await self.socket.recv())["kind"] != kind:
                    pass
        except TimeoutError:
            return True
        return False

    async def take(self, *, slots: int = 4) -> dict[str, Any]:
        """Offer slots and return the first task that is dispatched."""
        await self.send("ready", nonce=1, slots=slots)
        dispatch = await self.receive("dispatch")
        task: dict[str, Any] = dispatch["tasks"][0]
        await self.send("accepted", attempts=[self.ref(task)])
        return task

    async def report(self, task: dict[str, Any], status: str, *, seq: int = 1, **more: Any) -> dict[str, Any]:
        return await self.acknowledged(
            await self.send("report", reports=[self.fact(task, status, seq=seq, **more)])
        )

    async def acknowledged(self, frame_id: str) -> dict[str, Any]:
        """Return the acknowledgement of that message."""
        while frame_id not in (ack := await self.receive("ack"))["ids"]:
            pass
        return ack

    def fact(self, task: dict[str, Any], status: str, *, seq: int = 1, **more: Any) -> dict[str, Any]:
        at_ms = time.time_ns() // 10**6
        return {**self.ref(task), "seq": seq, "status": status, "at_ms": at_ms, **more}

    async def output(self, task: dict[str, Any], data: bytes, *, offset: int = 0) -> dict[str, Any]:
        chunk = {
            **self.ref(task),
            "stream": "stdout",
            "offset": offset,
            "data": base64.b64encode(data).decode(),
            "at_ms": time.time_ns() // 10**6,
        }
        return await self.acknowledged(await self.send("output", chunks=[chunk]))

    async def close_code(self, *, limit_secs: float = LIMIT_SECS) -> int | None:
        """Return the code with which the server closes the socket."""
        async with asyncio.timeout(limit_secs):
            await self.socket.wait_closed()
        return self.socket.close_code

    @staticmethod
    def ref(task: dict[str, Any]) -> dict[str, Any]:
        return {"instance_id": task["instance_id"], "token": task["token"]}
