"""A machine that has nothing but the agent's code becomes an agent by one command, and stays or goes."""

import os
import re
import stat
import subprocess
import time
import uuid

import pytest

from agents import enrollment, tokens
from agents.models import Agent
from gateway.models import Connection
from scheduling.clock import database_now
from scheduling.models import TaskInstance
from tests import factories
from tests.e2e import oracle
from tests.e2e.installation import Installation, agent_python
from tests.e2e.oracle import quiesce, until
from tests.processes import ROOT, Program, free_port

pytestmark = pytest.mark.e2e
CLOSED_WITHIN_SECS = 2.0


class Machine:
    """A worker machine: a folder, and what is started on it by hand."""

    def __init__(self, installation: Installation, *, port: int) -> None:
        self.installation = installation
        self.python = agent_python(installation.folder / "venv")
        self.folder = installation.folder / f"machine-{len(installation.programs)}"
        self.server = f"http://127.0.0.1:{port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "HETUFLOW_AGENT_DIR": str(self.folder),
        }

    def program(self, *arguments: str, **environment: str) -> Program:
        """Return the daemon, not yet started."""
        program = Program(
            [self.python, "-m", "agents.daemon", "--server", self.server, *arguments],
            environment={**self.environment, **environment},
            log=self.installation.folder / f"{self.folder.name}.log",
        )
        self.installation.programs.append(program)
        return program

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Do something to its end."""
        return subprocess.run(
            [self.python, "-m", "agents.daemon", "--server", self.server, *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text().splitlines()[0]

    @property
    def log(self) -> str:
        return (self.installation.folder / f"{self.folder.name}.log").read_text()


@pytest.fixture(scope="module")
def place(e2e_folder, tmp_path_factory):
    """An installation with one server, for all machines of this module."""
    folder = e2e_folder / f"own-{tmp_path_factory.mktemp('own').name}"
    folder.mkdir()
    (folder / "venv").symlink_to(e2e_folder / "venv")
    installation = Installation(folder)
    installation.enter()
    installation.server()
    yield installation
    installation.enter()
    installation.close()


@pytest.fixture
def machine(place):
    place.enter()
    machine = Machine(place, port=place.programs[0].port)
    yield machine
    for program in place.programs:
        if program.is_running and "agents.daemon" in program.arguments:
            program.kill()
    oracle.kill(oracle.processes_of(machine.folder))
    until(lambda: not Connection.objects.filter(server__isnull=False).exists(), "all sessions have ended")


@pytest.fixture
def name():
    return f"machine-{uuid.uuid4().hex[:8]}"


def enrolment(**fields):
    return enrollment.create_enrollment_token(now=database_now(), **fields).secret


def session_of(agent):
    return Connection.objects.filter(agent=agent, server__isnull=False)


def online(name):
    """Wait for an agent of this name to be connected, and return it."""
    agents = Agent.objects.filter(name=name, connection__server__isnull=False)
    until(agents.exists, f"{name} is connected")
    return agents.get()


def ran(agent, job):
    task = factories.task(job=job, now=database_now())
    quiesce([task.pk])
    instance = TaskInstance.objects.get(task=task)
    assert (instance.agent, instance.status) == (agent, "completed")
    return oracle.stored_output(instance)


def test_one_command_makes_a_machine_an_agent_that_works_and_starts_again_without_it(machine, name):
    secret = enrolment(name=name, labels={"zone": name})
    daemon = machine.program("--enroll", secret)
    daemon.start()
    agent = online(name)
    assert re.search(rf"enrolled as agent {name} \({agent.pk}\)", machine.log)
    assert stat.S_IMODE((machine.folder / "token").stat().st_mode) == 0o600
    assert secret not in (machine.folder / "token").read_text()
    job = factories.job(args=["-c", "echo done"], config={"labels": {"zone": name}})
    assert ran(agent, job) == b"done\n"
    for arguments in ([], ["--enroll", secret]):
        assert daemon.stop() == 0
        until(lambda: not session_of(agent).exists(), "the session has ended")
        daemon = machine.program(*arguments)
        daemon.start()
        assert online(name) == agent
    assert ran(agent, job) == b"done\n"
    assert agent.tokens.count() == 1


LOOK_AROUND = """
import glob, re
found = set()
for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
    try:
        data = open(path, "rb").read()
    except OSError:
        continue
    found |= set(re.findall(rb"hf[ae]_[0-9A-Za-z_-]{40,}", data))
