"""A few jobs to look at, loaded once into an installation that has none."""

from datetime import datetime
from typing import Any, Final

from django.db import transaction

from access.actors import Actor, ActorKind
from hetuflow.data_folder import DataFolder
from scheduling.models import Job
from scheduling.services.definitions import create_job, create_schedule
from scheduling.services.manual import trigger_job

_MARK: Final = "samples_loaded"
_BY: Final = Actor(kind=ActorKind.SYSTEM, name="samples")

# Nobody should have to wait to see what a failure and its retries look like.
_RUN_AT_ONCE: Final = "always-fails"
_SAMPLES: Final[list[tuple[dict[str, Any], dict[str, Any] | None]]] = [
    (
        {
            "name": "tick",
            "description": "Prints the time, every five seconds.",
            "command": 'echo "tick of $HETUFLOW_SCHEDULED_AT, printed at $(date -u +%H:%M:%S)"',
            "config": {"cmd": "sh", "timeout_secs": 30},
        },
        {"name": "every 5 seconds", "kind": "interval", "interval_secs": 5},
    ),
    (
        {
            "name": "disk-report",
            "description": "Shows how full the disks are, by a cron expression: at every full minute.",
            "command": "df -h",
            "config": {"cmd": "sh", "timeout_secs": 30},
        },
        {"name": "every minute", "kind": "cron", "cron_expression": "* * * * *"},
    ),
    (
        {
            "name": "always-fails",
            "description": "Fails with exit code 3 and is tried again after 2, 4 and 8 seconds.",
            "command": 'echo "attempt $HETUFLOW_ATTEMPT fails" >&2\nexit 3',
            "config": {
                "cmd": "sh",
                "timeout_secs": 30,
                "max_retries": 3,
                "retry_interval_secs": 2,
                "retry_backoff": "exponential",
            },
        },
        {"name": "every 5 minutes", "kind": "cron", "cron_expression": "*/5 * * * *"},
    ),
    (
        {
            "name": "countdown",
            "description": "Prints a line a second for a minute: run it now and follow its output.",
            "command": "for i in $(seq 60 -1 1); do\n  echo $i\n  sleep 1\ndone\necho done",
            "config": {"cmd": "sh", "timeout_secs": 120},
        },
        {"name": "daily at noon", "kind": "cron", "cron_expression": "0 12 * * *"},
    ),
]


def load_once(folder: DataFolder, *, now: datetime) -> bool:
    """Load the sample jobs if this installation never had them and its database never had a job.

    Returns whether they were loaded. One transaction.
    """
    if folder.read_secret(_MARK):
        return False
    is_new = not Job.objects.exists()
    if is_new:
        with transaction.atomic():
            for job_fields, schedule_fields in _SAMPLES:
                job = create_job(by=_BY, tags=["sample"], **job_fields)
                if schedule_fields:
                    create_schedule(job=job, now=now, **schedule_fields)
                if job.name == _RUN_AT_ONCE:
                    trigger_job(job=job, now=now, by=_BY)
    folder.write_secret(_MARK, now.isoformat())
    return is_new
