"""Definitions as documents: what a file says of a calendar, or of a job with its schedules.

A whole document has every field; a brief one leaves out what has its default.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Prefetch, QuerySet

from scheduling.kinds import ScheduleStatus
from scheduling.models import Calendar, Job, Schedule
from scheduling.task_config import clean_task_config

Document = dict[str, Any]
INSTANTS: Final = frozenset({"start_time", "end_time"})
_CHUNK: Final = 500
_CALENDAR_FIELDS: Final = (
    *("namespace", "name", "description", "country", "subdivision"),
    *("dates", "ics", "windows", "blackouts"),
)
_JOB_FIELDS: Final = (
    *("namespace", "name", "description", "tags", "enabled", "command", "environment", "config"),
    "parameters_schema",
)
_SCHEDULE_FIELDS: Final = (
    *("name", "description", "kind", "cron_expression", "interval_secs", "timezone"),
    *("start_time", "end_time", "max_count", "jitter_secs", "dst_gap", "dst_overlap", "interval_mode"),
    *("calendar_policy", "parameters", "pause_after_failures", "catch_up_secs"),
)


def calendar_document(calendar: Calendar) -> Document:
    """Return the whole document of a calendar."""
    return {name: getattr(calendar, name) for name in _CALENDAR_FIELDS}


def job_document(job: Job, schedules: Iterable[Schedule]) -> Document:
    """Return the whole document of a job and these schedules of it."""
    document = {name: getattr(job, name) for name in _JOB_FIELDS}
    return {**document, "schedules": [schedule_document(schedule) for schedule in schedules]}


def schedule_document(schedule: Schedule) -> Document:
    """Return the whole document of a schedule; one that has ended is not enabled."""
    document = {name: getattr(schedule, name) for name in _SCHEDULE_FIELDS}
    for name in INSTANTS:
        document[name] = None if document[name] is None else instant_text(document[name])
    document["calendar"] = None if schedule.calendar is None else schedule.calendar.name
    return {**document, "enabled": schedule.status == ScheduleStatus.ENABLED}


def instant_text(instant: datetime) -> str:
    """Return an instant as documents have it, in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def brief_calendar(document: Mapping[str, Any]) -> Document:
    """Return a document of a calendar without what has its default."""
    return _without(document, _CALENDAR_DEFAULTS)


def brief_job(document: Mapping[str, Any]) -> Document:
    """Return a document of a job without what has its default."""
    brief = _without(document, _JOB_DEFAULTS)
    brief["config"] = _brief_config(document["config"])
    if document["schedules"]:
        brief["schedules"] = [_without(each, _SCHEDULE_DEFAULTS) for each in document["schedules"]]
    return brief


def exported(jobs: QuerySet[Job]) -> tuple[Iterator[Document], Iterator[Document]]:
    """Return the brief documents of the calendars that these jobs use, and those of the jobs.

    In the order of their names; a bounded number of rows is in memory at a time.
    """
    schedules = Schedule.objects.present().filter(job__in=jobs.order_by().values("pk"))
    calendars = Calendar.objects.filter(pk__in=schedules.values("calendar")).order_by("namespace", "name")
    return (
        (brief_calendar(calendar_document(each)) for each in calendars.iterator(_CHUNK)),
        (
            brief_job(job_document(job, job.present_schedules))
            for job in with_schedules(jobs).order_by("namespace", "name", "pk").iterator(_CHUNK)
        ),
    )


def with_schedules(jobs: QuerySet[Job]) -> QuerySet[Any]:
    """Return jobs that bring `present_schedules` with them, each with its calendar."""
    present = Schedule.objects.present().select_related("calendar").order_by("pk")
    return jobs.prefetch_related(Prefetch("schedules", present, to_attr="present_schedules"))


def filled_job(document: Mapping[str, Any]) -> Document:
    """Return the fields of a job that a document means, with defaults, but for its schedules."""
    return {name: document.get(name, _default(_JOB_DEFAULTS, name)) for name in _JOB_FIELDS}


def filled_calendar(document: Mapping[str, Any]) -> Document:
    """Return the fields of a calendar that a document means, with defaults."""
    return {name: document.get(name, _default(_CALENDAR_DEFAULTS, name)) for name in _CALENDAR_FIELDS}


def filled_schedule(document: Mapping[str, Any]) -> Document:
    """Return the whole document of a schedule that a document means."""
    return {name: document.get(name, default) for name, default in _SCHEDULE_DEFAULTS.items()}


def _default(defaults: Mapping[str, Any], name: str) -> Any:
    value = defaults[name]
    # Nobody is to share a list or an object with the defaults.
    return value.copy() if isinstance(value, list | dict) else value


def _without(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> Document:
    return {
        name: value
        for name, value in document.items()
        if name in _ALWAYS or (name != "schedules" and value != defaults[name])
    }


def _brief_config(config: Mapping[str, Any]) -> Document:
    defaults = clean_task_config({"cmd": config["cmd"]})
    brief = {name: value for name, value in config.items() if name == "cmd" or value != defaults[name]}
    if "resource_limits" in brief:
        brief["resource_limits"] = {k: v for k, v in brief["resource_limits"].items() if v is not None}
    return brief


_ALWAYS: Final = frozenset({"namespace", "kind", "config"})
_CALENDAR_DEFAULTS: Final = {**calendar_document(Calendar()), "name": None}
_JOB_DEFAULTS: Final = {**{name: getattr(Job(), name) for name in _JOB_FIELDS}, "name": None}
_SCHEDULE_DEFAULTS: Final = {**schedule_document(Schedule()), "kind": None}
