"""Agents and servers of releases that are out go on to work with those of today, as they did then."""

import copy
import os
import sys

import pytest

import hetuflow
from agents.daemon.agent import AGENT_VERSION
from agents.tokens import issue_token
from scheduling.models import TaskInstance
from tests import factories
from tests.agents.test_versions import at, structures
from tests.e2e import oracle
from tests.processes import Program, free_port, manage_program, wait_for_http
from tests.recordings import session
from tests.recordings.old_agent import OldAgent
from tests.recordings.old_server import OldServer, as_it_was
from tests.recordings.record import SERVER
from tests.recordings.session import Told, meaning_of

VERSIONS = session.recorded_versions()


def test_this_version_is_recorded():
    assert hetuflow.__version__ in VERSIONS, "`make record` writes it; commit what it wrote"
    assert hetuflow.__version__ == AGENT_VERSION


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recording_holds_all_that_may_pass(version, tmp_path):
    lines = session.load(version, place=tmp_path)
    kinds = {(line.way, line.kind) for line in lines}
    up = "register heartbeat ready accepted report output log command_result"
    down = "registered lease dispatch cancel command ack goodbye"
    assert kinds >= {("up", kind) for kind in up.split()} | {("down", kind) for kind in down.split()}
    told = Told.by(lines)
    ends = {report["status"] for report in told.reports.values()}
    assert ends == {"running", "completed", "failed", "timeout", "cancelled"}
    assert told.declined
    assert set(told.answers.values()) == {True, False}
    assert max(map(len, told.held)) > 1
    assert any(line.kind == "registered" and line.payload["resend"] for line in lines)
    assert {line.payload["version"] for line in lines if line.kind == "register"} == {version}


# --- the agent of then, the server of today -------------------------------------------------------------


@pytest.fixture
def server():
    """A server of today, which the test may stop."""
    program = manage_program("server", "--port", str(free_port()), **SERVER)
    program.start()
    wait_for_http(int(program.arguments[-1]), still=lambda: program.is_running)
    yield program
    program.stop()


@pytest.mark.e2e
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_agent_of_a_release_gets_from_a_server_of_today_what_it_got_then(version, server, tmp_path):
    agent = factories.agent()
    lines = session.load(version, place=tmp_path)
    player = OldAgent(
        port=int(server.arguments[-1]), agent=agent, token=issue_token(agent=agent).secret, server=server
    )
    player.play(lines)
    assert player.differences == []
    told = Told.by(lines)
    for attempt in told.accepted - told.declined.keys():
        check_stored(attempt, told, TaskInstance.objects.get(pk=player.today["instance_id", attempt]))


def check_stored(attempt, told, stored):
    """What the agent told is what the server of today has stored."""
    last = told.last_report(attempt)
    assert (stored.status, stored.last_seq) == (last["status"], last["seq"])
    assert (stored.exit_code, stored.signal) == (last.get("exit_code"), last.get("signal"))
    assert stored.result == last.get("result")
    for number, stream in ((1, "stdout"), (2, "stderr")):
        assert oracle.stored_output(stored, number) == told.output[attempt, stream]


# --- the server of then, the agent of today -------------------------------------------------------------


def as_a_later_server_says_it(frame):
    """Return a frame with fields that nobody knows yet, and one of a kind that nobody knows."""
    later = copy.deepcopy(frame)
    for path in structures(frame):
        at(later, path)["of_a_later_server"] = {"any": [1, None]}
    return [later, {**frame, "kind": "praise", "id": f"praise-{frame['id'][:8]}"}]


@pytest.mark.e2e
@pytest.mark.parametrize("change", [as_it_was, as_a_later_server_says_it], ids=lambda change: change.__name__)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_agent_of_today_does_what_a_server_of_a_release_says(version, change, tmp_path):
    lines = session.load(version, place=tmp_path)
    (agent_id,) = {line.payload["agent_id"] for line in lines if line.kind == "register"}
    with OldServer(lines, change=change) as server:
        agent = Program(
            [sys.executable, "-m", "agents.daemon"],
            environment={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "HETUFLOW_SERVER": f"ws://127.0.0.1:{server.port}",
                "HETUFLOW_AGENT_TOKEN": session.token_of(agent_id),
                "HETUFLOW_AGENT_DIR": str(tmp_path / "agent"),
                "HETUFLOW_AGENT_SLOTS": "4",
                "HETUFLOW_AGENT_LABELS": "zone=a",
            },
            log=tmp_path / "agent.log",
        )
        try:
            server.play(agent, gate=(tmp_path / "gate").touch)
        finally:
            agent.stop()
            oracle.kill(oracle.processes_of(tmp_path / "agent"))
    recorded, told = Told.by(lines), server.told
    assert (told.accepted, told.declined, told.answers) == (
        recorded.accepted,
        recorded.declined,
        recorded.answers,
    )
    assert told.output == recorded.output
    assert {key: meaning_of(report) for key, report in told.reports.items()} == {
        key: meaning_of(report) for key, report in recorded.reports.items()
    }
    assert "Traceback" not in (tmp_path / "agent.log").read_text()