print(*(secret.decode() for secret in found))
"""


@pytest.mark.parametrize("way", ["flag", "variable", "stdin"])
def test_no_command_finds_a_token_in_any_process(machine, name, way):
    secret = enrolment(name=name)
    if way == "flag":
        daemon = machine.program("--enroll", secret)
    elif way == "variable":
        daemon = machine.program(HETUFLOW_ENROLLMENT_TOKEN=secret)
    else:
        (machine.folder.parent / "secret").write_text(f"{secret}\n")
        daemon = machine.program("--enroll-file", "-")
        daemon.arguments = [
            "sh",
            "-c",
            'exec "$@" < "$0"',
            str(machine.folder.parent / "secret"),
            *daemon.arguments,
        ]
    daemon.start()
    agent = online(name)
    seen = ran(agent, factories.job(cmd="python", args=["-c", LOOK_AROUND])).decode()
    assert secret not in seen
    assert machine.token not in seen


@pytest.mark.parametrize("way", ["variable", "flag"])
def test_no_command_finds_a_token_that_was_given(machine, name, way):
    agent, secret = tokens.issue_agent_token(name=name)
    if way == "flag":
        daemon = machine.program("--token", secret)
    else:
        daemon = machine.program(HETUFLOW_AGENT_TOKEN=secret)
    daemon.start()
    online(name)
    assert secret not in ran(agent, factories.job(cmd="python", args=["-c", LOOK_AROUND])).decode()


def test_a_revoked_token_ends_the_session_within_two_seconds_and_does_not_come_back(machine, name):
    daemon = machine.program("--enroll", enrolment(name=name))
    daemon.start()
    agent = online(name)
    ran(agent, factories.job())
    begin = time.monotonic()
    tokens.revoke_token(token_id=agent.tokens.get().pk, now=database_now())
    until(lambda: not session_of(agent).exists(), "the session has ended")
    assert time.monotonic() - begin < CLOSED_WITHIN_SECS
    until(lambda: "HTTP 403" in machine.log, "the agent is refused")
    assert not session_of(agent).exists()
    assert daemon.is_running


def test_a_new_enrolment_token_brings_a_machine_in_again_as_whom_the_operator_says(machine, name):
    machine.program("--enroll", enrolment(name=name)).start()
    agent = online(name)
    machine.installation.programs[-1].stop()
    tokens.revoke_token(token_id=agent.tokens.get().pk, now=database_now())
    machine.program("--enroll", enrolment(agent=agent)).start()
    assert online(name) == agent
    ran(agent, factories.job())
    assert agent.tokens.count() == 2


def test_a_rotated_token_is_taken_up_by_the_running_daemon_when_the_old_one_ends(machine, name):
    daemon = machine.program("--enroll", enrolment(name=name))
    daemon.start()
    agent = online(name)
    first, old = agent.tokens.get(), machine.token
    done = machine.run("rotate-token")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"agent {agent.pk} has a new token" in done.stderr
    assert machine.token != old
    assert stat.S_IMODE((machine.folder / "token").stat().st_mode) == 0o600
    assert session_of(agent).get().token == first
    tokens.revoke_token(token_id=first.pk, now=database_now())
    fresh = agent.tokens.exclude(pk=first.pk).get()
    until(lambda: session_of(agent).filter(token=fresh).exists(), "the agent shows its new token")
    ran(agent, factories.job())
    assert "HTTP 403" not in machine.log


def test_a_token_that_was_given_makes_way_for_the_one_that_rotation_stored(machine, name):
    agent, secret = tokens.issue_agent_token(name=name)
    first = agent.tokens.get()
    machine.program(HETUFLOW_AGENT_TOKEN=secret).start()
    online(name)
    done = machine.run("rotate-token", HETUFLOW_AGENT_TOKEN=secret)
    assert (done.returncode, "out of the configuration" in done.stderr) == (0, True)
    tokens.revoke_token(token_id=first.pk, now=database_now())
    until(lambda: session_of(agent).exclude(token=first).exists(), "the agent shows its new token")
    assert "trying another one" in machine.log


def test_a_token_in_a_file_of_somebodys_choice_is_replaced_there(machine, name, tmp_path):
    agent, secret = tokens.issue_agent_token(name=name)
    file = tmp_path / "token"
    file.write_text(f"{secret}\n")
    done = machine.run("rotate-token", "--token-file", str(file))
    assert done.returncode == 0, done.stderr
    assert file.read_text() != f"{secret}\n"
    machine.program("--token-file", str(file)).start()
    assert online(name) == agent
    assert session_of(agent).get().token == agent.tokens.order_by("pk").last()


def refused(done, *said):
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"hetuflow agent: .+\n", done.stderr), done.stderr
    for word in said:
        assert word in done.stderr


def test_what_goes_wrong_is_said_in_one_line_and_leaves_no_token(machine):
    taken = factories.agent().name
    refused(machine.run("--enroll", "hfe_" + "x" * 43), "enrolment token was refused", "ask for a new one")
    refused(machine.run("--enroll", "secret"), "malformed")
    refused(machine.run("--enroll", enrolment(), "--name", taken), "--name")
    refused(machine.run("--enroll-file", "/no/such/file"), "/no/such/file")
    refused(machine.run("--enroll-file", "-"), "--enroll")
    refused(machine.run(), "--enroll")
    refused(machine.run("rotate-token"), "--enroll")
    machine.server = f"http://127.0.0.1:{free_port()}"
    refused(machine.run("--enroll", enrolment()), "cannot reach", machine.server)
    assert not (machine.folder / "token").exists()
    assert not [path for path in machine.folder.iterdir() if path.name.startswith(".token")]


def test_a_refused_token_cannot_be_rotated(machine, name):
    agent, secret = tokens.issue_agent_token(name=name)
    agent.tokens.update(revoked_at=database_now())
    refused(machine.run("rotate-token", HETUFLOW_AGENT_TOKEN=secret), "expired or was revoked")
