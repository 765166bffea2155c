"""What the OpenAPI document says of itself: drf-spectacular's settings."""

from typing import Any, Final

from hetuflow import __version__

DESCRIPTION: Final = """
Hetuflow runs jobs on machines: a **job** says what to run, a **schedule** when, a **task** is one planned
instant of a job, a **task instance** one attempt at it on one **agent**.

**Authentication.** Programs send `Authorization: Bearer …` with an API token; browsers use the session of
the admin, and writes then need the header `X-CSRFToken`.

**Conventions.** Bodies are JSON and hold exactly the types named here; unknown and read-only fields are
refused. Times are RFC 3339 in UTC with microseconds, durations are seconds. Updates are partial: absent
fields stay.

**Queries.** `POST /api/v1/{resource}/query` filters, orders and pages by its body, `GET /api/v1/{resource}`
by its parameters (`?status=enabled&name__contains=backup&order_by=-created_at`). A filter is a value, or an
object of operators. `total` is exact up to 10,000 rows, where so many can be counted at once, else the
planner's estimate; `has_more` is always exact.

**Errors** have one shape: `{"type", "errors": [{"code", "detail", "attr"}]}`, with an entry for each field
at fault. Programs decide by the status and by `code`; `detail` is for people and may change.

**Idempotency.** A create or trigger request with the header `Idempotency-Key` happens once in 24 hours; its
repetition gets the first answer, marked `Idempotent-Replayed: true`.
""".strip()

SPECTACULAR_SETTINGS: Final[dict[str, Any]] = {
    "TITLE": "Hetuflow",
    "DESCRIPTION": DESCRIPTION,
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": "/", "description": "This server"}],
    "TAGS": [
        {"name": "jobs", "description": "What to run."},
        {"name": "schedules", "description": "When jobs run."},
        {"name": "backfills", "description": "Ranges of the past that are run after all."},
        {"name": "calendars", "description": "Days off, allowed times and blackouts."},
        {"name": "freezes", "description": "Namespaces in which nothing is planned."},
        {"name": "retention-rules", "description": "How long history is kept."},
        {"name": "alerts", "description": "What went wrong while nobody watched."},
        {"name": "tasks", "description": "Planned instants of jobs, and what became of them."},
        {"name": "task-instances", "description": "Attempts at tasks, and their output."},
        {"name": "agents", "description": "The daemons on worker machines."},
        {"name": "connections", "description": "The agents' sessions, on all servers of the cluster."},
        {"name": "servers", "description": "The server processes of the cluster."},
        {"name": "tokens", "description": "The caller's own API tokens, and who the caller is."},
        {"name": "audit", "description": "Every write: who, what, before and after."},
        {"name": "system", "description": "Health, figures and build."},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "string", "format": "uuid"}},
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": ["rest.openapi.hooks.polish"],
    "GET_LIB_DOC_EXCLUDES": "rest.openapi.hooks.doc_excludes",
    # Every choice has a name; see rest.openapi.enums.
    "ENUM_NAME_OVERRIDES": {
        "ActorKind": "access.actors.ActorKind",
        "AgentStatus": "agents.models.AgentStatus",
        "AgentActivity": "agents.api.serializers.HEARTBEAT_STATUSES",
        "AgentCommand": "gateway.commands.CommandName",
        "AgentTokenState": "agents.models.TokenState",
        "EnrollmentState": "agents.models.EnrollmentState",
        "CommandKind": "agents.protocol.messages.CommandKind",
        "CommandStatus": "gateway.api.agents.ANSWER_STATUSES",
        "ConcurrencyPolicy": "scheduling.task_config.ConcurrencyPolicy",
        "DaylightGap": "scheduling.kinds.DaylightGap",
        "DaylightOverlap": "scheduling.kinds.DaylightOverlap",
        "ErrorType": "rest.serializers.ERROR_TYPES",
        "HealthStatus": "gateway.system.HEALTH_STATUSES",
        "LeaseLostAction": "agents.protocol.messages.LeaseLostAction",
        "LogLevel": "agents.protocol.messages.LogLevel",
        "MessageKind": "gateway.api.connections.BROADCAST_KINDS",
        "MisfirePolicy": "scheduling.task_config.MisfirePolicy",
        "Role": "access.roles.Role",
        "RetryBackoff": "scheduling.task_config.RetryBackoff",
        "ScheduleKind": "scheduling.kinds.ScheduleKind",
        "ScheduleStatus": "scheduling.kinds.ScheduleStatus",
        "AlertKind": "scheduling.kinds.AlertKind",
        "BackfillFailure": "scheduling.kinds.BackfillFailure",
        "BackfillOverlap": "scheduling.kinds.BackfillOverlap",
        "BackfillStatus": "scheduling.kinds.BackfillStatus",
        "IntervalMode": "scheduling.kinds.IntervalMode",
        "CalendarPolicy": "scheduling.kinds.CalendarPolicy",
        "LedgerOutcome": "scheduling.api.insight.LEDGER_OUTCOMES",
        "ScheduleSwitch": "scheduling.api.serializers.SWITCHABLE_STATUSES",
        "ServerStatus": "gateway.api.servers.SERVER_STATUSES",
        "TaskInstanceStatus": "scheduling.states.InstanceStatus",
        "TaskStatus": "scheduling.states.TaskStatus",
        "TokenScope": "access.roles.Scope",
    },
}
