"""Jobs and schedules in the OpenAPI document: examples, and what refuses."""

from typing import Any, Final

from rest.openapi.documentation import Conflict, Documentation, Documented

CONFIG: Final[dict[str, Any]] = {
    "cmd": "bash",
    "args": [],
    "working_dir": None,
    "timeout_secs": 1800,
    "max_retries": 2,
    "retry_interval_secs": 10,
    "retry_backoff": "exponential",
    "capture_output": True,
    "max_output_size": 10485760,
    "labels": {"env": "prod"},
    "resource_limits": {"max_memory_mb": 512},
    "concurrency_policy": "forbid",
    "max_concurrency": None,
    "misfire_policy": "run_once",
    "misfire_grace_secs": 60,
    "kill_grace_secs": 10,
    "on_lease_lost": "keep",
}
JOB: Final[dict[str, Any]] = {
    "id": 1,
    "namespace": "default",
    "name": "nightly-backup",
    "description": "Dumps the shop's database.",
    "command": "pg_dump shop > /backup/shop.sql",
    "environment": {"PGHOST": "db.internal"},
    "config": CONFIG,
    "parameters_schema": {
        "type": "object",
        "properties": {
            "database": {"type": "string", "description": "What is dumped.", "default": "shop"},
            "compress": {"type": "boolean", "default": True},
        },
        "additionalProperties": True,
    },
    "enabled": True,
    "tags": ["nightly", "database"],
    "created_by": "ann",
    "created_at": "2026-03-01T09:00:00.000000Z",
    "updated_by": "ann",
    "updated_at": "2026-03-01T09:00:00.000000Z",
}
SCHEDULE: Final[dict[str, Any]] = {
    "id": 1,
    "job_id": 1,
    "name": "every night",
    "description": "",
    "kind": "cron",
    "cron_expression": "30 2 * * *",
    "interval_secs": None,
    "timezone": "Europe/Berlin",
    "start_time": None,
    "end_time": None,
    "max_count": None,
    "run_count": 12,
    "missed_count": 0,
    "jitter_secs": 0,
    "dst_gap": None,
    "dst_overlap": None,
    "interval_mode": "rate",
    "calendar_id": None,
    "calendar_policy": "skip",
    "parameters": {"day": "{{ business_date }}"},
    "pause_after_failures": 5,
    "catch_up_secs": None,
    "status": "enabled",
    "next_run_at": "2026-03-03T01:30:00.000000Z",
    "last_run_at": "2026-03-02T01:30:00.000000Z",
    "created_at": "2026-02-18T09:00:00.000000Z",
    "updated_at": "2026-03-02T01:30:00.004000Z",
}
TASK: Final[dict[str, Any]] = {
    "id": 1,
    "job_id": 1,
    "namespace": "default",
    "schedule_id": None,
    "backfill_id": None,
    "schedule_kind": "",
    "priority": 5,
    "status": "pending",
    "scheduled_at": "2026-03-02T12:00:00.000000Z",
    "completed_at": None,
    "parameters": {"database": "shop"},
    "environment": {"PGHOST": "db.internal"},
    "config": {**CONFIG, "args": ["-c", "pg_dump shop > /backup/shop.sql"]},
    "retry_count": 0,
    "max_retries": 2,
    "dependencies": [],
    "locked_at": None,
    "lock_version": 0,
    "created_by": "ann",
    "created_at": "2026-03-02T12:00:00.000000Z",
    "updated_at": "2026-03-02T12:00:00.000000Z",
}
_NAME_TAKEN: Final = Conflict(
    "the namespace has another job of that name",
    "A job 'nightly-backup' exists already in namespace 'default'.",
)
DISABLED: Final = Conflict(
    "the job is disabled, and `force` is not given",
    'The job is disabled; enable it, or trigger it with "force": true.',
)


def state_conflict(when: str, *, action: str, current: str, allowed: str) -> dict[str, Conflict]:
    detail = f"Cannot {action}: the current state is {current}; allowed from {allowed}."
    return {"invalid_state": Conflict(when, detail)}


