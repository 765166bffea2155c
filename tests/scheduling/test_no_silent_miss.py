"""I2, no silent miss: planners that are killed at any point leave the rows that undisturbed ones would have.

Real processes on the real database, told which time it is. What is expected is worked out here, from the
times at which a schedule's cursor moved, and by nothing of the product's.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection

from scheduling.models import Schedule, Task
from scheduling.services.calendars import create_calendar, freeze
from tests import factories
from tests.e2e.oracle import until
from tests.factories import NOW
from tests.processes import ROOT, database_url
from tests.scheduling.planner_process import KILLED

pytestmark = pytest.mark.django_db(transaction=True)

HORIZON_SECS, WINDOW_SECS, GRACE_SECS = 15, 600, 20
POLICIES = ("skip", "run_once", "run_all")
BLACKOUT = (90, 150)
FROZEN = (100, 200)


def at(secs):
    return NOW + timedelta(seconds=secs)


class Planners:
    """The process that plans."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.scheduling.planner_process"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url(), "HETUFLOW_DATABASE_POOL_SIZE": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def plan(self, secs, *points, limit_ms=None):
        """Let as many planners as there are points plan at once; return which of them were killed."""
        order = {
            "now": at(secs).isoformat(),
            "horizon_secs": HORIZON_SECS,
            "catch_up_secs": WINDOW_SECS,
            "points": points or [None],
            "limit_ms": limit_ms,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        statuses = json.loads(self._process.stdout.readline())
        assert set(statuses) <= {0, KILLED}
        until(lambda: not other_sessions(), "PostgreSQL notices who is gone")
        return [status == KILLED for status in statuses]

    def stop(self):
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0


def other_sessions():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]


@pytest.fixture(scope="module")
def planners(django_db_setup):
    planners = Planners()
    yield planners
    planners.stop()


class Expected:
    """Schedules of every policy, and the rows that they ought to have."""

    def __init__(self):
        calendar = create_calendar(
            name="c",
            blackouts=[
                {"from": f"{at(BLACKOUT[0]):%FT%TZ}", "to": f"{at(BLACKOUT[1]):%FT%TZ}", "reason": ""}
            ],
        )
        self.steps, self.policies, self.closed = {}, {}, {}
        for policy in POLICIES:
            config = {"misfire_policy": policy, "misfire_grace_secs": GRACE_SECS}
            self._add(policy, 7, (), factories.job(config=config), kind="interval", interval_secs=7)
            cron = {"kind": "cron", "cron_expression": "*/20 * * * * *", "timezone": "Europe/Berlin"}
            self._add(policy, 20, BLACKOUT, factories.job(config=config), calendar=calendar, **cron)
            frozen = factories.job(config=config, namespace="frozen")
            self._add(policy, 15, FROZEN, frozen, kind="interval", interval_secs=15)
        freeze(namespace="frozen", now=at(FROZEN[0]), until=at(FROZEN[1]))
        self.rows = {pk: [] for pk in self.steps}
        self.cursors = dict.fromkeys(self.steps, 0)

    def _add(self, policy, step, closed, job, **fields):
        pk = factories.schedule(job=job, start_time=NOW, **fields).pk
        self.steps[pk], self.policies[pk], self.closed[pk] = step, policy, closed

    def note(self, secs):
        """Look whose cursor moved when planning at `secs`, and work out what that ought to have written."""
        for pk, cursor in Schedule.objects.values_list("pk", "planned_until"):
            moved_to = (cursor - NOW).total_seconds()
            if moved_to != self.cursors[pk]:
                assert moved_to == secs + HORIZON_SECS
                self.rows[pk] += self._written(pk, self.cursors[pk], secs)
                self.cursors[pk] = moved_to

    def _written(self, pk, cursor, secs):
        begin = max(cursor, secs - WINDOW_SECS)
        dropped = self._instants(pk, cursor, begin)
        if dropped:
            yield dropped[0], "missed", len(dropped)
        instants = self._instants(pk, begin, secs + HORIZON_SECS)
        misfires = [at for at in instants if at < secs - GRACE_SECS and not self._is_closed(pk, at)]
        for instant in instants:
            yield instant, self._outcome(pk, instant, misfires), 1

    def _instants(self, pk, after, end):
        return [at for at in range(0, int(end) + 1, self.steps[pk]) if after < at <= end]

    def _is_closed(self, pk, instant):
        return bool(self.closed[pk]) and self.closed[pk][0] <= instant < self.closed[pk][1]

    def _outcome(self, pk, instant, misfires):
        if self._is_closed(pk, instant):
            return "skipped_calendar"
        if instant not in misfires:
            return "fired"
        if self.policies[pk] == "run_all" or (self.policies[pk] == "run_once" and instant == misfires[-1]):
            return "late"
        return "coalesced" if self.policies[pk] == "run_once" else "missed"

    def assert_rows(self):
        found = {pk: [] for pk in self.steps}
        for task in Task.objects.order_by("scheduled_at"):
            secs = (task.scheduled_at - NOW).total_seconds()
            found[task.schedule_id].append((secs, task.outcome, task.instants))
            assert task.status == ("pending" if task.outcome in ("fired", "late") else "cancelled")
        assert found == self.rows
        for schedule in Schedule.objects.all():
            runs = [secs for secs, outcome, _ in self.rows[schedule.pk] if outcome in ("fired", "late")]
            assert schedule.run_count == len(runs)
            assert schedule.last_run_at == at(runs[-1])


