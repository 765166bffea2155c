"""The server's side of a recording, said to an agent of today: it must do and tell what it did then."""

import base64
import contextlib
import json
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.e2e.oracle import LIMIT_SECS
from tests.processes import Program
from tests.recordings.session import Json, Line, Told, meaning_of

Change = Callable[[Json], list[Json]]


def as_it_was(frame: Json) -> list[Json]:
    return [frame]


class OldServer:
    """Says what was recorded whenever the agent has told what came before it, each frame by way of `change`.

    What answers a message of the agent answers that of today: leases, acknowledgements, tasks for its slots.
    """

    def __init__(self, lines: list[Line], *, change: Change = as_it_was) -> None:
        self._lines = lines
        self._recorded = Told.by(lines)
        self._change = change
        self._inbox: queue.Queue[tuple[ServerConnection, Json]] = queue.Queue()
        self._socket: ServerConnection | None = None
        self._offer: int | None = None
        self._templates = {line.kind: line.payload for line in reversed(lines) if line.way == "down"}
        self._registrations: list[Json] = []
        self.told = Told()
        self._server = serve(
            self._listen,
            "127.0.0.1",
            0,
            subprotocols=["hetuflow.agent.v1"],  # type: ignore[list-item]
            compression=None,
        )
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "OldServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)

    def play(self, agent: Program, *, gate: Callable[[], Any]) -> None:
        for line in self._lines:
            if line.way == "up":
                self._await_the_same(line)
            elif line.way == "down":
                self._say(line)
            elif line.kind == "open gate":
                gate()
            elif line.kind == "signal agent":
                agent.send(signal.Signals[line.said["signal"]])
            elif line.kind == "start agent":
                if agent.is_running:
                    agent.wait()
                agent.start()

    # --- the agent of today ----------------------------------------------------------------------------

    def _listen(self, socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in socket:
                self._inbox.put((socket, json.loads(text)))

    def _take_in(self, frame: Json) -> None:
        """Note what the agent tells, and answer what wants an answer."""
        kind, payload = frame["kind"], frame["payload"]
        self.told.add(kind, payload)
        if kind == "register":
            self._registrations.append(payload)
            self._offer = None
        elif kind == "ready" and payload["slots"]:
            self._offer = payload["nonce"]
        elif kind == "heartbeat":
            lease = self._templates["lease"] | {"nonce": payload["nonce"], "server_time_ms": _now_ms()}
            self._send("lease", lease)
        elif kind in ("report", "output"):
            self._send(
                "ack", self._templates["ack"] | {"ids": [frame["id"]], "offsets": self._stored(payload)}
            )

    def _stored(self, payload: Json) -> list[Json]:
        chunks = payload.get("chunks", [])
        return [
            {
                "instance_id": chunk["instance_id"],
                "stream": chunk["stream"],
                "offset": len(self.told.output[chunk["instance_id"], chunk["stream"]]),
            }
            for chunk in chunks
        ]

    def _until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + LIMIT_SECS
        while not condition():
            try:
                self._socket, frame = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the agent did not tell within {LIMIT_SECS:g} s: {what}") from None
            self._take_in(frame)

    # --- the recording ---------------------------------------------------------------------------------

    def _await_the_same(self, line: Line) -> None:
        told, payload = self.told, line.payload
        if line.kind == "register":
            self._until(lambda: self._registrations, "who it is")
            _compare_registrations(payload, self._registrations.pop(0))
        elif line.kind == "heartbeat" and payload["status"] == "draining":
            self._until(lambda: "draining" in told.statuses, "that it drains")
        elif line.kind == "accepted":
            taken = {one["instance_id"] for one in payload.get("attempts", [])}
            refused = {one["instance_id"] for one in payload.get("declined", [])}
            self._until(lambda: taken <= told.accepted and refused <= told.declined.keys(), str(payload))
        elif line.kind == "report":
            for report in payload["reports"]:
                key = report["instance_id"], report["seq"]
                self._until(lambda key=key: key in told.reports, str(report))
                assert meaning_of(report).items() <= meaning_of(told.reports[key]).items()
        elif line.kind == "output":
            for chunk in payload["chunks"]:
                self._until(lambda chunk=chunk: self._has_printed(chunk), str(chunk))
        elif line.kind == "command_result":
            self._until(lambda: payload["command_id"] in told.answers, str(payload))

    def _has_printed(self, chunk: Json) -> bool:
        stream = chunk["instance_id"], chunk["stream"]
        end = chunk["offset"] + len(base64.b64decode(chunk["data"]))
        return self.told.output[stream][:end] == self._recorded.output[stream][:end]

    def _say(self, line: Line) -> None:
        payload = line.payload
        if line.kind in ("lease", "ack"):
            return
        if line.kind == "dispatch":
            self._until(lambda: self._offer is not None, "free slots")
            payload["nonce"] = self._offer
        if "server_time_ms" in payload:
            payload["server_time_ms"] = _now_ms()
        self._send(line.kind, payload)

    def _send(self, kind: str, payload: Json) -> None:
        assert self._socket is not None
        frame = {"kind": kind, "id": str(uuid.uuid4()), "timestamp": _now_ms(), "payload": payload}
        for each in self._change(frame):
            with contextlib.suppress(ConnectionClosed):
                self._socket.send(json.dumps(each))


def _compare_registrations(recorded: Json, today: Json) -> None:
    assert recorded["protocol"] == today["protocol"]
    assert recorded["labels"] == today["labels"]
    assert recorded["capabilities"]["max_concurrent_tasks"] == today["capabilities"]["max_concurrent_tasks"]
    named = [{one["instance_id"] for one in each.get("attempts", [])} for each in (recorded, today)]
    assert named[0] == named[1]


def _now_ms() -> int:
    return time.time_ns() // 10**6
