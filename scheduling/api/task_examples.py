"""Tasks and attempts in the OpenAPI document: examples, and what refuses."""

from typing import Any, Final

from agents.api.examples import AGENT_ID
from rest.openapi.documentation import Conflict, Documentation, Documented
from scheduling.api.examples import DISABLED, TASK, state_conflict

INSTANCE_ID: Final = "0199f3b4-08d2-7e6a-b1c3-92f47d5a6e80"
INSTANCE: Final[dict[str, Any]] = {
    "id": INSTANCE_ID,
    "task_id": 1,
    "job_id": 1,
    "agent_id": AGENT_ID,
    "attempt": 1,
    "status": "completed",
    "started_at": "2026-03-02T12:00:00.031000Z",
    "completed_at": "2026-03-02T12:01:14.502000Z",
    "exit_code": 0,
    "result": {"tables": 42},
    "output": "dumped 42 tables\n",
    "error_message": "",
    "metrics": {"cpu_time": 3.25, "memory_peak": 52428800, "disk_read": 4096, "disk_write": 734003200},
    "created_at": "2026-03-02T12:00:00.010000Z",
    "updated_at": "2026-03-02T12:01:14.502000Z",
}
TASKS: Final = Documentation(
    entity=TASK,
    actions={
        "query": Documented(
            requests={
                "Failures since a time": {
                    "filter": {"status": "failed", "scheduled_at": {"gte": "2026-03-01T00:00:00Z"}},
                    "page": {"limit": 50, "order_bys": ["-scheduled_at"]},
                },
                "What is on its way": {"filter": {"status": {"in": ["locked", "dispatched", "running"]}}},
                "Of one schedule": {"filter": {"schedule_id": 1, "priority": {"gte": 0, "lt": 10}}},
            }
        ),
        "create": Documented(
            requests={
                "Now": {"job_id": 1},
                "Later, and tried more often": {
                    "job_id": 1,
                    "scheduled_at": "2030-01-01T02:30:00Z",
                    "parameters": {"database": "shop"},
                    "environment": {"PGHOST": "db.internal"},
                    "max_retries": 5,
                },
                "With another time limit": {"job_id": 1, "config": {"timeout_secs": 60}},
            },
            conflicts={"invalid_state": Conflict("the job is disabled", DISABLED.detail)},
        ),
        "partial_update": Documented(
            requests={
                "Before others": {"priority": 10},
                "Later": {"scheduled_at": "2030-01-01T02:30:00Z", "parameters": {"database": "shop"}},
            },
            conflicts=state_conflict(
                "it is not `pending`", action="change this task", current="running", allowed="pending"
            ),
        ),
        "destroy": Documented(
            conflicts=state_conflict(
                "it has not ended",
                action="delete this task",
                current="running",
                allowed="completed, failed, cancelled",
            ),
            notes="With its attempts and their output.",
        ),
        "retry": Documented(
            conflicts=state_conflict(
                "it is neither `failed` nor `cancelled`",
                action="retry this task",
                current="running",
                allowed="failed, cancelled",
            )
        ),
        "cancel": Documented(
            conflicts=state_conflict(
                "it has ended",
                action="cancel this task",
                current="completed",
                allowed="pending, locked, dispatched, running, waiting_retry",
            )
        ),
    },
)


OUTPUT: Final = {
    "application/x-ndjson": (
        '{"seq": 1, "stream": "stdout", "offset": 0, '
        '"at": "2026-03-02T12:00:01.250000Z", "text": "dumped 42 tables\\n"}\n'
    ),
    "text/plain": "dumped 42 tables\n",
}


def _live(action: str) -> dict[str, Conflict]:
    return state_conflict(
        "it has ended",
        action=f"{action} this attempt",
        current="completed",
        allowed="pending, dispatched, running",
    )


INSTANCES: Final = Documentation(
    entity=INSTANCE,
    actions={
        "query": Documented(
            requests={
                "Attempts that failed on one agent": {
                    "filter": {"agent_id": AGENT_ID, "status": {"in": ["failed", "timeout", "lost"]}},
                    "page": {"order_bys": ["-started_at"]},
                },
                "By exit code": {
                    "filter": {"exit_code": {"gt": 0}, "error_message": {"icontains": "memory"}}
                },
            }
        ),
        "create": Documented(
            requests={"Of a task": {"task_id": 1}, "For an agent": {"task_id": 1, "agent_id": AGENT_ID}},
            conflicts=state_conflict(
                "the task does not wait, or its job is at its limit",
                action="begin an attempt of this task",
                current="running",
                allowed="pending, waiting_retry",
            ),
            notes=(
                "For agents that speak HTTP only, and for operators. Nobody renews its lease: it lasts as "
                "long as the command's timeout and a minute, and then the attempt is `lost`."
            ),
        ),
        "partial_update": Documented(
            requests={
                "A result so far": {"result": {"rows": 1200}},
                "Figures": {"metrics": {"cpu_time": 1.5, "memory_peak": 52428800}},
            },
            conflicts=_live("change"),
        ),
        "destroy": Documented(
            conflicts=state_conflict(
                "it has not ended",
                action="delete this attempt",
                current="running",
                allowed="completed, failed, cancelled, timeout, lost, skipped",
            )
        ),
        "start": Documented(
            requests={"Where it is known to run": {}, "On an agent": {"agent_id": AGENT_ID}},
            conflicts=state_conflict(
                "it is not `pending` or `dispatched`",
                action="start this attempt",
                current="running",
                allowed="pending, dispatched",
            ),
        ),
        "complete": Documented(
            requests={
                "It went well": {
                    "exit_code": 0,
                    "output": "dumped 42 tables\n",
                    "result": {"tables": 42},
                    "metrics": {"cpu_time": 3.25, "memory_peak": 52428800},
                },
                "It failed": {"exit_code": 3, "error_message": "no space left on device"},
            },
            conflicts=_live("complete"),
        ),
        "cancel": Documented(conflicts=_live("cancel")),
    },
)
