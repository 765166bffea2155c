"""A few things of each kind for each operation that needs one, in the state that it needs them in."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from tests.conformance.client import Client
from tests.conformance.installation import Installation
from tests.conformance.objects import (
    FAR,
    fresh,
    make_agent,
    make_attempt,
    make_job,
    make_schedule,
    make_task,
)

# For each operation; one that uses them up needs only one that it accepts.
OF_EACH: Final = 3
IN_BODIES: Final = 12
_ALERTS: Final = """
INSERT INTO scheduling_alert (kind, namespace, text, instants, acknowledged_by)
SELECT 'missed', 'default', '', 1, '' FROM generate_series(1, %s)
"""

PAST: Final = {"range_from": "2020-01-01T00:00:00Z", "range_to": "2022-01-01T00:00:00Z"}

Thing = dict[str, Any]


class Things:
    """Makes one thing after the other; those that nobody changes are shared."""

    def __init__(self, api: Client, agents: Sequence[str]) -> None:
        self.api = api
        self.agents = list(agents)
        self.job = make_job(api)

    def for_path(self, operation: str, tag: str, names: Sequence[str], number: int) -> Thing:
        """Return values for the parameters in the path of an operation; `number` counts them."""
        return {name: self._value(operation, tag, name, number) for name in names}

    def _value(self, operation: str, tag: str, name: str, number: int) -> Any:
        match name:
            case "namespace":
                return "default"
            case "status":
                return ("pending", "running", "cancelled")[number]
            case "job_id":
                return self.job["id"]
            case "task_id":
                return self.task()["id"]
            case "agent_id":
                return self.agents[number % len(self.agents)]
            case "token_id":
                raise KeyError(name)
        return (_SPECIAL.get(operation) or _USUAL[tag])(self, number)

    def task(self) -> Thing:
        made: Thing = make_task(self.api, self.job)
        return made

    def ended_task(self) -> Thing:
        task = self.task()
        ended: Thing = self.api.post(f"/tasks/{task['id']}/cancel", {})
        return ended

    def attempt(self) -> Thing:
        made: Thing = make_attempt(self.api, self.task())
        return made

    def ended_attempt(self) -> Thing:
        attempt = self.attempt()
        ended: Thing = self.api.post(f"/task-instances/{attempt['id']}/cancel", {})
        return ended

    def backfill(self) -> Thing:
        schedule = make_schedule(self.api, self.job)
        made: Thing = self.api.create("/backfills", {"schedule_id": schedule["id"], **PAST})
        return made

    def paused_backfill(self) -> Thing:
        paused: Thing = self.api.post(f"/backfills/{self.backfill()['id']}/pause", {})
        return paused

    def token_of_agent(self) -> Thing:
        agent = make_agent(self.api)
        (token,) = self.api.get(f"/agents/{agent['id']}/tokens")["data"]
        return {"id": agent["id"], "token_id": token["id"]}

    def nth(self, path: str, number: int) -> Any:
        """Return the id of a thing that is there anyway."""
        rows = self.api.get(path)["data"]
        return rows[number % len(rows)]["id"]

    def connected(self, number: int) -> str:
        return self.agents[number % len(self.agents)]


Maker = Callable[[Things, int], Any]
_USUAL: Final[dict[str, Maker]] = {
    "jobs": lambda things, number: make_job(things.api)["id"],
    "schedules": lambda things, number: make_schedule(things.api, things.job)["id"],
    "tasks": lambda things, number: things.task()["id"],
    "task-instances": lambda things, number: things.attempt()["id"],
    "agents": lambda things, number: make_agent(things.api)["id"],
    "connections": lambda things, number: things.connected(number),
    "servers": lambda things, number: things.nth("/servers", number),
    "audit": lambda things, number: things.nth("/audit", number),
    "alerts": lambda things, number: things.nth("/alerts", number),
    "tokens": lambda things, number: things.api.create("/tokens", {"name": fresh("token")})["id"],
    "calendars": lambda things, number: things.api.create("/calendars", {"name": fresh("calendar")})["id"],
    "backfills": lambda things, number: things.backfill()["id"],
    "retention-rules": lambda things, number: things.api.create(
        "/retention-rules", {"namespace": fresh("space"), "keep_days": 0}
    )["id"],
    "freezes": lambda things, number: things.api.create("/freezes", {"namespace": fresh("space")})["id"],
}
# Where the usual state would refuse, or nobody would answer.
_SPECIAL: Final[dict[str, Maker]] = {
    "tasks_delete": lambda things, number: things.ended_task()["id"],
    "tasks_retry": lambda things, number: things.ended_task()["id"],
    "task_instances_delete": lambda things, number: things.ended_attempt()["id"],
    "backfills_resume": lambda things, number: things.paused_backfill()["id"],
    # What an attempt says that has not ended is followed until it has.
    "task_instances_logs": lambda things, number: things.ended_attempt()["id"],
    "agents_commands": lambda things, number: things.connected(number),
    "agents_logs": lambda things, number: things.connected(number),
    "agents_status": lambda things, number: things.connected(number),
    **{
        f"agents_enrollment_tokens_{verb}": lambda things, number: things.api.create(
            "/agents/enrollment-tokens", {"name": fresh("machine")}
        )["id"]
        for verb in ("get", "delete")
    },
}


def things_for(
    document: Thing, installation: Installation, api: Client, agents: Sequence[str]
) -> dict[str, Any]:
    """Return what `fuzz_hooks` puts into paths and bodies, and the ids that must not be touched."""
    things = Things(api, agents)
    in_bodies = _for_bodies(things)
    installation.execute(_ALERTS, OF_EACH)
    paths = {}
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        name, names = operation["operationId"], _names_in_path(operation)
        if "token_id" in names:
            paths[name] = [things.token_of_agent() for _ in range(OF_EACH)]
        elif names and (name in _SPECIAL or operation["tags"][0] in _USUAL):
            paths[name] = [
                things.for_path(name, operation["tags"][0], names, number) for number in range(OF_EACH)
            ]
    own_token = api.get("/tokens?order_by=id&limit=1")["data"][0]["id"]
    return {
        "paths": paths,
        "bodies": in_bodies,
        "spared": {"tokens_delete": [str(own_token)], **_spared_agents(agents)},
    }


def _for_bodies(things: Things) -> dict[str, list[Any]]:
    calendars = [_USUAL["calendars"](things, number) for number in range(2)]
    return {
        "job_id": [make_job(things.api)["id"] for _ in range(IN_BODIES)],
        "task_id": [things.task()["id"] for _ in range(IN_BODIES)],
        "calendar_id": calendars,
        "schedule_id": [
            # One that any range of the past has instants of.
            make_schedule(things.api, things.job, kind="cron", cron_expression="0 * * * *")["id"]
            for _ in range(IN_BODIES)
        ],
        "agent_id": things.agents,
        "target_agents": [[agent] for agent in things.agents],
        "scheduled_at": [FAR],
    }


def _spared_agents(agents: Sequence[str]) -> dict[str, list[str]]:
    """No chance may make the agents go for good."""
    return {name: list(agents) for name in ("agents_delete", "agents_update", "agents_patch")}


def _names_in_path(operation: Thing) -> list[str]:
    return [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
