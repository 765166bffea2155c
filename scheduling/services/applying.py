"""Make a definition what a document says: create it, change what differs, or leave it as it is.

A document states all there is to a calendar, or to a job; of schedules it states those that it lists, and
the others of the job stay. Nothing is deleted.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import transaction

from access.actors import Actor
from access.permits import Permits
from access.sentences import said as _
from scheduling.errors import ChangedMeanwhile, InvalidField
from scheduling.kinds import ScheduleStatus
from scheduling.models import Calendar, Job, Schedule
from scheduling.services.calendars import check_calendar, create_calendar, update_calendar
from scheduling.services.definitions import (
    create_job,
    create_schedule,
    lock_job,
    update_job,
    update_schedule,
)
from scheduling.services.documents import (
    INSTANTS,
    Document,
    calendar_document,
    filled_calendar,
    filled_job,
    filled_schedule,
    instant_text,
    job_document,
    schedule_document,
)
from scheduling.task_config import TaskConfigError, clean_task_config

# Finds the document of a calendar that the same file defines, None where it does not.
FindCalendar = Callable[[str], Mapping[str, Any] | None]
Did = Literal["create", "change", "keep"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done to a definition, with its whole document before and after.

    `others` counts the schedules of a job that the document does not list: they stay as they are.
    """

    did: Did
    before: Document | None
    after: Document
    others: int = 0


