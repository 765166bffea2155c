"""Take back what was planned and has not begun, because the plan changed."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from scheduling.models import Task
from scheduling.states import TaskStatus


def withdraw_planned(schedule_ids: Collection[int], *, now: datetime) -> Counter[int]:
    """Delete schedules' tasks of the future that nothing has happened to; return how many of each.

    Claimed ones are left alone. In the caller's transaction, which holds the schedules' locks.
    """
    withdrawn = list(
        Task.objects.select_for_update(skip_locked=True)
        .filter(schedule__in=schedule_ids, status=TaskStatus.PENDING, attempt_count=0, scheduled_at__gt=now)
        .values_list("pk", "schedule_id")
    )
    Task.objects.filter(pk__in=[pk for pk, _ in withdrawn]).delete()
    return Counter(schedule_id for _, schedule_id in withdrawn)
