"""I2 with the real scheduler: killed, started again and doubled, it misses no instant, and doubles none."""

from datetime import timedelta
from itertools import pairwise

import pytest

from scheduling.clock import database_now
from scheduling.models import Task
from tests import factories
from tests.e2e.oracle import until

pytestmark = pytest.mark.e2e

ROUNDS = 3


def test_schedulers_killed_and_started_again_leave_every_instant_its_one_task(fresh):
    now = database_now()
    schedule = factories.schedule(now=now, kind="interval", interval_secs=1)
    tasks = Task.objects.filter(schedule=schedule).order_by("scheduled_at")
    for number in range(ROUNDS):
        seen = tasks.count()
        schedulers = [fresh.scheduler() for _ in range(1 + number % 2)]
        until(lambda seen=seen: tasks.count() > seen, "somebody plans")
        for scheduler in schedulers:
            scheduler.kill()
    fresh.scheduler()
    end = database_now()
    until(lambda: tasks.filter(scheduled_at__gt=end).exists(), "the last one catches up")
    instants = list(tasks.values_list("scheduled_at", flat=True))
    steps = {later - earlier for earlier, later in pairwise(instants)}
    assert steps == {timedelta(seconds=1)}
    assert instants[0] - now <= timedelta(seconds=1)
    assert set(tasks.values_list("outcome", flat=True)) == {"fired"}
