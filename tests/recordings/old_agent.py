"""The agent's side of a recording, said to a server of today: it must answer as the server did then."""

import contextlib
import json
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from websockets.sync.client import ClientConnection, connect

from agents.models import Agent
from gateway.models import AgentCommand
from scheduling.clock import database_now
from scheduling.services import manual
from tests import factories
from tests.e2e.oracle import LIMIT_SECS
from tests.processes import Program
from tests.recordings.session import Json, Line, differences

# What each side names the other's things by; the same thing has the same place in both sessions.
_NAMES = ("instance_id", "token", "command_id", "agent_id")


class OldAgent:
    """Says what was recorded, with the ids and the time of today, and waits for what was answered."""

    def __init__(self, *, port: int, agent: Agent, token: str, server: Program) -> None:
        self._address = f"ws://127.0.0.1:{port}/ws/agent"
        self._agent = agent
        self._token = token
        self._server = server
        self._connection = contextlib.ExitStack()
        self._socket: ClientConnection | None = None
        self._heard: dict[str, list[Json]] = defaultdict(list)
        self._tasks: dict[str, int] = {}
        self.today: dict[tuple[str, Any], Any] = {}
        self.differences: list[str] = []

    def play(self, lines: list[Line]) -> None:
        with self._connection:
            for line in lines:
                {"up": self._say, "down": self._expect, "do": self._do}[line.way](line)

    # --- what the agent said ---------------------------------------------------------------------------

    def _say(self, line: Line) -> None:
        if line.kind == "register":
            self._connect()
            self.today["agent_id", line.payload["agent_id"]] = str(self._agent.pk)
        assert self._socket is not None
        later_ms = time.time_ns() // 10**6 - line.said["timestamp"]
        self._socket.send(json.dumps(self._as_of_today(line.said, later_ms)))

    def _connect(self) -> None:
        self._connection.close()
        self._heard.clear()
        session = connect(
            self._address,
            subprotocols=["hetuflow.agent.v1"],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Bearer {self._token}"},
            compression=None,
        )
        self._socket = self._connection.enter_context(session)

    def _as_of_today(self, value: Any, later_ms: int, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._as_of_today(inner, later_ms, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._as_of_today(inner, later_ms, key) for inner in value]
        if key in ("timestamp", "at_ms"):
            return value + later_ms
        return self.today.get((key, value), value)

    # --- what the server answered ----------------------------------------------------------------------

    def _expect(self, line: Line) -> None:
        """Wait until the server of today has said what the line says, and compare."""
        if line.kind == "ack":
            self._expect_acknowledgement(line.payload)
        elif line.kind in ("dispatch", "registered"):
            self._expect_tasks(line)
        else:
            named = next((name for name in ("nonce", "instance_id", "command") if name in line.payload), None)
            value = self.today.get((named, line.payload.get(named)), line.payload.get(named))
            heard = self._await(line.kind, lambda said: named is None or said[named] == value)
            self._compare(line.kind, line.payload, heard)

    def _expect_acknowledgement(self, recorded: Json) -> None:
        for frame_id in recorded["ids"]:
            heard = self._await("ack", lambda said, frame_id=frame_id: frame_id in said["ids"])
            self._compare("ack", recorded | {"offsets": []}, heard | {"offsets": []})
            assert not heard["stale"] or recorded["stale"], heard

    def _expect_tasks(self, line: Line) -> None:
        """Tasks come in as many dispatches as the server likes; each is known by its job."""
        recorded = line.payload
        if line.kind == "registered":
            heard = self._await("registered", lambda said: True)
            for then, now in zip(recorded["attempts"], heard["attempts"], strict=True):
                assert now["instance_id"] == self.today["instance_id", then["instance_id"]]
            self._compare("registered", recorded | {"resend": []}, heard | {"resend": []})
            self._match(recorded["resend"], heard["resend"])
            assert len(heard["resend"]) == len(recorded["resend"])
            return
        for task in recorded["tasks"]:
            name = task["job_name"]
            heard = self._await(
                "dispatch", lambda said, name=name: name in {one["job_name"] for one in said["tasks"]}
            )
            self._compare("dispatch", recorded | {"tasks": []}, heard | {"tasks": []})
            self._match([task], [one for one in heard["tasks"] if one["job_name"] == name])

    def _match(self, recorded: list[Json], heard: list[Json]) -> None:
        for task in recorded:
            (now,) = [one for one in heard if one["job_name"] == task["job_name"]]
            self._compare("task", task, now)

    def _compare(self, what: str, recorded: Json, heard: Json) -> None:
        self.differences += differences(recorded, heard, at=what)
        for name in _NAMES:
            if name in recorded:
                assert self.today.setdefault((name, recorded[name]), heard[name]) == heard[name], heard

    def _await(self, kind: str, is_it: Callable[[Json], bool]) -> Json:
        """Return the newest message of that kind that is the one, read from the socket where it must be."""
        assert self._socket is not None
        deadline = time.monotonic() + LIMIT_SECS
        while True:
            for said in reversed(self._heard[kind]):
                if is_it(said):
                    return said
            frame = json.loads(self._socket.recv(timeout=deadline - time.monotonic()))
            assert frame["kind"] != "nack", frame
            self._heard[frame["kind"]].append(frame["payload"])

    # --- what else happened ----------------------------------------------------------------------------

    def _do(self, line: Line) -> None:
        now = database_now()
        said = line.said
        if line.kind == "trigger":
            at = now + timedelta(seconds=said["start_in_secs"])
            job = factories.job(**said["job"])
            task = factories.task(job=job, now=now, scheduled_at=at, parameters=said["parameters"])
            self._tasks[job.name] = task.pk
        elif line.kind == "cancel":
            manual.cancel(task_id=self._tasks[said["job"]], now=now)
        elif line.kind == "command":
            AgentCommand.objects.create(
                agent=self._agent,
                command=said["command"],
                parameters=said["parameters"],
                timeout_secs=10,
                created_at=now,
            )
        elif line.kind == "stop server":
            self._server.send(signal.SIGTERM)
        elif line.kind == "signal agent" and said["signal"] == "SIGKILL":
            self._connection.close()
