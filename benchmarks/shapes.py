"""The lists that people and programs ask for, as requests; see `benchmarks.history` for what they find."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

# Who asks: a superuser, and admins of one namespace, of twenty, and of one whose tasks are all a month old.
ROOT: Final = "superuser"
ONE: Final = "one namespace"
TWENTY: Final = "twenty"
RETIRED: Final = "a retired one"
NAMESPACES_OF: Final[dict[str, tuple[str, ...]]] = {
    ONE: ("space-07",),
    TWENTY: tuple(f"space-{n:02}" for n in range(10, 30)),
    RETIRED: ("retired",),
}
BUSY_AGENT: Final = "00000000-0000-0000-0000-000000000001"

# Why a list may cost more over more rows.
SORTS: Final = "no index has this order: what the filter leaves is sorted"
PASSES_OVER: Final = "passes over what is newer and not seen"
MORE_TO_SHOW: Final = "there are more rows to show"
FAR_DOWN: Final = "half of all are passed over"
MORE_JOBS: Final = "there are ten times the jobs"


@dataclass(frozen=True)
class Shape:
    """One request; with a `body` it is a POST. `grows` says why its cost may."""

    name: str
    path: str
    body: Any = None
    user: str = ROOT
    grows: str = ""

    @property
    def title(self) -> str:
        return self.name if self.user == ROOT else f"{self.name} ({self.user})"


# When so many thirtieths of the history ago was.
_Ago: TypeAlias = Callable[[float], str]


def shapes(*, busy_job: int, job: int, days: float = 30) -> list[Shape]:
    """Return all of them; the jobs are the one of a fifth of the tasks, and an ordinary one.

    Of a history of other than thirty `days`, what is called a day is a thirtieth.
    """

    def ago(parts: float) -> str:
        return f"{datetime.now(UTC) - timedelta(days=parts * days / 30):%Y-%m-%dT%H:%M:%SZ}"

    return [
        *_tasks(busy_job, job, ago),
        *_tasks_in_order(),
        *_tasks_of_some(job, ago),
        *_attempts(busy_job, job, ago),
        *_others(ago),
    ]


def _query(resource: str, order: str = "", **filters: Any) -> tuple[str, dict[str, Any]]:
    page = {"order_bys": order.split(",")} if order else {}
    return f"{resource}/query", {"filter": filters, "page": page}


def _tasks(busy_job: int, job: int, ago: _Ago) -> Iterator[Shape]:
    yield Shape("GET /tasks", "tasks")
    yield Shape("POST /tasks/query", "tasks/query", {})
    for status in ("completed", "failed", "running"):
        yield Shape(f"tasks, status {status}", f"tasks?status={status}")
    yield Shape("tasks, status not completed", "tasks?status__ne=completed")
    yield Shape("pending tasks by scheduled_at", "tasks?status=pending&order_by=scheduled_at")
    yield Shape("tasks of a job", f"tasks?job_id={job}")
    yield Shape("tasks of the busy job", f"tasks?job_id={busy_job}")
    yield Shape("failed tasks of the busy job", f"tasks?job_id={busy_job}&status=failed")
    yield Shape("tasks of a schedule", f"tasks?schedule_id={job - 1}")
    yield Shape("tasks of a namespace", "tasks?namespace=space-07")
    yield Shape("tasks of a retired namespace", "tasks?namespace=retired")
    yield Shape("failed tasks of a namespace", "tasks?namespace=space-07&status=failed", grows=MORE_TO_SHOW)
    recent = {"gte": ago(1)}
    yield Shape("tasks since yesterday", *_query("tasks", scheduled_at=recent))
    yield Shape("tasks of the first days", *_query("tasks", scheduled_at={"lt": ago(28)}))
    yield Shape("tasks of a week ago", *_query("tasks", scheduled_at={"gte": ago(8), "lt": ago(7)}))
    yield Shape(
        "failed tasks since last week", *_query("tasks", status="failed", scheduled_at={"gte": ago(7)})
    )
    yield Shape("tasks created since yesterday", *_query("tasks", created_at=recent))
    yield Shape("tasks ended since yesterday", *_query("tasks", completed_at=recent))
    yield Shape("tasks by a person", "tasks?created_by=ann")
    yield Shape("tasks with two retries", "tasks?retry_count=2")
    yield Shape("tasks from the 9,000th on", "tasks?offset=9000")
    yield Shape("tasks by time from the 9,000th on", "tasks?offset=9000&order_by=-scheduled_at")
    yield Shape("tasks from the 500,000th on", "tasks?offset=500000", grows=FAR_DOWN)
    yield Shape("500 tasks", "tasks?limit=500")
    yield Shape("GET /tasks/status/completed", "tasks/status/completed")
    yield Shape("GET /tasks/job/{busy}", f"tasks/job/{busy_job}")
    yield Shape("GET /tasks/agent/{busy}", f"tasks/agent/{BUSY_AGENT}")


def _tasks_in_order() -> Iterator[Shape]:
    for key in ("id", "created_at", "scheduled_at", "completed_at", "-status", "-namespace", "-job_id"):
        other = key.removeprefix("-") if key.startswith("-") else f"-{key}"
        yield Shape(f"tasks by {key}", f"tasks?order_by={key}")
        yield Shape(
            f"tasks by {other}", f"tasks?order_by={other}", grows=SORTS if key.startswith("-") else ""
        )
    for key in ("updated_at", "locked_at", "schedule_id", "priority", "created_by", "retry_count"):
        yield Shape(f"tasks by -{key}", f"tasks?order_by=-{key}", grows=SORTS)


def _tasks_of_some(job: int, ago: _Ago) -> Iterator[Shape]:
    ever, recent = {"gte": ago(31)}, {"gte": ago(1)}
    for user in NAMESPACES_OF:
        yield Shape("GET /tasks", "tasks", user=user)
        yield Shape("tasks, status completed", "tasks?status=completed", user=user)
        passes_over = PASSES_OVER if user == RETIRED else ""
        yield Shape("tasks by -scheduled_at", "tasks?order_by=-scheduled_at", user=user, grows=passes_over)
        yield Shape("tasks by -created_at", "tasks?order_by=-created_at", user=user, grows=passes_over)
        yield Shape("all tasks by time", *_query("tasks", scheduled_at=ever), user=user, grows=passes_over)
    for user in (ONE, TWENTY):
        grows = MORE_TO_SHOW if user == ONE else ""
        yield Shape("tasks, status failed", "tasks?status=failed", user=user, grows=grows)
        yield Shape("tasks, status running", "tasks?status=running", user=user)
        yield Shape("tasks since yesterday", *_query("tasks", scheduled_at=recent), user=user, grows=grows)
        yield Shape("GET /tasks/agent/{busy}", f"tasks/agent/{BUSY_AGENT}", user=user, grows=MORE_TO_SHOW)
    yield Shape("GET /tasks/status/completed", "tasks/status/completed", user=TWENTY)
    yield Shape("tasks of an unseen job", f"tasks?job_id={job}", user=ONE, grows=PASSES_OVER)


def _attempts(busy_job: int, job: int, ago: _Ago) -> Iterator[Shape]:
    for user in (ROOT, *NAMESPACES_OF):
        yield Shape("GET /task-instances", "task-instances", user=user)
    for user in (ROOT, ONE, TWENTY):
        grows = MORE_TO_SHOW if user == ONE else ""
        yield Shape("attempts, status failed", "task-instances?status=failed", user=user, grows=grows)
        yield Shape("attempts on the busy agent", f"task-instances?agent_id={BUSY_AGENT}", user=user)
    yield Shape("attempts, status running", "task-instances?status=running")
    yield Shape("attempts of the busy job", f"task-instances?job_id={busy_job}")
    yield Shape("attempts of a job", f"task-instances?job_id={job}")
    yield Shape("attempts of a task", "task-instances?task_id=300")
    yield Shape("attempts since yesterday", *_query("task-instances", created_at={"gte": ago(1)}))
    for key in ("created_at", "-created_at", "-status"):
        yield Shape(f"attempts by {key}", f"task-instances?order_by={key}")
    for key in ("-started_at", "-completed_at", "status", "-exit_code"):
        yield Shape(f"attempts by {key}", f"task-instances?order_by={key}", grows=SORTS)
    yield Shape("GET /task-instances/status/completed", "task-instances/status/completed")
    yield Shape("GET /task-instances/agent/{busy}", f"task-instances/agent/{BUSY_AGENT}")
    yield Shape("GET /task-instances/task/{id}", "task-instances/task/300")


def _others(ago: _Ago) -> Iterator[Shape]:
    for user in (ROOT, ONE, TWENTY):
        yield Shape("GET /audit", "audit", user=user)
        yield Shape("GET /jobs", "jobs", user=user)
        yield Shape("GET /schedules", "schedules", user=user, grows="" if user == ROOT else MORE_JOBS)
    yield Shape("audit, by a user", "audit?actor=user-7")
    yield Shape("audit, an action", "audit?action=job.update")
    yield Shape("audit, an object", "audit?subject_type=job&subject_id=5")
    yield Shape("audit, a namespace", "audit?namespace=space-07")
    yield Shape("audit since yesterday", *_query("audit", at={"gte": ago(1)}))
    yield Shape("audit of the first days", *_query("audit", at={"lt": ago(28)}))
    yield Shape("audit by -at", "audit?order_by=-at")
    yield Shape("jobs with a tag", "jobs?tags=team-7", grows=MORE_JOBS)
    yield Shape("jobs by name", "jobs?order_by=name", grows=MORE_JOBS)
    yield Shape("jobs by part of the name", "jobs?name__contains=b-19", grows=MORE_JOBS)
    yield Shape("GET /jobs/namespace/{name}", "jobs/namespace/space-07", grows=MORE_TO_SHOW)
    yield Shape("GET /agents, of 1,000", "agents")
    yield Shape("agents with labels", "agents?labels=zone=z3,os=linux")
    yield Shape("agents of a status", "agents?status=idle")
    yield Shape("GET /agents/online", "agents/online")