def digest(document: Mapping[str, Any] | None) -> str:
    """Return a short text that tells whether a definition is still what somebody saw."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def apply_calendar(
    document: Mapping[str, Any], *, by: Actor, permits: Permits, seen: str | None = None
) -> Outcome:
    """Make the calendar of the document's namespace and name what the document says.

    With `seen`, the digest of what it was when somebody looked, raises ChangedMeanwhile where it is another
    one by now and not as the document says. Raises InvalidField, and what `permits` raises.
    """
    fields = filled_calendar(document)
    namespace = fields["namespace"]
    permits("scheduling.view_calendar")(namespace)
    with transaction.atomic():
        found = Calendar.objects.select_for_update().filter(namespace=namespace, name=fields["name"]).first()
        before = None if found is None else calendar_document(found)
        meant = Calendar(**fields)
        check_calendar(meant)
        wanted = calendar_document(meant)
        if before != wanted:
            _refuse_if_changed(before, seen)
        if found is None:
            permits("scheduling.add_calendar")(namespace)
            found = create_calendar(by=by, **wanted)
        elif changed := _changed(before, wanted):
            permits("scheduling.change_calendar")(namespace)
            found = update_calendar(calendar_id=found.pk, by=by, **changed)
        return _outcome(before, calendar_document(found))


def apply_job(
    document: Mapping[str, Any],
    *,
    now: datetime,
    by: Actor,
    permits: Permits,
    find_calendar: FindCalendar = lambda name: None,
    seen: str | None = None,
) -> Outcome:
    """Make the job of the document's namespace and name what the document says, and its schedules.

    Schedules are told apart by their names within the job. A calendar that is not there yet is made of what
    `find_calendar` returns for it. Locks the job. Raises as `apply_calendar` does.
    """
    fields = filled_job(document)
    fields["config"] = _completed(fields["config"])
    namespace = fields["namespace"]
    permits("scheduling.view_job")(namespace)
    with transaction.atomic():
        job = _present_job(namespace, fields["name"])
        schedules = [] if job is None else _schedules_of(job)
        before = None if job is None else job_document(job, schedules)
        pairs = list(_paired(schedules, [_wanted(each) for each in document.get("schedules", ())]))
        others = len(schedules) - sum(schedule is not None for schedule, _document in pairs)
        if job is not None and not _changed(before, fields) and not any(_differs(*pair) for pair in pairs):
            return _outcome(before, job_document(job, schedules), others=others)
        _refuse_if_changed(before, seen)
        if job is None:
            permits("scheduling.add_job")(namespace)
            job = create_job(by=by, **fields)
        elif changed := _changed(before, fields):
            permit = permits("scheduling.change_job")
            job = update_job(job_id=job.pk, now=now, by=by, permit=permit, **changed)
        calendars = _Calendars(namespace, by=by, permits=permits, find=find_calendar)
        for number, (schedule, wanted) in enumerate(pairs):
            with _told_at(f"schedules[{number}]"):
                _apply_schedule(job, schedule, wanted, now=now, by=by, permits=permits, calendars=calendars)
        return _outcome(before, job_document(job, _schedules_of(job)), others=others)


class _Calendars:
    """The calendars that schedules of a namespace name, made where the file has them and nobody else."""

    def __init__(self, namespace: str, *, by: Actor, permits: Permits, find: FindCalendar) -> None:
        self._namespace, self._by, self._permits, self._find = namespace, by, permits, find

    def named(self, name: str) -> Calendar:
        """Return a calendar; raise InvalidField where there is none, and what `apply_calendar` raises."""
        mine = Calendar.objects.filter(namespace=self._namespace, name=name)
        found = mine.first()
        if found is None and (document := self._find(f"{self._namespace}/{name}")) is not None:
            apply_calendar(document, by=self._by, permits=self._permits)
            found = mine.get()
        if found is None:
            facts = {"name": name, "namespace": self._namespace}
            text = _("there is no calendar “%(name)s” in namespace “%(namespace)s”", **facts)
            raise InvalidField({"calendar": text})
        return found


def _apply_schedule(
    job: Job,
    schedule: Schedule | None,
    wanted: Document,
    *,
    now: datetime,
    by: Actor,
    permits: Permits,
    calendars: _Calendars,
) -> None:
    if not _differs(schedule, wanted):
        return
    fields = dict(wanted) if schedule is None else _changed(schedule_document(schedule), wanted)
    for name in INSTANTS & fields.keys():
        fields[name] = None if fields[name] is None else datetime.fromisoformat(fields[name])
    if "calendar" in fields:
        fields["calendar"] = None if fields["calendar"] is None else calendars.named(fields["calendar"])
    if "enabled" in fields:
        fields["status"] = ScheduleStatus.ENABLED if fields.pop("enabled") else ScheduleStatus.DISABLED
    if schedule is None:
        create_schedule(job=job, now=now, by=by, permit=permits("scheduling.add_schedule"), **fields)
    else:
        permit = permits("scheduling.change_schedule")
        update_schedule(schedule_id=schedule.pk, now=now, by=by, permit=permit, **fields)


def _paired(
    schedules: Iterable[Schedule], wanted: list[Document]
) -> Iterator[tuple[Schedule | None, Document]]:
    """Yield each document with the schedule that it means, None for a new one.

    Of several that bear its name, it means the one that is as it says, else the oldest.
    """
    left = list(schedules)
    meant: dict[int, Schedule] = {}
    for is_meant in (_says_the_same, _has_its_name):
        for number, document in enumerate(wanted):
            if number in meant:
                continue
            found = next((each for each in left if is_meant(schedule_document(each), document)), None)
            if found is not None:
                left.remove(found)
                meant[number] = found
    for number, document in enumerate(wanted):
        yield meant.get(number), document


def _says_the_same(old: Document, new: Document) -> bool:
    return old == new


def _has_its_name(old: Document, new: Document) -> bool:
    return bool(old["name"] == new["name"])


def _wanted(document: Mapping[str, Any]) -> Document:
    """Return the whole document of a schedule; instants that mean the same are the same."""
    fields = filled_schedule(document)
    for name in INSTANTS:
        if fields[name] is not None:
            fields[name] = instant_text(datetime.fromisoformat(fields[name]))
    return fields


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with its defaults; one that is not sound as it is, for the service to judge."""
    try:
        return clean_task_config(config)
    except TaskConfigError:
        return dict(config)


def _present_job(namespace: str, name: str) -> Job | None:
    try:
        return lock_job(namespace=namespace, name=name)
    except Job.DoesNotExist:
        return None


def _schedules_of(job: Job) -> list[Schedule]:
    return list(Schedule.objects.present().filter(job=job).select_related("calendar").order_by("pk"))


def _changed(before: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> Document:
    return {name: value for name, value in wanted.items() if (before or {}).get(name) != value}


def _differs(schedule: Schedule | None, wanted: Mapping[str, Any]) -> bool:
    return schedule is None or bool(_changed(schedule_document(schedule), wanted))


def _outcome(before: Document | None, after: Document, *, others: int = 0) -> Outcome:
    did: Did = "create" if before is None else "keep" if before == after else "change"
    return Outcome(did=did, before=before, after=after, others=others)


def _refuse_if_changed(before: Mapping[str, Any] | None, seen: str | None) -> None:
    if seen is not None and digest(before) != seen:
        raise ChangedMeanwhile


@contextmanager
def _told_at(place: str) -> Iterator[None]:
    """Let a refusal name the place in the document."""
    try:
        yield
    except InvalidField as error:
        raise InvalidField({f"{place}.{name}": text for name, text in error.errors.items()}) from error
