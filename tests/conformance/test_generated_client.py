"""A client that a generator makes of the OpenAPI document does what its user wants, in the types it names."""

import datetime
import importlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.client import Client
from tests.conformance.installation import Agent, Installation, until
from tests.conformance.objects import ENDED, FAR, fresh, make_job, make_task

PACKAGE = "generated_hetuflow_client"
GENERATION_SECS = 120


@pytest.fixture(scope="module")
def generated(api: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generate the client into a folder from which it can be imported, until the module ends."""
    folder = tmp_path_factory.mktemp("generated")
    # Nobody is there to make the code pretty.
    (folder / "config.json").write_text(json.dumps({"post_hooks": []}))
    url = f"http://127.0.0.1:{api.port}/api/schema?format=json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--url", url),
            *("--meta", "none", "--output-path", str(folder / PACKAGE)),
            *("--config", str(folder / "config.json"), "--fail-on-warning"),
        ],
        capture_output=True,
        text=True,
        timeout=GENERATION_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


class Generated:
    """The generated package, and a client of it with a token."""

    def __init__(self, port: int, token: str) -> None:
        self.models = importlib.import_module(f"{PACKAGE}.models")
        package = importlib.import_module(PACKAGE)
        self.client = package.AuthenticatedClient(
            base_url=f"http://127.0.0.1:{port}", token=token, raise_on_unexpected_status=True
        )

    def ask(self, operation: str, *arguments: Any, **more: Any) -> Any:
        """Call `jobs.jobs_create` and return the answer with its status."""
        module = importlib.import_module(f"{PACKAGE}.api.{operation}")
        return module.sync_detailed(*arguments, client=self.client, **more)

    def get(self, operation: str, *arguments: Any, **more: Any) -> Any:
        """Return what a successful call answers."""
        answer = self.ask(operation, *arguments, **more)
        assert 200 <= answer.status_code < 300, answer
        return answer.parsed


@pytest.fixture
def made(generated: Path, api: Client, installation: Installation) -> Iterator[Generated]:
    client = Generated(api.port, installation.token)
    with client.client:
        yield client


@pytest.mark.timeout(180)
def test_it_creates_a_job_lets_an_agent_run_it_and_reads_what_became_of_it(
    made: Generated, agent: Agent
) -> None:
    models = made.models
    script = models.TaskConfigRequest(cmd=models.CommandKind.BASH, args=["-c", 'echo "hello, $NAME"'])
    environment = models.JobRequestEnvironment.from_dict({"NAME": "client"})
    job = made.get(
        "jobs.jobs_create", body=models.JobRequest(fresh("generated"), script, environment=environment)
    )
    assert isinstance(job, models.Job)
    assert isinstance(job.created_at, datetime.datetime)
    assert (job.config.cmd, job.config.retry_backoff) == (models.CommandKind.BASH, models.RetryBackoff.FIXED)
    task = made.get("jobs.jobs_trigger", job.id, body=models.TriggerRequest(priority=3))
    assert isinstance(task, models.Task)

    def ended() -> Any:
        found = made.get("tasks.tasks_get", task.id)
        return found if found.status in ENDED else None

    task = until(ended, "the task ends")
    assert (task.status, task.priority) == (models.TaskStatus.COMPLETED, 3)
    (instance,) = made.get("task_instances.task_instances_by_task", task.id)
    assert isinstance(instance, models.TaskInstance)
    assert (instance.status, instance.exit_code) == (models.TaskInstanceStatus.COMPLETED, 0)
    assert isinstance(instance.agent_id, uuid.UUID)
    assert made.get("task_instances.task_instances_get", instance.id).output == "hello, client\n"
    text = made.get(
        "task_instances.task_instances_logs", instance.id, format_=models.TaskInstancesLogsFormat.TXT
    )
    assert text == "hello, client\n"


def test_it_asks_with_filters_and_an_order(made: Generated, api: Client) -> None:
    models = made.models
    job = make_job(api)
    tasks = [make_task(api, job, priority=priority) for priority in (1, 2, 3)]
    wanted = models.TaskFilter(
        job_id=job["id"],
        status=models.TaskStatusOperators(in_=[models.TaskStatus.PENDING, models.TaskStatus.LOCKED]),
        priority=models.IntegerOperators(gte=2),
        scheduled_at=models.InstantOperators(lte=datetime.datetime.fromisoformat(FAR)),
    )
    page = models.TaskPageRequest(limit=1, order_bys=["-priority"])
    found = made.get("tasks.tasks_query", body=models.TaskQuery(filter_=wanted, page=page))
    assert isinstance(found, models.TaskPage)
    assert [task.id for task in found.data] == [tasks[2]["id"]]
    assert (found.page.total, found.page.has_more) == (2, True)


def test_a_refusal_has_a_type_too(made: Generated) -> None:
    models = made.models
    bad = models.JobRequest("", models.TaskConfigRequest(cmd=models.CommandKind.SH, timeout_secs=-1))
    refused = made.ask("jobs.jobs_create", body=bad)
    assert refused.status_code == 400
    assert isinstance(refused.parsed, models.ErrorResponse)
    assert refused.parsed.type_ == models.ErrorType.VALIDATION_ERROR
    assert {error.attr for error in refused.parsed.errors} == {"name", "config.timeout_secs"}
    missing = made.ask("jobs.jobs_get", 2**40)
    assert missing.status_code == 404
    assert isinstance(missing.parsed, models.ErrorResponse)
    (error,) = missing.parsed.errors
    assert (missing.parsed.type_, error.code, error.attr) == (
        models.ErrorType.CLIENT_ERROR,
        "not_found",
        None,
    )


def test_every_operation_of_the_document_is_a_module_of_it(generated: Path, api: Client) -> None:
    document = json.loads(api.root.send("GET", "/api/schema?format=json").text)
    named = {
        f"{operation['tags'][0].replace('-', '_')}/{operation['operationId']}.py"
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    folder = generated / PACKAGE / "api"
    assert {path.relative_to(folder).as_posix() for path in folder.glob("*/*.py")} - {
        path.relative_to(folder).as_posix() for path in folder.glob("*/__init__.py")
    } == named
