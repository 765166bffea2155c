"""When the rules of a time zone change, the future changes with them and the past does not.

Governments change the clocks, and tzdata follows. What is stored of a schedule's future, its next instant and
the tasks planned a few seconds ahead, was computed with the data of then. Each zone's data are known by their
SHA-256; where that is another one, the schedules of the zone are planned anew from this moment on.
"""

import hashlib
import logging
import zoneinfo
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from django.db import transaction

from scheduling.kinds import ScheduleKind, ScheduleStatus
from scheduling.models import Schedule, ZoneData
from scheduling.recurrence import next_after
from scheduling.services import withdrawing
from scheduling.services.next_runs import recurrence_of

logger = logging.getLogger(__name__)

SCHEDULES_PER_BATCH: Final = 500


def run_once(*, now: datetime) -> int:
    """Plan schedules anew whose zone has other data than before; return how many there were.

    One transaction for each batch, and the new digests last, so that a crash in between repeats the work and
    loses none. Processes with different data undo each other's work, so all should be updated.
    """
    used = Schedule.objects.filter(status=ScheduleStatus.ENABLED).order_by()
    digests = {zone: zone_digest(zone) for zone in used.values_list("timezone", flat=True).distinct()}
    known = dict(ZoneData.objects.filter(zone__in=digests).values_list("zone", "digest"))
    changed = {zone for zone, digest in known.items() if digests[zone] != digest}
    count = _plan_anew(changed, now=now) if changed else 0
    if changed or digests.keys() - known.keys():
        ZoneData.objects.bulk_create(
            [
                ZoneData(zone=zone, digest=digest, noted_at=now)
                for zone, digest in sorted(digests.items())
                if known.get(zone) != digest
            ],
            update_conflicts=True,
            unique_fields=["zone"],
            update_fields=["digest", "noted_at"],
        )
    if changed:
        logger.warning("time zones changed: %s; %s schedules planned anew", ", ".join(sorted(changed)), count)
    return count


@lru_cache(maxsize=1024)
def zone_digest(zone: str) -> str:
    """Return the SHA-256 of the data that this process has of a zone, "" where it has none.

    They are looked for where `zoneinfo` does, in its TZPATH first and then in the package tzdata. Another
    file that says the same costs some planning and changes nothing.
    """
    parts = zone.split("/")
    for folder in zoneinfo.TZPATH:
        path = Path(folder, *parts)
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
    packaged = resources.files("tzdata").joinpath("zoneinfo", *parts)
    return hashlib.sha256(packaged.read_bytes()).hexdigest() if packaged.is_file() else ""


def _plan_anew(zones: Collection[str], *, now: datetime) -> int:
    count, last = 0, 0
    while True:
        with transaction.atomic():
            schedules = list(
                Schedule.objects.filter(
                    kind=ScheduleKind.CRON,
                    status=ScheduleStatus.ENABLED,
                    timezone__in=zones,
                    pk__gt=last,
                )
                .order_by("pk")
                .select_for_update(of=("self",))[:SCHEDULES_PER_BATCH]
            )
            if not schedules:
                return count
            _plan_batch_anew(schedules, now=now)
        count += len(schedules)
        last = schedules[-1].pk


def _plan_batch_anew(schedules: Sequence[Schedule], *, now: datetime) -> None:
    """Take the cursors back to `now`, where they are beyond it, and find the next instants from there."""
    withdrawn = withdrawing.withdraw_planned([schedule.pk for schedule in schedules], now=now)
    for schedule in schedules:
        schedule.run_count = max(0, schedule.run_count - withdrawn.get(schedule.pk, 0))
        schedule.planned_until = min(schedule.planned_until, now)
        schedule.rule_since = schedule.planned_until
        try:
            schedule.next_run_at = next_after(recurrence_of(schedule), schedule.planned_until)
        except ValueError:
            # Planning meets it again and says why.
            logger.exception("schedule %s cannot be planned anew", schedule.pk)
            continue
        schedule.status = ScheduleStatus.ENABLED if schedule.next_run_at else ScheduleStatus.EXPIRED
        schedule.updated_at = now
    Schedule.objects.bulk_update(
        schedules,
        ["run_count", "planned_until", "rule_since", "next_run_at", "status", "updated_at"],
        batch_size=500,
    )