JOBS: Final = Documentation(
    entity=JOB,
    actions={
        "query": Documented(
            requests={
                "Enabled jobs of a namespace": {
                    "filter": {"enabled": True, "namespace": "default", "name": {"contains": "backup"}},
                    "page": {"page": 1, "limit": 20, "order_bys": ["-created_at", "id"]},
                },
                "By tags": {"filter": {"tags": ["nightly", "database"]}},
            }
        ),
        "create": Documented(
            requests={
                "A shell script": {
                    "name": "nightly-backup",
                    "description": "Dumps the shop's database.",
                    "command": "pg_dump shop > /backup/shop.sql",
                    "config": {"cmd": "bash", "timeout_secs": 1800, "max_retries": 2},
                    "tags": ["nightly", "database"],
                },
                "A program with arguments": {
                    "namespace": "reports",
                    "name": "render",
                    "environment": {"REPORT_LANGUAGE": "en"},
                    "config": {"cmd": "exec", "args": ["/usr/local/bin/render", "--month", "last"]},
                },
                "Python on machines with a label, one at a time": {
                    "name": "train",
                    "command": "print('training')",
                    "config": {
                        "cmd": "python",
                        "labels": {"gpu": "a100"},
                        "concurrency_policy": "forbid",
                        "resource_limits": {"max_memory_mb": 4096},
                        "retry_backoff": "exponential_jitter",
                    },
                },
            },
            conflicts={"already_exists": _NAME_TAKEN},
        ),
        "partial_update": Documented(
            requests={
                "Other times": {"config": {"timeout_secs": 600, "max_retries": 1}},
                "Other words": {"description": "Dumps the shop's database.", "tags": ["nightly"]},
            },
            conflicts={"already_exists": _NAME_TAKEN},
            notes=(
                "Of `config` too, only the given fields change. "
                "Planned tasks keep what they were planned with."
            ),
        ),
        "destroy": Documented(
            notes="Archives it: it is gone from every list and cannot run, its tasks stay readable."
        ),
        "trigger": Documented(
            requests={
                "Now": {},
                "With parameters, before others": {"parameters": {"database": "shop"}, "priority": 5},
                "At a time": {"scheduled_at": "2030-01-01T02:30:00Z"},
                "Although the job is disabled": {"force": True},
            },
            answer=TASK,
            resource="tasks",
            conflicts={"invalid_state": DISABLED},
        ),
    },
)
SCHEDULES: Final = Documentation(
    entity=SCHEDULE,
    actions={
        "query": Documented(
            requests={
                "What runs in the next days": {
                    "filter": {"status": "enabled", "next_run_at": {"lt": "2026-03-09T00:00:00Z"}},
                    "page": {"order_bys": ["next_run_at"]},
                },
                "Of one job": {"filter": {"job_id": 1, "kind": {"in": ["cron", "interval"]}}},
            }
        ),
        "create": Documented(
            requests={
                "Cron, in a time zone": {
                    "job_id": 1,
                    "name": "every night",
                    "kind": "cron",
                    "cron_expression": "30 2 * * *",
                    "timezone": "Europe/Berlin",
                },
                "Every five minutes": {
                    "job_id": 1,
                    "kind": "interval",
                    "interval_secs": 300,
                    "jitter_secs": 30,
                },
                "Once": {"job_id": 1, "kind": "once", "start_time": "2030-01-01T00:00:00Z"},
                "Ten times, within a range": {
                    "job_id": 1,
                    "kind": "interval",
                    "interval_secs": 3600,
                    "start_time": "2030-01-01T00:00:00Z",
                    "end_time": "2030-02-01T00:00:00Z",
                    "max_count": 10,
                },
            },
            notes="The kinds `event`, `daemon` and `flow` cannot be planned yet.",
        ),
        "partial_update": Documented(
            requests={
                "Another time": {"cron_expression": "0 3 * * mon-fri"},
                "Until a day": {"end_time": "2031-01-01T00:00:00Z"},
            },
            notes="Planned tasks that no agent has yet are withdrawn, so that the new times replace the old.",
        ),
        "enable": Documented(
            conflicts=state_conflict(
                "none of its instants is left",
                action="enable this schedule, which has no instant left",
                current="expired",
                allowed="enabled, disabled",
            )
        ),
        "destroy": Documented(notes="Where tasks refer to it, it is archived: gone from every list."),
        "preview": Documented(
            requests={
                "Around a change of the clocks": {
                    "kind": "cron",
                    "cron_expression": "30 2 * * *",
                    "timezone": "Europe/Berlin",
                    "count": 3,
                    "after": "2027-03-26T12:00:00Z",
                },
                "An interval": {"kind": "interval", "interval_secs": 90, "count": 5},
            },
            answer={
                "kind": "cron",
                "timezone": "Europe/Berlin",
                "description": "At 02:30 every day (Europe/Berlin)",
                "fire_times": [
                    {
                        "utc": "2027-03-27T01:30:00.000000Z",
                        "local": "2027-03-27T02:30:00+01:00",
                        "note": None,
                    },
                    {
                        "utc": "2027-03-28T01:00:00.000000Z",
                        "local": "2027-03-28T03:00:00+02:00",
                        "note": "The clocks go forward by 60 minutes before this run.",
                    },
                    {
                        "utc": "2027-03-29T00:30:00.000000Z",
                        "local": "2027-03-29T02:30:00+02:00",
                        "note": None,
                    },
                ],
                "notes": [
                    "2027-03-28T03:00:00+02:00: The clocks go forward by 60 minutes, from 02:00 to 03:00. "
                    "Moved to 03:00, because that local time does not exist: 02:30."
                ],
            },
        ),
    },
)