@pytest.fixture
def expected():
    return Expected()


def number_of_points(planners, secs):
    """Return how many points planning passes; kills so many planners, and lets the last one get through."""
    point = 1
    while planners.plan(secs, point) == [True]:
        point += 1
    return point


def test_planning_killed_at_each_point_and_begun_again_leaves_the_rows_of_an_undisturbed_run(
    planners, expected
):
    secs, point, was_killed = 0, 1, True
    while was_killed:
        (was_killed,) = planners.plan(secs, point)
        expected.note(secs)
        planners.plan(secs + 3)
        expected.note(secs + 3)
        # Something is due again, and nothing is later than the grace.
        secs, point = secs + 11, point + 1
    assert point > 15
    expected.assert_rows()
    assert set(Counter(task.outcome for task in Task.objects.all())) <= {"fired", "skipped_calendar"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_outages_up_to_the_window_leave_for_every_instant_the_row_of_its_policy(planners, expected, seed):
    draw = random.Random(seed)  # noqa: S311
    secs, kills = 0, 0
    for _ in range(25):
        points = draw.choice([[None], [draw.randint(1, 22)], [draw.randint(1, 22), None], [None, None]])
        points = draw.choice([points, [draw.randint(6, 22), draw.randint(6, 22)]])
        kills += sum(planners.plan(secs, *points))
        expected.note(secs)
        secs += draw.choice([1, 5, 5, 30, 100, WINDOW_SECS - 100])
    planners.plan(secs)
    expected.note(secs)
    assert kills > 5
    expected.assert_rows()
    assert {"fired", "late", "coalesced", "missed", "skipped_calendar"} == set(
        Task.objects.values_list("outcome", flat=True)
    )


def test_what_lies_beyond_the_window_gets_one_row_with_its_number_however_often_planning_is_killed(
    planners, expected
):
    planners.plan(0)
    expected.note(0)
    back = 2 * 3600
    points = number_of_points(planners, back)
    expected.note(back)
    planners.plan(back + 1)
    expected.note(back + 1)
    assert points > 15
    expected.assert_rows()
    summaries = list(Task.objects.filter(instants__gt=1))
    assert len(summaries) == len(POLICIES) * 3
    for summary in summaries:
        dropped = (back - WINDOW_SECS) // expected.steps[summary.schedule_id]
        planned_before = HORIZON_SECS // expected.steps[summary.schedule_id]
        assert (summary.outcome, summary.instants) == ("missed", dropped - planned_before)


def test_planning_killed_from_outside_at_any_time_leaves_nothing_half_done(planners):
    draw = random.Random(7)  # noqa: S311
    job = factories.job(config={"misfire_policy": "run_all", "misfire_grace_secs": GRACE_SECS})
    for _ in range(30):
        factories.schedule(job=job, kind="interval", interval_secs=2, start_time=NOW)
    secs, kills = WINDOW_SECS - 24, 0
    for _ in range(12):
        kills += sum(planners.plan(secs, None, None, limit_ms=draw.randint(1, 400)))
        secs += 2
    planners.plan(secs)
    assert kills > 0
    per_schedule = Counter(Task.objects.values_list("schedule_id", flat=True))
    assert set(per_schedule.values()) == {(secs + HORIZON_SECS) // 2}
    assert set(Task.objects.values_list("outcome", flat=True)) == {"late", "fired"}
