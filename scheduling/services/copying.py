"""Give one job what another one has."""

from datetime import datetime
from typing import Final

from django.db import transaction

from access.actors import SYSTEM, Actor
from access.permits import Permit, anywhere
from scheduling.kinds import ScheduleStatus
from scheduling.models import Job, Schedule
from scheduling.services.definitions import AUDITED_OF_SCHEDULE, create_schedule

_COPIED: Final = (
    *(name for name in AUDITED_OF_SCHEDULE if name not in ("calendar_id", "status")),
    "calendar",
)


def copy_schedules(
    *, of_job_id: int, to: Job, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere
) -> int:
    """Give `to` the schedules that another job has, all of them disabled; return how many.

    They begin anew: none of their runs is counted, and `~` draws values of its own. Locks `to`. Raises what
    `create_schedule` does, as for a calendar that belongs to another namespace.
    """
    with transaction.atomic():
        schedules = Schedule.objects.present().filter(job=of_job_id).select_related("calendar").order_by("pk")
        for schedule in schedules:
            fields = {name: getattr(schedule, name) for name in _COPIED}
            create_schedule(job=to, now=now, by=by, permit=permit, status=ScheduleStatus.DISABLED, **fields)
        return len(schedules)
