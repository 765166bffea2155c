"""Record the session of this version: a real agent and a real server, and all that may pass between them.

`make record` runs this; it is no test that others run.
"""

import json
import signal
from datetime import timedelta

import pytest

from gateway.models import AgentCommand
from hetuflow import __version__
from scheduling.clock import database_now
from scheduling.models import TaskInstance
from scheduling.services import manual
from tests import factories
from tests.e2e.network import Relay
from tests.e2e.oracle import quiesce, until
from tests.recordings import session
from tests.recordings.session import Line

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
# Heartbeats often, and work long before its time: so little has to be waited for.
SERVER = {"HETUFLOW_HEARTBEAT_SECS": "0.5", "HETUFLOW_LEAD_SECS": "60"}
GATED = 'echo before; until [ -e "{gate}" ]; do sleep 0.05; done; echo after'


class Recorder:
    """Does things to an installation, and notes them between the frames that pass."""

    def __init__(self, fresh, relay):
        self._fresh = fresh
        self._relay = relay
        self._tasks = {}
        self.gate = fresh.folder / "gate"
        self.agent = None

    def do(self, what, **more):
        self._relay.recorded.append(("do", json.dumps({"do": what, **more})))

    def frames(self, kind):
        return [frame for _, text in self._relay.recorded if (frame := json.loads(text)).get("kind") == kind]

    def start_agent(self):
        leases = len(self.frames("lease"))
        self.do("start agent")
        if self.agent is None:
            self.agent = self._fresh.agent(port=self._relay.port, labels={"zone": "a"})
        else:
            self.agent.start_and_register()
        until(lambda: len(self.frames("lease")) > leases, "the first heartbeat is answered")

    def stop_agent(self, number):
        self.do("signal agent", signal=number.name)
        self.agent.send(number)
        if number != signal.SIGSTOP:
            self.agent.wait()

    def trigger(self, name, script, *, start_in_secs=0, environment=None, parameters=None, **config):
        job = {"name": name, "args": ["-c", script], "environment": environment or {}}
        job["config"] = {"max_retries": 0, **config}
        self.do("trigger", job=job, parameters=parameters or {}, start_in_secs=start_in_secs)
        now = database_now()
        at = now + timedelta(seconds=start_in_secs)
        made = factories.job(**job)
        self._tasks[name] = factories.task(job=made, now=now, scheduled_at=at, parameters=parameters).pk

    def until_it(self, name, **fields):
        attempts = TaskInstance.objects.filter(task_id=self._tasks[name], **fields)
        until(attempts.exists, f"{name} is {fields}")

    def until_done(self, *names):
        quiesce([self._tasks[name] for name in names])

    def cancel(self, name):
        self.do("cancel", job=name)
        manual.cancel(task_id=self._tasks[name], now=database_now())

    def command(self, name, **parameters):
        self.do("command", command=name, parameters=parameters)
        now = database_now()
        row = AgentCommand.objects.create(
            agent=self.agent.row, command=name, parameters=parameters, timeout_secs=10, created_at=now
        )
        until(lambda: AgentCommand.objects.get(pk=row.pk).answered_at, f"the agent answers {name}")


def test_record_a_session(fresh):
    server = fresh.server(**SERVER)
    with Relay(server.port).running() as relay:
        relay.record()
        recorder = Recorder(fresh, relay)
        recorder.start_agent()
        run_to_their_ends(recorder)
        outlive_the_agent(recorder)
        obey(recorder)
        give_back(recorder)
        recorder.do("stop server")
        server.stop()
        until(lambda: recorder.frames("goodbye"), "the server says goodbye")
        recorder.agent.kill()
        lines = [Line(way, json.loads(text)) for way, text in relay.recorded]
    session.save(__version__, without_this_machine(lines), place=fresh.folder)


def run_to_their_ends(recorder):
    """Let work complete, fail, time out and be cancelled."""
    result = 'echo \'{"rows": 3}\' > "$HETUFLOW_RESULT_FILE"'
    script = f'echo "day $HETUFLOW_PARAM_DAY $STAGE"; echo warning >&2; {result}'
    recorder.trigger("hello", script, parameters={"day": 1}, environment={"STAGE": "test"})
    recorder.until_done("hello")
    recorder.trigger("fails", "echo in vain; exit 3")
    recorder.until_done("fails")
    recorder.trigger("hangs", "exec sleep 600", timeout_secs=1, kill_grace_secs=1)
    recorder.until_done("hangs")
    recorder.trigger("unwanted", "exec sleep 600", kill_grace_secs=1)
    recorder.until_it("unwanted", status="running")
    recorder.cancel("unwanted")
    recorder.until_done("unwanted")


def outlive_the_agent(recorder):
    """Kill the agent: it finds its work again, some of it cancelled, and gets what it has not seen."""
    gated = GATED.format(gate=recorder.gate)
    for name in ("survivor", "stopped"):
        recorder.trigger(name, gated, kill_grace_secs=1)
        recorder.until_it(name, status="running", stdout_bytes=len("before\n"))
    recorder.stop_agent(signal.SIGSTOP)
    recorder.trigger("unseen", "echo seen")
    recorder.until_it("unseen")
    until(lambda: len(recorder.frames("dispatch")) == 7, "the dispatch is on its way")
    recorder.stop_agent(signal.SIGKILL)
    recorder.cancel("stopped")
    recorder.start_agent()
    recorder.until_done("unseen", "stopped")


def obey(recorder):
    """Let the agent drain while it has work, take up again, and answer what it knows and what not."""
    recorder.command("drain")
    until(
        lambda: any(beat["payload"]["status"] == "draining" for beat in recorder.frames("heartbeat")),
        "the agent says that it drains",
    )
    recorder.command("resume")
    recorder.do("open gate")
    recorder.gate.touch()
    recorder.until_done("survivor")
    recorder.command("fetch_metrics")
    recorder.command("dance")
    registrations = len(recorder.frames("registered"))
    recorder.command("update_config", max_concurrent_tasks=3)
    until(lambda: len(recorder.frames("registered")) > registrations, "the agent registers anew")


def give_back(recorder):
    """Interrupt the agent while it has work that has not begun."""
    recorder.trigger("not-begun", "echo never", start_in_secs=40)
    recorder.until_it("not-begun", status="dispatched")
    until(lambda: len(recorder.frames("accepted")) == 8, "the agent takes it")
    recorder.stop_agent(signal.SIGINT)
    until(lambda: "declined" in recorder.frames("accepted")[-1]["payload"], "the agent declines it")
    recorder.cancel("not-begun")
    recorder.start_agent()


def without_this_machine(lines):
    """Return the lines with a made-up name of the machine, which is the agent's too."""
    (hostname,) = {line.payload["hostname"] for line in lines if line.kind == "register"}
    for line in lines:
        yield Line(line.way, json.loads(json.dumps(line.said).replace(hostname, "builder-1.example.org")))
