"""What queries may say about jobs, schedules, tasks and task instances."""

from typing import Final

from rest.kinds import BOOLEAN, INSTANT, INTEGER, TAGS, TEXT, UUID, choice
from rest.querying import QueryTable
from scheduling.kinds import ScheduleKind, ScheduleStatus
from scheduling.states import InstanceStatus, TaskStatus

TASK_STATUS: Final = choice(TaskStatus.values)
INSTANCE_STATUS: Final = choice(InstanceStatus.values)

JOBS: Final = QueryTable(
    {
        "id": INTEGER,
        "namespace": TEXT,
        "name": TEXT,
        "description": TEXT,
        "command": TEXT,
        "enabled": BOOLEAN,
        "tags": TAGS,
        "created_by": TEXT,
        "created_at": INSTANT,
        "updated_by": TEXT,
        "updated_at": INSTANT,
    }
)
SCHEDULES: Final = QueryTable(
    {
        "id": INTEGER,
        "job_id": INTEGER,
        "name": TEXT,
        "description": TEXT,
        "kind": choice(ScheduleKind.values),
        "cron_expression": TEXT,
        "interval_secs": INTEGER,
        "timezone": TEXT,
        "start_time": INSTANT,
        "end_time": INSTANT,
        "max_count": INTEGER,
        "run_count": INTEGER,
        "missed_count": INTEGER,
        "jitter_secs": INTEGER,
        "status": choice(ScheduleStatus.values),
        "next_run_at": INSTANT,
        "last_run_at": INSTANT,
        "created_at": INSTANT,
        "updated_at": INSTANT,
    }
)
TASKS: Final = QueryTable(
    {
        "id": INTEGER,
        "job_id": INTEGER,
        "namespace": TEXT,
        "schedule_id": INTEGER,
        "backfill_id": INTEGER,
        "schedule_kind": TEXT,
        "priority": INTEGER,
        "status": TASK_STATUS,
        "scheduled_at": INSTANT,
        "completed_at": INSTANT,
        "retry_count": INTEGER,
        "max_retries": INTEGER,
        "locked_at": INSTANT,
        "lock_version": INTEGER,
        "created_by": TEXT,
        "created_at": INSTANT,
        "updated_at": INSTANT,
    },
    times=("scheduled_at", "completed_at", "created_at"),
)
INSTANCES: Final = QueryTable(
    {
        "id": UUID,
        "task_id": INTEGER,
        "job_id": INTEGER,
        "agent_id": UUID,
        "attempt": INTEGER,
        "status": INSTANCE_STATUS,
        "started_at": INSTANT,
        "completed_at": INSTANT,
        "exit_code": INTEGER,
        "error_message": TEXT,
        "created_at": INSTANT,
        "updated_at": INSTANT,
    },
    times=("created_at",),
)
