"""The admin pages of jobs, schedules, tasks and attempts; importing this registers them."""

from scheduling.admin import instances, jobs, schedules, tasks

__all__ = ["instances", "jobs", "schedules", "tasks"]
