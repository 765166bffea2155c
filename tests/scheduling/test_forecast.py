"""What is to come over all schedules, as the database has them."""

from datetime import timedelta

import pytest

from scheduling.models import Calendar, Freeze, Schedule, Task, TaskInstance
from scheduling.services import planning
from scheduling.services.forecast import forecast, frame_of
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=10)


def ahead(now=LATER, hours=24, **fields):
    return forecast(now=now, hours=hours, **fields)


def hourly(*, config=None, namespace="default", **fields):
    job = factories.job(config=config or {}, namespace=namespace)
    return factories.schedule(job=job, kind="cron", cron_expression="0 * * * *", **fields)


def test_it_counts_what_every_schedule_will_run_from_now_on():
    hourly()
    hourly()
    found = ahead()
    assert (found.frame.begin, found.frame.bucket_secs, found.frame.buckets) == (NOW, 900, 97)
    assert (found.schedules, sum(found.load.runs), found.is_complete) == (2, 48, True)
    assert [bucket for bucket, runs in enumerate(found.load.runs) if runs][:2] == [3, 7]


def test_hours_of_a_week_are_buckets_of_their_own():
    frame = frame_of(LATER, 7 * 24)
    assert (frame.begin, frame.bucket_secs, frame.buckets) == (NOW, 3600, 169)


def test_durations_of_the_past_say_how_busy_agents_will_be():
    factories.agent(slots=2)
    schedule = hourly()
    for _ in range(3):
        factories.ran_before(schedule.job, 600)
    found = ahead()
    assert sum(found.load.work) == pytest.approx(24 * 600, abs=1)
    assert (found.jobs[0].secs, found.slots) == (600, 2)
    assert max(each.running for each in found.occupancy) == pytest.approx(0.5)


def test_what_agents_cannot_take_waits():
    factories.agent(slots=1)
    for _ in range(3):
        factories.ran_before(hourly().job, 1500)
    found = ahead()
    assert max(each.running for each in found.occupancy) == 1
    assert found.occupancy[-1].waiting_secs > 3600


def test_what_waits_and_what_runs_already_comes_first():
    agent = factories.agent(slots=1)
    job = factories.job()
    factories.ran_before(job, 1000)
    factories.task(job=job)
    running = factories.task(job=job)
    TaskInstance.objects.create(
        task=running, job=job, agent=agent, attempt=1, token=99, status="running", started_at=NOW
    )
    Task.objects.filter(pk=running.pk).update(status="running")
    # 1,000 s of the one, of the other the 400 s that are left; 300 s of the first quarter are left.
    assert [each.running for each in ahead().occupancy[:3]] == pytest.approx([1, 1, 200 / 900])


def test_tasks_that_are_planned_are_not_counted_twice_and_those_by_hand_once():
    schedule = hourly()
    planning.run_once(now=LATER, horizon_secs=7200, catch_up_secs=60)
    assert Task.objects.filter(schedule=schedule).count() == 2
    factories.task(scheduled_at=LATER + timedelta(hours=3))
    factories.task(scheduled_at=LATER + timedelta(hours=30))
    assert sum(ahead().load.runs) == 25


def test_calendars_freezes_overlap_and_limits_are_respected():
    factories.agent()
    off = Calendar.objects.create(name="work", dates=[{"date": "2026-03-03"}])
    hourly(calendar=off)
    hourly(namespace="frozen")
    Freeze.objects.create(namespace="frozen", since=NOW)
    slow = hourly(config={"concurrency_policy": "forbid"})
    factories.ran_before(slow.job, 5400)
    hourly(max_count=5)
    found = ahead()
    assert sum(found.load.skipped_calendar) == 13 + 24
    assert sum(found.load.skipped_overlap) == 12
    assert sum(found.load.runs) == 11 + 12 + 5


def test_a_schedule_that_counts_from_the_end_of_its_runs_goes_on_as_it_did():
    schedule = factories.schedule(kind="interval", interval_secs=3000, interval_mode="delay")
    factories.ran_before(schedule.job, 600)
    # At once, and then every 3,600 s for as long as 24 hours and the quarter that has begun.
    assert sum(ahead().load.runs) == 25


def test_what_is_off_is_not_counted():
    for change in ({"status": "disabled", "next_run_at": None}, {"archived_at": NOW}):
        Schedule.objects.filter(pk=hourly().pk).update(**change)
    job = hourly().job
    job.enabled = False
    job.save()
    assert (ahead().schedules, sum(ahead().load.runs)) == (0, 0)


def test_runs_that_no_agent_fits_take_no_slot_and_are_counted():
    factories.agent(slots=1, labels={"gpu": "no"})
    fitting = hourly(config={"labels": {"gpu": "no"}})
    homeless = hourly(config={"labels": {"gpu": "yes"}})
    for schedule in (fitting, homeless):
        factories.ran_before(schedule.job, 900)
    found = ahead()
    assert (found.homeless, sum(found.load.runs)) == (24, 48)
    assert sum(found.load.work) == pytest.approx(24 * 900, abs=900)
    assert {job.job_id: job.can_run for job in found.jobs} == {fitting.job_id: True, homeless.job_id: False}


def test_a_namespace_is_looked_at_alone():
    hourly(namespace="a")
    hourly(namespace="b")
    assert sum(ahead(namespaces=["a"]).load.runs) == 24
    assert sum(ahead(namespaces=[]).load.runs) == 0


def test_a_broken_rule_costs_nobody_else_the_forecast():
    Schedule.objects.filter(pk=hourly().pk).update(cron_expression="gibberish")
    hourly()
    assert sum(ahead().load.runs) == 24


def test_the_busiest_jobs_come_first_and_are_few():
    for number in range(25):
        factories.ran_before(hourly().job, 10 + number)
    jobs = ahead().jobs
    assert [job.secs for job in jobs] == [float(34 - number) for number in range(20)]
    assert {job.total for job in jobs} == {24}


def test_when_time_runs_out_it_says_so(monkeypatch):
    monkeypatch.setattr("scheduling.services.forecast.JOBS_PER_CHUNK", 1)
    hourly()
    hourly()
    found = ahead(budget_secs=0)
    assert (found.is_complete, found.schedules) == (False, 1)


def test_it_takes_the_same_number_of_statements_for_one_and_for_many(django_assert_num_queries):
    for number in (1, 20):
        for _ in range(number):
            hourly()
        with django_assert_num_queries(9) as counted:
            ahead()
        assert counted
