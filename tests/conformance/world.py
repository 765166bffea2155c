"""A few rows of every resource, for tests of queries."""

from typing import Any
from urllib.parse import urlencode

from tests.conformance.client import Client
from tests.conformance.objects import (
    FAR,
    config,
    fresh,
    make_agent,
    make_attempt,
    make_job,
    make_schedule,
    make_task,
)

MANY = 23


class World:
    """Rows that only these tests look at; names stand for ids."""

    def __init__(self, api: Client) -> None:
        self.namespace = fresh("world")
        self.label = fresh("label")
        self.name = fresh("x")
        self.jobs = {
            "a": self._job(api, "a", tags=["nightly", "db"], description="100% of A_b"),
            "b": self._job(api, "b", tags=["nightly"], enabled=False),
            "c": self._job(api, "c"),
        }
        self.tasks = {
            "low": make_task(api, self.jobs["a"], priority=-1, scheduled_at="2090-01-01T00:00:00Z"),
            "mid": make_task(api, self.jobs["a"], priority=0, scheduled_at="2090-01-02T00:00:00Z"),
            "top": make_task(api, self.jobs["a"], priority=5, scheduled_at="2090-01-03T00:00:00Z"),
        }
        self.schedules = {
            "cron": make_schedule(api, self.jobs["a"], timezone="Europe/Berlin"),
            "once": make_schedule(api, self.jobs["a"], kind="once", start_time=FAR),
        }
        self.agents = {
            "red": make_agent(api, name=f"{self.name}-red", labels={self.label: "1", "colour": "red"}),
            "blue": make_agent(api, name=f"{self.name}-blue", labels={self.label: "1", "colour": "blue"}),
        }
        self.instances = {
            name: make_attempt(api, make_task(api, self.jobs["c"])) for name in ("open", "done", "bad")
        }
        for name, code in (("done", 0), ("bad", 7)):
            api.post(f"/task-instances/{self.instances[name]['id']}/complete", {"exit_code": code})
        self.bases: dict[str, dict[str, Any]] = {
            "jobs": {"namespace": self.namespace},
            "tasks": {"job_id": self.jobs["a"]["id"]},
            "schedules": {"job_id": self.jobs["a"]["id"]},
            "task-instances": {"job_id": self.jobs["c"]["id"]},
            "agents": {"labels": {self.label: "1"}},
        }

    def _job(self, api: Client, letter: str, **fields: Any) -> Any:
        return make_job(api, namespace=self.namespace, name=f"Job {letter.upper()}", **fields)

    def named(self, resource: str) -> dict[str, Any]:
        """Return the rows of a resource by their names here."""
        found: dict[str, Any] = getattr(self, resource.replace("task-instances", "instances"))
        return found

    def fill(self, value: Any) -> Any:
        """Replace `$name` and `$name.field` by what they stand for."""
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, str) and value.startswith("$"):
            name, _, attribute = value[1:].partition(".")
            rows = self.jobs | self.tasks | self.schedules | self.agents | self.instances
            return rows[name][attribute or "id"]
        return value


def make_many_jobs(api: Client) -> str:
    """Return a namespace with MANY jobs, every other one disabled."""
    namespace = fresh("many")
    for index in range(MANY):
        named = {"name": f"job {index:02}", "namespace": namespace}
        api.create("/jobs", {**named, "config": config(), "enabled": index % 2 == 0})
    return namespace


def parameters(filters: dict[str, Any]) -> str:
    """Return the same filters as the parameters of a GET."""
    pairs = []
    for name, value in filters.items():
        if name == "labels":
            pairs.append((name, ",".join(f"{key}={text}" for key, text in value.items())))
        elif isinstance(value, dict):
            pairs += [(f"{name}__{operator}", plain(operand)) for operator, operand in value.items()]
        else:
            pairs.append((name, plain(value)))
    return urlencode(pairs)


def plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
