"""Planning with calendars, freezes, windows, fixed delays and parameters: each instant has its outcome."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduling.models import Alert, Calendar, Freeze, Schedule, Task
from scheduling.services import planning
from scheduling.services.definitions import create_schedule
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
WEEK = 7 * 86_400.0


def plan(now, *, catch_up_secs=WEEK):
    return planning.run_once(now=now, horizon_secs=15, catch_up_secs=catch_up_secs)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def daily(*, now, hour=9, config=None, **fields):
    job = factories.job(config=config or {})
    return create_schedule(job=job, now=now, kind="cron", cron_expression=f"0 {hour} * * *", **fields)


def rows(schedule):
    tasks = Task.objects.filter(schedule=schedule).order_by("scheduled_at")
    return [(f"{task.scheduled_at:%m-%d}", task.outcome, task.status) for task in tasks]


def test_a_day_off_leaves_a_row_that_says_why():
    calendar = Calendar.objects.create(name="work", dates=[{"date": "2026-03-03", "name": "Founders' Day"}])
    schedule = daily(now=NOW, calendar=calendar)
    plan(utc(2026, 3, 3, 9))
    task = Task.objects.get(schedule=schedule)
    assert (task.status, task.outcome, task.reason) == (
        "cancelled",
        "skipped_calendar",
        "work: Founders' Day",
    )


def test_a_run_that_moves_keeps_its_instant_and_is_due_on_the_next_allowed_day():
    calendar = Calendar.objects.create(name="work", dates=[{"date": "2026-04-01", "until": "2026-04-02"}])
    job = factories.job()
    monthly = create_schedule(
        job=job,
        now=NOW,
        kind="cron",
        cron_expression="0 9 1 * *",
        calendar=calendar,
        calendar_policy="next_day",
    )
    plan(utc(2026, 4, 1, 9))
    task = Task.objects.get(schedule=monthly)
    assert (task.scheduled_at, task.due_at) == (utc(2026, 4, 1, 9), utc(2026, 4, 3, 9))
    assert (task.status, task.outcome) == ("pending", "fired")


def test_a_daily_run_does_not_move_onto_the_next_one():
    calendar = Calendar.objects.create(name="work", dates=[{"date": "2026-03-03", "until": "2026-03-04"}])
    schedule = daily(
        now=NOW, calendar=calendar, calendar_policy="next_day", config={"misfire_policy": "run_all"}
    )
    for day in (3, 4, 5):
        plan(utc(2026, 3, day, 9))
    assert [outcome for _, outcome, _ in rows(schedule)] == ["skipped_calendar", "skipped_calendar", "fired"]


def test_in_a_frozen_namespace_nothing_fires_until_it_thaws():
    schedule = daily(now=NOW, config={"misfire_policy": "run_all"})
    Freeze.objects.create(namespace="default", since=utc(2026, 3, 3), until=utc(2026, 3, 4), reason="release")
    for day in (3, 4):
        plan(utc(2026, 3, day, 9))
    assert [outcome for _, outcome, _ in rows(schedule)] == ["skipped_calendar", "fired"]
    assert Task.objects.order_by("scheduled_at").first().reason == "the namespace is frozen: release"


def test_of_misfires_the_last_that_the_calendar_allows_runs():
    calendar = Calendar.objects.create(name="work", dates=[{"date": "2026-03-05"}])
    schedule = daily(now=NOW, calendar=calendar, config={"misfire_policy": "run_once"})
    plan(utc(2026, 3, 5, 12))
    assert rows(schedule) == [
        ("03-03", "coalesced", "cancelled"),
        ("03-04", "late", "pending"),
        ("03-05", "skipped_calendar", "cancelled"),
    ]


def test_the_last_of_many_misfires_runs_also_when_they_take_several_batches(monkeypatch):
    monkeypatch.setattr(planning, "INSTANTS_PER_SCHEDULE", 2)
    schedule = daily(now=NOW, config={"misfire_policy": "run_once"})
    plan(utc(2026, 3, 7, 12))
    assert [outcome for _, outcome, _ in rows(schedule)] == ["coalesced"] * 4 + ["late"]


def test_instants_before_the_window_share_a_row_with_their_number_and_raise_an_alert():
    schedule = daily(now=NOW, config={"misfire_policy": "run_all"})
    plan(utc(2026, 3, 12, 12), catch_up_secs=86_400.0 * 2)
    first, *others = Task.objects.filter(schedule=schedule).order_by("scheduled_at")
    assert (first.scheduled_at, first.instants, first.outcome) == (utc(2026, 3, 3, 9), 8, "missed")
    assert "8 instants up to 2026-03-10T12:00:00Z" in first.reason
    assert [task.outcome for task in others] == ["late", "late"]
    alert = Alert.objects.get()
    assert (alert.kind, alert.schedule, alert.instants) == ("missed", schedule, 8)


def test_a_schedule_may_have_a_window_of_its_own():
    schedule = daily(now=NOW, catch_up_secs=86_400, config={"misfire_policy": "run_all"})
    plan(utc(2026, 3, 6, 12))
    assert [outcome for _, outcome, _ in rows(schedule)] == ["missed", "late"]
    assert Task.objects.get(outcome="missed").instants == 3


def test_skipped_misfires_raise_one_alert_however_often_they_are_planned():
    daily(now=NOW, config={"misfire_policy": "skip"})
    plan(utc(2026, 3, 5, 12))
    plan(utc(2026, 3, 5, 12, 0, 1))
    assert Alert.objects.get().instants == 3


def test_a_fixed_delay_counts_from_the_end_of_the_run():
    schedule = create_schedule(
        job=factories.job(), now=NOW, kind="interval", interval_secs=60, interval_mode="delay"
    )
    plan(NOW)
    first = Task.objects.get(schedule=schedule)
    plan(NOW + timedelta(seconds=300))
    assert Task.objects.filter(schedule=schedule).count() == 1
    ended = NOW + timedelta(seconds=100)
    Task.objects.filter(pk=first.pk).update(status="completed", completed_at=ended)
    plan(ended + timedelta(seconds=46))
    second = Task.objects.filter(schedule=schedule).order_by("-scheduled_at").first()
    assert second.scheduled_at == ended + timedelta(seconds=60)
    assert Schedule.objects.get(pk=schedule.pk).status == "enabled"


def test_a_fixed_delay_ends_with_its_count_and_its_end():
    counted = create_schedule(
        job=factories.job(), now=NOW, kind="interval", interval_secs=60, interval_mode="delay", max_count=1
    )
    ending = create_schedule(
        job=factories.job(),
        now=NOW,
        kind="interval",
        interval_secs=60,
        interval_mode="delay",
        end_time=NOW + timedelta(seconds=30),
    )
    plan(NOW)
    Task.objects.update(status="completed", completed_at=NOW)
    plan(NOW + timedelta(seconds=90))
    statuses = [Schedule.objects.get(pk=each.pk).status for each in (counted, ending)]
    assert statuses == ["expired", "expired"]
    assert Task.objects.count() == 2


def test_parameters_are_rendered_for_each_instant():
    schedule = daily(now=NOW, parameters={"day": "{{ date }}", "mode": "full"})
    plan(utc(2026, 3, 3, 9))
    assert Task.objects.get(schedule=schedule).parameters == {"day": "2026-03-03", "mode": "full"}


def test_instants_that_all_lie_before_the_window_leave_their_one_row_and_no_problem():
    schedule = daily(now=NOW)
    plan(utc(2026, 3, 10, 12), catch_up_secs=3600.0)
    schedule.refresh_from_db()
    assert schedule.problem == ""
    assert rows(schedule) == [("03-03", "missed", "cancelled")]
    assert Task.objects.get(schedule=schedule).instants == 8


def test_what_was_missed_is_counted_on_the_schedule_and_never_less():
    schedule, other = daily(now=NOW), daily(now=NOW)
    plan(utc(2026, 3, 10, 12), catch_up_secs=3600.0)
    plan(utc(2026, 3, 12, 12), catch_up_secs=3600.0)
    Task.objects.all().delete()
    Alert.objects.all().delete()
    assert {each.missed_count for each in Schedule.objects.filter(pk__in=[schedule.pk, other.pk])} == {10}
