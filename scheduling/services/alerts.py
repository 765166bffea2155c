"""Tell of what went wrong while nobody watched: a row that stays until somebody has seen it."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import connection, transaction

from access import audit
from access.actors import SYSTEM, Actor
from scheduling.kinds import AlertKind
from scheduling.models import Alert, Backfill, Schedule

_COUNT_MISSED: Final = """
UPDATE scheduling_schedule s SET missed_count = s.missed_count + m.number
FROM unnest(%(ids)s::bigint[], %(numbers)s::bigint[]) AS m(id, number) WHERE s.id = m.id
"""


def raise_for_missed(
    *, schedules: Sequence[Schedule], missed: Sequence[tuple[int, str, datetime, int]]
) -> None:
    """Count missed instants, given as (schedule, outcome, instant, number); raise an alert for each schedule.

    Runs in the caller's transaction, in which the instants were written and the schedules are locked.
    """
    if not missed:
        return
    found: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for schedule_id, _outcome, instant, number in missed:
        found[schedule_id].append((instant, number))
    by_id = {schedule.pk: schedule for schedule in schedules}
    numbers = {pk: sum(number for _, number in instants) for pk, instants in found.items()}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_MISSED, {"ids": [*numbers], "numbers": [*numbers.values()]})
    Alert.objects.bulk_create(
        Alert(
            kind=AlertKind.MISSED,
            namespace=by_id[schedule_id].job.namespace,
            job_id=by_id[schedule_id].job_id,
            schedule_id=schedule_id,
            instants=numbers[schedule_id],
            text=f"{numbers[schedule_id]} planned runs were missed, the first one at "
            f"{min(instant for instant, _ in instants):%Y-%m-%dT%H:%M:%SZ}",
        )
        for schedule_id, instants in found.items()
    )


def raise_for_paused_backfills(paused: Sequence[tuple[Backfill, str]]) -> None:
    """Raise an alert for each backfill that was paused, given with why, in the caller's transaction."""
    Alert.objects.bulk_create(
        Alert(
            kind=AlertKind.PAUSED,
            namespace=backfill.namespace,
            job_id=backfill.schedule.job_id,
            schedule_id=backfill.schedule_id,
            text=f"Backfill {backfill}: {problem}",
        )
        for backfill, problem in paused
    )


def acknowledge(*, alert_id: int, now: datetime, by: Actor = SYSTEM) -> Alert:
    """Note that somebody has seen an alert and return it; raise Alert.DoesNotExist."""
    with transaction.atomic():
        alert = Alert.objects.select_for_update().get(pk=alert_id)
        if alert.acknowledged_at is None:
            alert.acknowledged_at, alert.acknowledged_by = now, by.name
            alert.save(update_fields=["acknowledged_at", "acknowledged_by"])
            audit.record(
                by=by,
                action="alert.acknowledge",
                subject=alert,
                namespace=alert.namespace,
                before={"acknowledged_at": None},
                after={"acknowledged_at": now},
            )
        return alert
