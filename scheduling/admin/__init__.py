"""The admin pages of jobs, schedules, tasks and attempts; importing this registers them."""

from scheduling.admin import (
    alerts,
    backfills,
    bulk_pages,
    calendars,
    freezes,
    instances,
    jobs,
    retention,
    schedules,
    tasks,
)

__all__ = [
    "alerts",
    "backfills",
    "bulk_pages",
    "calendars",
    "freezes",
    "instances",
    "jobs",
    "retention",
    "schedules",
    "tasks",
]
