"""What a command gets is what was asked for, letter by letter, and nothing that it could use against us."""

import json
import shutil
import sys
import uuid

import pytest

from scheduling.clock import database_now
from scheduling.models import TaskInstance
from tests import factories, people
from tests.e2e import oracle
from tests.e2e.installation import AgentProgram, Installation
from tests.e2e.oracle import quiesce, until

pytestmark = pytest.mark.e2e
PRINT_ARGUMENTS = "import json, os, sys; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))"
# What the agent's own environment holds here, and no command may see.
SECRETS = {
    name: f"canary-{number}-{uuid.uuid4().hex}"
    for number, name in enumerate(
        (
            "DATABASE_URL",
            "PGPASSWORD",
            "HETUFLOW_SECRET_KEY",
            "HETUFLOW_ADMIN_PASSWORD",
            "HETUFLOW_ENROLLMENT_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
        )
    )
}
PROMISED = {
    "HETUFLOW_ATTEMPT",
    "HETUFLOW_INSTANCE_ID",
    "HETUFLOW_JOB_ID",
    "HETUFLOW_JOB_NAME",
    "HETUFLOW_PARAMETERS",
    "HETUFLOW_PARAM_DAY",
    "HETUFLOW_RESULT_FILE",
    "HETUFLOW_SCHEDULED_AT",
    "HETUFLOW_TASK_ID",
}
# The command itself, and each process above it that is the agent's.
LOOK_UP = """
import json, os, re
seen, pid = [], os.getpid()
while pid > 1:
    parts = {}
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                parts[name] = file.read().decode(errors="replace").split(chr(0))
        except PermissionError:
            parts[name] = []  # the daemon hides from whoever is not root
    if seen and not any(re.search("^agents.daemon$|agents/daemon/launcher.py$", w) for w in parts["cmdline"]):
        break
    seen.append(parts)
    with open(f"/proc/{pid}/stat") as file:
        pid = int(file.read().rpartition(")")[2].split()[1])
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def place(e2e_folder, tmp_path_factory):
    """An installation whose one agent was started with secrets in its environment."""
    folder = e2e_folder / f"own-{tmp_path_factory.mktemp('own').name}"
    folder.mkdir()
    (folder / "venv").symlink_to(e2e_folder / "venv")
    installation = Installation(folder)
    installation.enter()
    agent = installation.agent(port=installation.server().port)
    agent.stop()
    # One way in at a time: a token that is given counts more than an enrolment token.
    agent.environment = {**agent.environment, **SECRETS}
    agent.start_and_register()
    yield installation
    installation.enter()
    installation.close()


@pytest.fixture
def agent(place):
    place.enter()
    return next(program for program in place.programs if isinstance(program, AgentProgram))


@pytest.fixture
def root(agent):
    return people.session_of(people.person(superuser=True))


def output_of(agent, client, body):
    """Make a job by REST, run it, and return what it printed."""
    made = client.post("/api/v1/jobs", {"name": uuid.uuid4().hex, **body})
    assert made.status_code == 201, made.content
    task = client.post(f"/api/v1/jobs/{made.json()['id']}/trigger", {"parameters": {"day": "monday"}}).json()
    quiesce([task["id"]])
    instance = TaskInstance.objects.get(task_id=task["id"])
    until(lambda: not agent.holds(instance), "the output is stored")
    instance.refresh_from_db()
    assert (instance.status, instance.error_message) == ("completed", "")
    return oracle.stored_output(instance)


def hostile(trap):
    """Return arguments that would make the file `trap` if any shell read them."""
    return [
        f"; touch {trap}",
        f"$(touch {trap})",
        f"`touch {trap}`",
        f"a\ntouch {trap}\n",
        f"a\r\ntouch {trap}",
        f"| touch {trap}",
        f"&& touch {trap} &",
        f"> {trap}",
        f"'; touch {trap}; '",
        f'"; touch {trap}; "',
        f"\\'; touch {trap}; \\\"",
        f"${{IFS}}touch${{IFS}}{trap}",
        "$HOME ${PATH} ~ * ? [a-z] {a,b} !! #",
        "",
        " ",
        "\t",
        "-n",
        "--",
        "%s%n{0}{{x}}",
        "naïve 任务 🙂 e\u0301 \u202e\u200b\ufeff",
        "\x01\x1b[2J\x7f\u0085",
        "\\u0000 \\x00 \\0",
        "x" * 10_000,
    ]


@pytest.mark.parametrize("cmd", ["exec", "python", "bash", "sh"])
def test_arguments_reach_a_command_as_they_are_and_no_shell_reads_them(agent, root, tmp_path, cmd):
    arguments = hostile(tmp_path / "trap")
    own = {
        "exec": [sys.executable, "-c", PRINT_ARGUMENTS],
        "python": ["-c", PRINT_ARGUMENTS],
        # A shell reads its script, and gets the rest as parameters of it.
        "bash": ["-c", f'exec {sys.executable} -c "$0" "$@"', PRINT_ARGUMENTS],
        "sh": ["-c", f'exec {sys.executable} -c "$0" "$@"', PRINT_ARGUMENTS],
    }[cmd]
    said = output_of(agent, root, {"config": {"cmd": cmd, "args": [*own, *arguments]}})
    assert [bytes.fromhex(each).decode() for each in json.loads(said)] == arguments
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_an_odd_name_is_that_program_and_no_command_line(agent, root, tmp_path):
    program = tmp_path / "a; touch b $(touch c) 'd'"
    shutil.copy(shutil.which("printf"), program)
    said = output_of(agent, root, {"config": {"cmd": "exec", "args": [str(program), "%s", "$(id)"]}})
    assert said == b"$(id)"
    assert list(tmp_path.iterdir()) == [program]


@pytest.mark.parametrize("place_of_nul", ["first", "within", "alone"])
def test_an_argument_with_nul_is_refused_wherever_it_comes_in(agent, root, place_of_nul):
    argument = {"first": "\x00a", "within": "a\x00b", "alone": "\x00"}[place_of_nul]
    config = {"cmd": "bash", "args": ["-c", argument]}
    job = factories.job()
    task = factories.task(job=job, now=database_now(), scheduled_at=factories.NOW.replace(year=2100))
    for method, path, body in (
        ("post", "jobs", {"name": uuid.uuid4().hex, "config": config}),
        ("patch", f"jobs/{job.pk}", {"config": config}),
        ("post", "tasks", {"job_id": job.pk, "config": {"args": config["args"]}}),
        ("patch", f"tasks/{task.pk}", {"config": {"args": config["args"]}}),
    ):
        answer = getattr(root, method)(f"/api/v1/{path}", body)
        assert answer.status_code == 400, (path, answer.content)
        assert "NUL" in answer.content.decode()


def found_in(*processes, agent):
    """Return the names of the secrets that are in these processes' environments and command lines."""
    secrets = {**SECRETS, "HETUFLOW_AGENT_TOKEN": agent.environment["HETUFLOW_AGENT_TOKEN"]}
    return {name for name, secret in secrets.items() if secret in json.dumps(processes)}


