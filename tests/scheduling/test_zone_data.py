"""When a government changes the clocks, what is to come follows and what was stays."""

import os
import shutil
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest

from scheduling.models import Schedule, Task, ZoneData
from scheduling.services import planning, zone_data
from scheduling.services.claiming import claim
from tests import factories
from tests.factories import NOW
from tests.processes import ROOT, database_url

ZONE = "Asia/Shanghai"
RUN = f"""
import django; django.setup()
from datetime import datetime
from scheduling.services import zone_data
print(zone_data.run_once(now=datetime.fromisoformat("{NOW.isoformat()}")))
"""


def plan(now=NOW, horizon_secs=86_400):
    planning.run_once(now=now, horizon_secs=horizon_secs, catch_up_secs=86_400)


def with_other_data(folder: Path) -> int:
    """Run the duty where Shanghai keeps the time of Berlin; return how many schedules it planned anew."""
    target = folder / ZONE
    target.parent.mkdir(parents=True)
    shutil.copy(str(resources.files("tzdata").joinpath("zoneinfo", "Europe", "Berlin")), target)
    environment = {
        **os.environ,
        "PYTHONTZPATH": os.pathsep.join([str(folder), *zoneinfo.TZPATH]),
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "hetuflow.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.django_db
def test_the_first_time_data_are_noted_and_nothing_is_planned_anew():
    schedule = factories.schedule(kind="cron", cron_expression="0 9 * * *", timezone=ZONE)
    assert zone_data.run_once(now=NOW) == 0
    noted = ZoneData.objects.get()
    assert (noted.zone, len(noted.digest)) == (ZONE, 64)
    assert zone_data.run_once(now=NOW) == 0
    assert Schedule.objects.get(pk=schedule.pk).updated_at == schedule.updated_at


@pytest.mark.django_db
def test_zones_have_data_of_their_own_and_one_that_is_not_there_has_none():
    digests = {zone_data.zone_digest(zone) for zone in (ZONE, "Europe/Berlin", "Pacific/Apia")}
    assert len(digests) == 3
    assert zone_data.zone_digest("Mars/Olympus") == ""


@pytest.mark.django_db(transaction=True)
def test_changed_data_move_what_is_to_come_and_leave_what_was(tmp_path):
    at_nine = factories.schedule(
        now=NOW - timedelta(days=1), kind="cron", cron_expression="0 9 * * *", timezone=ZONE, max_count=9
    )
    elsewhere = factories.schedule(kind="cron", cron_expression="0 9 * * *", timezone="UTC")
    plan()
    zone_data.run_once(now=NOW)
    past, future = Task.objects.filter(schedule=at_nine).order_by("scheduled_at")
    assert (past.scheduled_at, future.scheduled_at) == (utc(2), utc(3))
    untouched = Schedule.objects.values().get(pk=elsewhere.pk)

    assert with_other_data(tmp_path) == 1

    at_nine.refresh_from_db()
    # Berlin is at UTC+1 in March: 09:00 there is 08:00 UTC, no longer 01:00.
    assert (at_nine.next_run_at, at_nine.planned_until, at_nine.run_count) == (utc(3, 8), NOW, 1)
    assert [task.pk for task in Task.objects.filter(schedule=at_nine)] == [past.pk]
    assert Schedule.objects.values().get(pk=elsewhere.pk) == untouched


@pytest.mark.django_db(transaction=True)
def test_a_task_that_an_agent_has_stays_and_a_backlog_is_not_forgotten(tmp_path):
    schedule = factories.schedule(kind="cron", cron_expression="0 9 * * *", timezone=ZONE)
    plan()
    Task.objects.filter(schedule=schedule).update(due_at=NOW)
    agent = factories.agent()
    (claimed,) = claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    behind = factories.schedule(
        now=NOW - timedelta(days=3), kind="cron", cron_expression="0 9 * * *", timezone=ZONE
    )
    zone_data.run_once(now=NOW)

    assert with_other_data(tmp_path) == 2

    assert [task.pk for task in Task.objects.filter(schedule=schedule)] == [claimed.task_id]
    behind.refresh_from_db()
    assert (behind.planned_until, behind.next_run_at) == (NOW - timedelta(days=3), utc(28, 8, month=2))


def utc(day, hour=1, *, month=3):
    return datetime(2026, month, day, hour, tzinfo=UTC)
