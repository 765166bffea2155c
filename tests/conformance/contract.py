"""The contract, sentence by sentence, and its routes; every test says which sentences it holds the server to.

`python -m tests.conformance.contract` prints the sentences with the tests that cover them.
"""

import ast
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

FOLDER: Final = Path(__file__).resolve().parent
T = TypeVar("T", bound=Callable[..., object])

SENTENCES: Final = {
    # --- conventions
    "paths": "No trailing slash, exactly as listed.",
    "verbs": "Each path answers the verbs that are listed for it, and no other.",
    "ids": "Job, Schedule, Task: integers. Agent, TaskInstance, Server: UUID, version 7 where generated.",
    "ids-own": "An agent brings its own id.",
    "ids-agent-path": "The agent in `tasks/agent/{agent_id}` is a UUID.",
    "times": "RFC 3339 in UTC with `Z`, microseconds.",
    "durations": "Durations are seconds.",
    "statuses": "Statuses are lower-case strings, never numbers.",
    "create": "A create answers 201 with the entity.",
    "read": "A read, update or action answers 200 with the entity.",
    "partial": "An update is partial: absent fields stay.",
    "unknown": "An unknown field is a 400.",
    "read-only": "Read-only fields in a request body are a 400.",
    "delete": "A delete answers 204 without a body.",
    "archive": "What history hangs on is archived: gone from every list, cannot run, history readable.",
    "not-found": "404 for what is not there.",
    "hidden": "404 for what the caller may not see.",
    "bad-input": "Bad input is a 400, one entry for each offending field.",
    "invalid-state": "A state that forbids an action: 409 `invalid_state`, names it and those allowed.",
    "unauthenticated": "401 for a caller nobody knows.",
    "forbidden": "403 for a caller who may not.",
    "throttled": "429 for a caller who asks too often.",
    "agent-offline": "409 `agent_offline` where a live agent is needed.",
    "errors": "All errors are `{type, errors: [{code, detail, attr}]}`, application/json.",
    "no-trace": "No stack trace, ever.",
    "idempotency": "The same Idempotency-Key and body within 24 h return the first answer.",
    "idempotency-reused": "The same key with another body is a 409 `idempotency_key_reused`.",
    "schema": "OpenAPI 3.1 at /api/schema.",
    "docs": "Swagger UI at /api/docs, Redoc at /api/redoc, offline.",
    "browsable": "The browsable API works on every resource for a logged-in user.",
    # --- queries
    "query-optional": "Every part of a query is optional.",
    "query-operators": "A filter value is a scalar or an object of operators, and-ed.",
    "query-labels": "`labels` filters are containment.",
    "query-limit": "`limit` is 1 to 500, default 20; `offset` may stand in place of `page`.",
    "query-unknown": "An unknown field, operator or order key is a 400.",
    "query-order": "Ordering is always made total by appending `id`.",
    "page-result": "PageResult: page {total page limit has_more}, data.",
    "get-list": "GET lists with the same filters as parameters.",
    "spellings": "POST and PATCH on the resource do the same as /create and /{id}/update.",
    "arrays": "List routes answer a bare array, newest first, at most 1000, with X-Total-Count.",
    # --- agents
    "agents.entity": "Fields of the entity, capabilities, statistics.",
    "agents.status-values": "connecting online idle busy draining disconnecting offline error",
    "agents.query": "Filter by id name status labels enabled last_heartbeat_at created_at.",
    "agents.create": "id? name description? address? labels? capabilities?; answers the token, once.",
    "agents.create-taken": "An id that is taken: 409 `already_exists`.",
    "agents.update": "name description address labels capabilities enabled",
    "agents.delete": "Disconnects it, revokes its tokens, requeues what it was running, archives it.",
    "agents.logs": "Filter level since until contains task_instance_id; strings, as they were received.",
    "agents.status": "AgentStatusResponse with metrics.",
    "agents.commands": "Seven commands; waits for the answer: command_id, acknowledged, result.",
    "agents.commands-offline": "Offline: 409.",
    "agents.commands-timeout": "No answer in time: 504 `agent_timeout`.",
    "agents.online": "GET /online, /offline: arrays.",
    "agents.heartbeat": "status? metrics? running_tasks?: for an agent behind a proxy.",
    "agents.statistics": "Statistics count what its attempts did.",
    # --- jobs
    "jobs.entity": "Fields of the entity.",
    "jobs.routes": "query create read update delete enable disable namespace",
    "jobs.trigger": "Creates one Task now, or at scheduled_at, and answers it, 201.",
    "jobs.trigger-disabled": "A disabled job only with force, else 409.",
    "jobs.unique": "(namespace, name) is unique.",
    "jobs.config": "TaskConfig: fields, values, defaults.",
    "jobs.config-labels": "An agent must carry all labels.",
    "jobs.config-frozen": "A Task carries a frozen copy of the configuration.",
    "jobs.config-runs": "Working directory, time limit, output cap, retries do what they say.",
    # --- schedules
    "schedules.entity": "Fields of the entity.",
    "schedules.routes": "query create read update delete enable disable job/{job_id}",
    "schedules.kinds": "cron interval once event daemon flow",
    "schedules.status": "enabled disabled expired",
    "schedules.preview": "The next times in UTC and in the zone, with daylight-saving notes, nothing saved.",
    "schedules.fires": "A schedule plans one Task for each instant.",
    # --- tasks
    "tasks.entity": "Fields of the entity.",
    "tasks.create": "POST /create",
    "tasks.status-values": "pending locked dispatched running waiting_retry completed failed cancelled",
    "tasks.update": "Only while pending.",
    "tasks.delete": "Only when terminal.",
    "tasks.retry": "Only from failed, cancelled; a new attempt of the same Task.",
    "tasks.cancel": "From any non-terminal state; kills the process if it runs.",
    "tasks.lists": "By job, by agent (with an instance on it), by status.",
    "tasks.priority": "Higher first.",
    "tasks.unique": "(schedule_id, scheduled_at) is unique.",
    # --- task instances
    "instances.entity": "Fields of the entity, metrics.",
    "instances.status-values": "pending dispatched running completed failed cancelled timeout lost …",
    "instances.create": "POST /create",
    "instances.update": "POST /{id}/update",
    "instances.delete": "DELETE /{id}",
    "instances.start": "agent_id?",
    "instances.complete": "result? exit_code? output? error_message? metrics?; non-zero is a failure.",
    "instances.cancel": "POST /{id}/cancel",
    "instances.lists": "By task, by agent, by status.",
    "instances.logs": "stream offset limit; text/plain when asked for, else JSON lines with sequences.",
    "instances.follow": "follow=true streams until it ends.",
    "instances.machine": "These routes drive the same state machine as the agents do.",
    # --- connections
    "connections.query": "status? min_duration? agent_id?: PageResult of ConnectionInfo.",
    "connections.stats": "ConnectionStats, with details per server when asked.",
    "connections.close": "Closes the session on whichever server holds it: 204; not connected: 404.",
    "connections.broadcast": "BroadcastResult; success means that the agent acknowledged; unknown kind: 400.",
    "connections.cluster": "The answers cover every server, not only the one that was asked.",
    # --- system
    "system.health": "Open to all: 200 and healthy, database, connections, timestamp.",
    "system.unhealthy": "503 and unhealthy.",
    "system.health-details": "details=true (authenticated): database_pool services resources.",
    "system.metrics": "SystemMetrics: connections tasks timestamp; include_details, time_range in minutes.",
    "system.metrics-details": "resources database application",
    "system.info": "SystemInfo: one object with the fields of both definitions.",
    "system.info-config": "environment? config?; no secret, ever.",
    "system.prometheus": "GET /metrics at the root: Prometheus text.",
    "system.both-paths": "Both paths answer.",
    "system.leader": "is_leader: whether this server holds the lease for single-holder duties.",
    # --- servers
    "servers": "POST /query, GET /{id}; id name address status is_leader started_at … version.",
    "servers.status": "active inactive",
}