def test_no_secret_is_in_the_environment_of_a_command_or_of_any_process_of_the_agent(agent, root):
    said = output_of(agent, root, {"config": {"cmd": "python", "args": ["-c", LOOK_UP]}})
    command, *above = json.loads(said)
    shim, launcher, daemon = above
    assert any(word.endswith("agents/daemon/launcher.py") for word in shim["cmdline"])
    assert "agents.daemon" in daemon["cmdline"]
    # Of the daemon, only root sees anything: there what others than Hetuflow gave it.
    assert found_in(daemon, agent=agent) <= {"AWS_SECRET_ACCESS_KEY"}
    assert found_in(command, shim, launcher, agent=agent) == set()
    names = {entry.partition("=")[0] for entry in command["environ"] if entry}
    assert {name for name in names if name.startswith("HETUFLOW_")} <= PROMISED
    assert not names & SECRETS.keys()
    assert "HETUFLOW_PARAM_DAY" in names


def test_a_command_may_have_a_secret_that_its_job_says_it_needs(agent, root):
    """The search above would find one: what a job brings is the job's."""
    wanted = f"wanted-{uuid.uuid4().hex}"
    config = {"cmd": "python", "args": ["-c", LOOK_UP]}
    said = output_of(agent, root, {"config": config, "environment": {"DATABASE_URL": wanted}}).decode()
    assert wanted in said
    assert SECRETS["DATABASE_URL"] not in said
