"""Let schemathesis send what the OpenAPI document allows, and what it does not, to a server with agents."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from tests.conformance import fuzz_files
from tests.conformance.client import Client
from tests.conformance.installation import Agent, Installation, Server
from tests.conformance.things import things_for
from tests.processes import ROOT

CHECKS: Final = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# What the document says of an agent that does not answer in time.
FORESEEN: Final = {("agents_commands", 504)}
LOOK_EVERY_SECS: Final = 0.5
CONFIGURATION: Final = """
[warnings]
fail-on = []
"""


@dataclass
class Outcome:
    """What schemathesis found: its own word, and the answers that were counted."""

    status: int
    said: str
    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accepted(self) -> set[str]:
        """The operations that did at least once what they are for."""
        return {name for name, found in self.answers.items() if any(200 <= status < 300 for status in found)}

    @property
    def requests(self) -> int:
        return sum(found.total() for found in self.answers.values())


class Fuzz:
    """A server with two agents and a few things of each kind; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installation = Installation(folder)
        self.server: Server = self.installation.server()
        self.server.first_answer()
        self.client: Client = self.installation.client(self.server)
        self.agents: list[Agent] = [self.installation.agent(self.client) for _ in range(2)]
        for agent in self.agents:
            # They obey orders, and run none of the commands that chance makes up.
            self.client.patch(f"/agents/{agent.id}", {"enabled": False})

    def close(self) -> None:
        self.installation.close()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.client.root.send("GET", "/api/schema?format=json").text)
        return found

    def run(self, *, seed: int, phases: str, max_examples: int, limit_secs: float) -> Outcome:
        """Run schemathesis to its end, with agents that come back when they were told to go."""
        record = fuzz_files.record(self.folder)
        record.write_text("")
        log = self.folder / "schemathesis.log"
        with log.open("wb") as output:
            process = self._start(seed=seed, phases=phases, max_examples=max_examples, output=output)
            self._wait(process, limit_secs)
        outcome = Outcome(process.returncode, log.read_text(errors="replace"))
        for line in record.read_text().splitlines():
            answer = json.loads(line)
            if answer["is_meant"]:
                outcome.answers[answer["operation"]][answer["status"]] += 1
            if answer["status"] >= 500 and (answer["operation"], answer["status"]) not in FORESEEN:
                outcome.failures.append(answer)
        return outcome

    def operations(self) -> set[str]:
        paths = self.document()["paths"].values()
        return {operation["operationId"] for methods in paths for operation in methods.values()}

    def _start(
        self, *, seed: int, phases: str, max_examples: int, output: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        configuration = self.folder / "schemathesis.toml"
        things = things_for(
            self.document(), self.installation, self.client, [agent.id for agent in self.agents]
        )
        fuzz_files.things(self.folder).write_text(json.dumps(things))
        configuration.write_text(CONFIGURATION)
        return subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "schemathesis.cli"),
                *("--config-file", str(configuration), "run"),
                f"http://127.0.0.1:{self.server.port}/api/schema?format=json",
                *("--header", f"Authorization: Bearer {self.installation.token}"),
                *("--phases", phases, "--max-examples", str(max_examples), "--seed", str(seed)),
                *("--checks", ",".join(CHECKS), "--continue-on-failure", "--no-shrink", "--no-color"),
                *("--request-timeout", "30", "--generation-database", "none"),
            ],
            # It keeps what it found in the folder that it runs in.
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.conformance.fuzz_hooks",
                fuzz_files.FOLDER_VARIABLE: str(self.folder),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def _wait(self, process: "subprocess.Popen[bytes]", limit_secs: float) -> None:
        """Wait for the end of the program; agents that it ended are started again."""
        deadline = time.monotonic() + limit_secs
        try:
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_EVERY_SECS)
                for agent in self.agents:
                    if not agent.is_running:
                        agent.start()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