# The routes of the page: what one may do with each path.
ROUTES: Final[dict[str, set[str]]] = {
    "/agents": {"GET", "POST"},
    "/agents/query": {"POST"},
    "/agents/create": {"POST"},
    "/agents/{uuid}": {"GET", "PATCH", "DELETE"},
    "/agents/{uuid}/update": {"POST"},
    "/agents/{uuid}/logs": {"POST"},
    "/agents/{uuid}/status": {"POST"},
    "/agents/{uuid}/commands": {"POST"},
    "/agents/{uuid}/heartbeat": {"POST"},
    "/agents/online": {"GET"},
    "/agents/offline": {"GET"},
    "/jobs": {"GET", "POST"},
    "/jobs/query": {"POST"},
    "/jobs/create": {"POST"},
    "/jobs/{int}": {"GET", "PATCH", "DELETE"},
    "/jobs/{int}/update": {"POST"},
    "/jobs/{int}/enable": {"POST"},
    "/jobs/{int}/disable": {"POST"},
    "/jobs/{int}/trigger": {"POST"},
    "/jobs/namespace/{name}": {"GET"},
    "/schedules": {"GET", "POST"},
    "/schedules/query": {"POST"},
    "/schedules/create": {"POST"},
    "/schedules/preview": {"POST"},
    "/schedules/{int}": {"GET", "PATCH", "DELETE"},
    "/schedules/{int}/update": {"POST"},
    "/schedules/{int}/enable": {"POST"},
    "/schedules/{int}/disable": {"POST"},
    "/schedules/job/{int}": {"GET"},
    "/tasks": {"GET", "POST"},
    "/tasks/query": {"POST"},
    "/tasks/create": {"POST"},
    "/tasks/{int}": {"GET", "PATCH", "DELETE"},
    "/tasks/{int}/update": {"POST"},
    "/tasks/{int}/retry": {"POST"},
    "/tasks/{int}/cancel": {"POST"},
    "/tasks/job/{int}": {"GET"},
    "/tasks/agent/{uuid}": {"GET"},
    "/tasks/status/{name}": {"GET"},
    "/task-instances": {"GET", "POST"},
    "/task-instances/query": {"POST"},
    "/task-instances/create": {"POST"},
    "/task-instances/{uuid}": {"GET", "PATCH", "DELETE"},
    "/task-instances/{uuid}/update": {"POST"},
    "/task-instances/{uuid}/start": {"POST"},
    "/task-instances/{uuid}/complete": {"POST"},
    "/task-instances/{uuid}/cancel": {"POST"},
    "/task-instances/{uuid}/logs": {"GET"},
    "/task-instances/task/{int}": {"GET"},
    "/task-instances/agent/{uuid}": {"GET"},
    "/task-instances/status/{name}": {"GET"},
    "/connections": {"GET"},
    "/connections/query": {"POST"},
    "/connections/stats": {"POST"},
    "/connections/{uuid}": {"DELETE"},
    "/connections/broadcast": {"POST"},
    "/health": {"GET"},
    "/metrics": {"POST"},
    "/info": {"POST"},
    "/system/health": {"GET"},
    "/system/metrics": {"POST"},
    "/system/info": {"POST"},
    "/servers": {"GET"},
    "/servers/query": {"POST"},
    "/servers/{uuid}": {"GET"},
}
OPEN: Final = {"/health", "/system/health"}
NOBODY: Final = {"{int}": "999999999", "{uuid}": "00000000-0000-7000-8000-000000000000", "{name}": "nobody"}


def example(path: str) -> str:
    """Return a path of the table with ids of nothing."""
    for name, value in NOBODY.items():
        path = path.replace(name, value)
    return path


def covers(*_sentences: str) -> Callable[[T], T]:
    """Name the sentences that a test holds the server to; `covering_tests` reads them from the source."""
    return lambda test: test


def covering_tests() -> dict[str, list[str]]:
    """Return the tests that name each sentence."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == covers.__name__:
                    for name in decorator.args:
                        found[ast.literal_eval(name)].append(f"{path.stem}.{node.name}")  # type: ignore[attr-defined]
    return dict(found)


if __name__ == "__main__":
    covered = covering_tests()
    for sentence, text in SENTENCES.items():
        print(f"{sentence}: {text}")  # noqa: T201
        for test in covered.get(sentence, ["(no test)"]):
            print(f"    {test}")  # noqa: T201
