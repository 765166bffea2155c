"""Schedules that cannot be planned or were paused, and alerts that nobody has seen."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from hetuflow.doctor.report import Line, ok, warning
from scheduling.models import Alert, Backfill, Schedule

SHOWN: Final = 10
COUNTED: Final = 1000


def look_at_problems(now: datetime) -> Iterator[Line]:
    """Look for schedules that say why they are not planned."""
    troubled = Schedule.objects.present().exclude(problem="").select_related("job").order_by("pk")
    found = list(troubled[:SHOWN])
    for schedule in found:
        seen = f"schedule {schedule.pk} ({schedule}) of {schedule.job}: {schedule.problem}"
        remedy = (
            "mend the job, then enable the schedule: POST /api/v1/schedules/ID/enable"
            if schedule.status == "disabled"
            else "change the schedule so that it can be planned, in the admin or by REST"
        )
        yield warning("problems", seen, remedy, [str(schedule.pk)])
    if not found:
        yield ok("problems", "every schedule can be planned")


def look_at_alerts(now: datetime) -> Iterator[Line]:
    """Count the alerts that nobody has acknowledged."""
    unseen = Alert.objects.filter(acknowledged_at__isnull=True).order_by("-id")
    ids = list(unseen.values_list("pk", flat=True)[: COUNTED + 1])
    if ids:
        number = f"more than {COUNTED}" if len(ids) > COUNTED else str(len(ids))
        latest = unseen.first()
        told = f"; the latest: {latest.text}" if latest is not None else ""
        remedy = "see /admin/scheduling/alert/ and acknowledge them"
        yield warning("alerts", f"{number} not acknowledged{told}", remedy, [str(pk) for pk in ids[:SHOWN]])
    else:
        yield ok("alerts", "none that nobody has acknowledged")


def look_at_backfills(now: datetime) -> Iterator[Line]:
    """Look for backfills that wait for somebody."""
    paused = list(Backfill.objects.filter(status="paused").order_by("-id")[:SHOWN])
    for backfill in paused:
        seen = f"backfill {backfill.pk} is paused: {backfill.problem or 'by hand'}"
        remedy = f"POST /api/v1/backfills/{backfill.pk}/resume when that is mended, or …/cancel"
        yield warning("backfills", seen, remedy, [str(backfill.pk)])
    if not paused:
        yield ok("backfills", "none is paused")


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    ("problems", look_at_problems),
    ("alerts", look_at_alerts),
    ("backfills", look_at_backfills),
]
