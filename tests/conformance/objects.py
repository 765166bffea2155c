"""Things that tests need, made through the contract as any client would."""

import itertools
import uuid
from typing import Any, Final

from tests.conformance.client import Client
from tests.conformance.installation import until

FAR: Final = "2090-01-01T00:00:00.000000Z"
ENDED: Final = ("completed", "failed", "cancelled")
_run: Final = uuid.uuid4().hex[:6]
_numbers: Final = itertools.count(1)
_shared_jobs: Final[list[Any]] = []


def fresh(what: str) -> str:
    """Return a name that nothing else has."""
    return f"{what}-{_run}-{next(_numbers)}"


def config(script: str = "true", **more: Any) -> dict[str, Any]:
    return {"cmd": "bash", "args": ["-c", script], **more}


def make_job(
    api: Client, script: str = "true", *, limits: dict[str, Any] | None = None, **fields: Any
) -> Any:
    """Create a job that runs a script; `limits` are further fields of its configuration."""
    return api.create(
        "/jobs/create", {"name": fresh("job"), "config": config(script, **(limits or {})), **fields}
    )


def make_agent(api: Client, **fields: Any) -> Any:
    """Create an agent that nobody starts."""
    return api.create("/agents/create", {"name": fresh("agent"), **fields})


def make_task(api: Client, job: Any = None, **fields: Any) -> Any:
    """Create a task that waits for decades; where its job does not matter, they share one."""
    if job is None and not _shared_jobs:
        _shared_jobs.append(make_job(api))
    job = job or _shared_jobs[0]
    return api.create("/tasks/create", {"job_id": job["id"], "scheduled_at": FAR, **fields})


def make_schedule(api: Client, job: Any = None, **fields: Any) -> Any:
    """Create a schedule that does not fire while tests run."""
    rule = {"kind": "cron", "cron_expression": "0 0 1 1 *"} if "kind" not in fields else {}
    job = job or make_job(api)
    return api.create("/schedules/create", {"job_id": job["id"], "name": fresh("schedule"), **rule, **fields})


def make_attempt(api: Client, task: Any = None, **fields: Any) -> Any:
    """Begin an attempt by hand, of a task that no agent takes."""
    task = task or make_task(api)
    return api.create("/task-instances/create", {"task_id": task["id"], **fields})


def ended(api: Client, task: Any) -> Any:
    """Wait until a task has ended, and return it."""

    def look() -> Any:
        found = api.get(f"/tasks/{task['id']}")
        return found if found["status"] in ENDED else None

    return until(look, f"task {task['id']} ends")


def attempts_of(api: Client, task: Any) -> list[Any]:
    """Return the attempts of a task, the first one first."""
    return list(reversed(api.get(f"/task-instances/task/{task['id']}")))


def run(api: Client, job: Any, **fields: Any) -> tuple[Any, Any]:
    """Trigger a job and return its task and the last attempt when they have ended."""
    task = ended(api, api.create(f"/jobs/{job['id']}/trigger", fields))
    return task, attempts_of(api, task)[-1]


def running(api: Client, task: Any) -> Any:
    """Return the attempt of a task when its command runs."""

    def look() -> Any:
        return next((one for one in attempts_of(api, task) if one["status"] == "running"), None)

    return until(look, f"task {task['id']} runs")
