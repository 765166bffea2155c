"""What an idle agent's connection costs the server in memory."""

import asyncio
import json
import resource
import subprocess
import sys
import time
import uuid
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.installation import ROOT, Installation
from benchmarks.table import Row

HEARTBEAT_SECS = 5.0


def measure(place: Installation, quick: bool) -> list[Row]:
    """Connect scripted agents from a process of their own and look at the server before and after."""
    from agents.services import create_agent  # noqa: PLC0415 (after the settings are known)
    from agents.tokens import issue_token  # noqa: PLC0415

    count, warm_up = (20, 5) if quick else (1000, 50)
    settle_secs = 1.0 if quick else 3 * HEARTBEAT_SECS
    agents = [create_agent(name=f"idle-{uuid.uuid4().hex[:12]}") for _ in range(count + warm_up)]
    tokens = [(str(agent.pk), issue_token(agent=agent).secret) for agent in agents]
    with place.server() as (server, port):
        warm = _connect(port, tokens[:warm_up])
        time.sleep(settle_secs)
        before = server.memory_info().rss
        begin = time.monotonic()
        many = _connect(port, tokens[warm_up:])
        connect_secs = time.monotonic() - begin
        time.sleep(settle_secs)
        after = server.memory_info().rss
        cpu_before, begin = sum(server.cpu_times()[:2]), time.monotonic()
        time.sleep(settle_secs)
        busy = (sum(server.cpu_times()[:2]) - cpu_before) / (time.monotonic() - begin)
        for client in (warm, many):
            assert client.stdin is not None
            client.stdin.close()
            client.wait(60)
    return [
        Row(f"{count} idle connections", f"{(after - before) / count / 1024:.1f} KiB each", "< 64 KiB"),
        Row("the server's memory", f"{before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after"),
        Row("connecting and registering all at once", f"{count / connect_secs:.0f} agents/s"),
        Row(
            "the server's CPU meanwhile",
            f"{busy * 100:.1f} % of a core, heartbeats every {HEARTBEAT_SECS:g} s",
        ),
    ]


def _connect(port: int, tokens: list[tuple[str, str]]) -> subprocess.Popen[str]:
    """Start a process that keeps agents connected, and return when all are."""
    client = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.connections", str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(json.dumps(tokens) + "\n")
    client.stdin.flush()
    assert client.stdout.readline() == "connected\n"
    return client


async def _stay_connected(port: int, tokens: list[tuple[str, str]]) -> None:
    limit = asyncio.Semaphore(50)

    async def open_one(agent_id: str, token: str) -> ClientConnection:
        async with limit:
            socket = await connect(
                f"ws://127.0.0.1:{port}/ws/agent",
                subprotocols=["hetuflow.agent.v1"],  # type: ignore[list-item]
                additional_headers={"Authorization": f"Bearer {token}"},
                compression=None,
                open_timeout=60,
                ping_interval=None,
            )
            await socket.send(_frame("register", **_registration(agent_id)))
            assert json.loads(await socket.recv())["kind"] == "registered"
            return socket

    sockets = await asyncio.gather(*(open_one(agent_id, token) for agent_id, token in tokens))
    print("connected", flush=True)
    beats = [asyncio.create_task(_beat(socket, n / len(sockets))) for n, socket in enumerate(sockets)]
    await asyncio.to_thread(sys.stdin.readline)
    for beat in beats:
        beat.cancel()


async def _beat(socket: ClientConnection, phase: float) -> None:
    await asyncio.sleep(phase * HEARTBEAT_SECS)
    while True:
        await socket.send(_frame("heartbeat", nonce=1, status="idle", running=0, metrics={}, attempts=[]))
        assert json.loads(await socket.recv())["kind"] == "lease"
        await asyncio.sleep(HEARTBEAT_SECS)


def _frame(kind: str, **payload: Any) -> str:
    return json.dumps(
        {"kind": kind, "id": str(uuid.uuid4()), "timestamp": time.time_ns() // 10**6, "payload": payload}
    )


def _registration(agent_id: str) -> dict[str, Any]:
    return {
        "protocol": 1,
        "agent_id": agent_id,
        "epoch": str(uuid.uuid4()),
        "name": "idle",
        "version": "1",
        "hostname": "host",
        "labels": {},
        "capabilities": {"max_concurrent_tasks": 4, "commands": ["exec"], "metadata": {}},
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(_stay_connected(int(sys.argv[1]), json.loads(sys.stdin.readline())))
