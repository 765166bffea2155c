"""What a job or a schedule was before, told by the audit log, and how it becomes that again.

The log has, in the transaction of each write, what changed from what to what; going back through it from the
object as it stands leads to every state it ever had.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from access import audit
from access.actors import SYSTEM, Actor
from access.models import AuditEntry
from access.permits import Permit, anywhere
from access.sentences import said as _
from scheduling.errors import ChangedMeanwhile, InvalidField
from scheduling.models import Calendar, Job, Schedule
from scheduling.services.definitions import (
    AUDITED_OF_SCHEDULE,
    JOB_FIELDS,
    lock_job,
    lock_schedule,
    update_job,
    update_schedule,
)

# Where it belongs and whether it runs are no part of what it was: these stay as they are.
KEPT_OF_JOB: Final = frozenset({"namespace", "enabled"})
KEPT_OF_SCHEDULE: Final = frozenset({"job_id", "status"})
_INSTANTS: Final = frozenset({"start_time", "end_time"})
_CHANGES: Final = ("create", "update")


def changes_of(subject: Job | Schedule) -> QuerySet[AuditEntry]:
    """Return the entries about a job or a schedule that say what it became, the newest first."""
    kind = _kind(subject)
    actions = [f"{kind}.{verb}" for verb in _CHANGES]
    entries = AuditEntry.objects.filter(subject_type=kind, subject_id=str(subject.pk))
    return entries.filter(action__in=actions).order_by("-id")


def fields_at(subject: Job | Schedule, entry: AuditEntry) -> dict[str, Any]:
    """Return the fields of a job or a schedule as they were after `entry`, where they are others now."""
    now = fields_of(subject)
    then = dict(now)
    for before in changes_of(subject).filter(pk__gt=entry.pk).values_list("before", flat=True).iterator():
        then |= {name: value for name, value in (before or {}).items() if name in now}
    return {name: value for name, value in then.items() if value != now[name]}


def fields_of(subject: Job | Schedule) -> Mapping[str, Any]:
    """Return what of a job or a schedule can be restored, as the log writes it."""
    if isinstance(subject, Job):
        return audit.as_json(audit.snapshot(subject, sorted(JOB_FIELDS - KEPT_OF_JOB)))
    restored = [name for name in AUDITED_OF_SCHEDULE if name not in KEPT_OF_SCHEDULE]
    return audit.as_json(audit.snapshot(subject, restored))


def restore_job(
    *,
    job_id: int,
    entry_id: int,
    seen_id: int,
    now: datetime,
    by: Actor = SYSTEM,
    permit: Permit = anywhere,
) -> Job:
    """Make a job again what it was after the entry `entry_id`, and return it.

    `seen_id` is the newest entry that the caller knows of: where there is a newer one, nothing is done and
    ChangedMeanwhile raised. Locks the job. Raises what `update_job` does, and AuditEntry.DoesNotExist.
    """
    with transaction.atomic():
        job = lock_job(pk=job_id)
        permit(job.namespace)
        fields = _checked(job, entry_id=entry_id, seen_id=seen_id)
        return update_job(job_id=job_id, now=now, by=by, permit=permit, **fields)


def restore_schedule(
    *,
    schedule_id: int,
    entry_id: int,
    seen_id: int,
    now: datetime,
    by: Actor = SYSTEM,
    permit: Permit = anywhere,
) -> Schedule:
    """Make a schedule again what it was after the entry `entry_id`, plan it anew, and return it.

    As `restore_job`; locks job and schedule. Raises InvalidField where its calendar of then is gone.
    """
    with transaction.atomic():
        schedule = lock_schedule(schedule_id, permit)
        fields = _checked(schedule, entry_id=entry_id, seen_id=seen_id)
        for name in _INSTANTS & fields.keys():
            fields[name] = None if fields[name] is None else parse_datetime(fields[name])
        if "calendar_id" in fields:
            fields["calendar"] = _calendar(fields.pop("calendar_id"))
        return update_schedule(schedule_id=schedule_id, now=now, by=by, permit=permit, **fields)


def newest_id(subject: Job | Schedule) -> int:
    """Return the id of the newest entry about a job or a schedule, 0 where there is none."""
    return changes_of(subject).values_list("pk", flat=True).first() or 0


def _checked(subject: Job | Schedule, *, entry_id: int, seen_id: int) -> dict[str, Any]:
    """Return what has to be written, after a look whether somebody was faster; the subject is locked."""
    if newest_id(subject) != seen_id:
        raise ChangedMeanwhile
    return fields_at(subject, changes_of(subject).get(pk=entry_id))


def _calendar(calendar_id: int | None) -> Calendar | None:
    if calendar_id is None:
        return None
    found = Calendar.objects.filter(pk=calendar_id).first()
    if found is None:
        raise InvalidField(
            {"calendar_id": _("the calendar #%(calendar_id)s is gone", calendar_id=calendar_id)}
        )
    return found


def _kind(subject: Job | Schedule) -> str:
    return "job" if isinstance(subject, Job) else "schedule"
