"""One thing is done to many objects, each of them once, whoever is killed meanwhile."""

from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.db import connection

from access.models import AuditEntry
from scheduling import scheduler
from scheduling.errors import InvalidState
from scheduling.kinds import BulkVerb
from scheduling.models import BulkAction, BulkTarget, Job, Task
from scheduling.services import bulk, manual
from scheduling.services.deeds import DEEDS, model_of
from tests import factories, people
from tests.factories import ANN, NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db


def ask(verb, *objects, user=None):
    user = user or people.person(superuser=True)
    return bulk.begin(verb=verb, target_ids=[obj.pk for obj in objects], user=user, by=ANN)


def go_on():
    """Let schedulers work until nothing is left to do."""
    while bulk.run_once(now=NOW):
        pass


def counts(action):
    return bulk.count_targets([action.pk])[action.pk]


def statuses():
    return sorted(Task.objects.values_list("status", flat=True))


def test_every_object_gets_it_done_and_the_action_ends():
    tasks = [factories.task() for _ in range(5)]
    action = ask(BulkVerb.CANCEL_TASKS, *tasks[:4])
    go_on()
    action.refresh_from_db()
    assert statuses() == ["cancelled"] * 4 + ["pending"]
    assert (action.status, counts(action)) == ("completed", {"done": 4})


def test_what_cannot_be_done_is_noted_with_the_reason_and_stops_none_of_the_others():
    waits, ended, gone = (factories.task() for _ in range(3))
    manual.cancel(task_id=ended.pk, now=NOW)
    action = ask(BulkVerb.CANCEL_TASKS, ended, gone, waits)
    Task.objects.filter(pk=gone.pk).delete()
    go_on()
    waits.refresh_from_db()
    assert waits.status == "cancelled"
    problems = dict(action.targets.values_list("target_id", "problem"))
    assert "current state is cancelled" in problems[ended.pk]
    assert problems[gone.pk] == "It is not there any more."
    assert counts(action) == {"done": 1, "refused": 2}


def test_one_that_fails_as_nobody_thought_of_does_not_stop_the_others(monkeypatch, caplog):
    first, second = factories.job(), factories.job()
    trigger = manual.trigger_job

    def fail(*, job, **fields):
        if job == first:
            Task.objects.update(priority=9)
            raise ZeroDivisionError
        return trigger(job=job, **fields)

    monkeypatch.setattr(manual, "trigger_job", fail)
    earlier = factories.task()
    action = ask(BulkVerb.RUN_JOBS, first, second)
    go_on()
    earlier.refresh_from_db()
    assert earlier.priority == 0
    assert counts(action) == {"done": 1, "refused": 1}
    assert f"job.run of {first.pk} failed" in caplog.text


@pytest.mark.parametrize(
    ("verb", "field", "before", "after"),
    [
        (BulkVerb.ENABLE_JOBS, "enabled", False, True),
        (BulkVerb.DISABLE_JOBS, "enabled", True, False),
    ],
)
def test_jobs_are_enabled_and_disabled(verb, field, before, after):
    job = factories.job(**{field: before})
    ask(verb, job)
    go_on()
    job.refresh_from_db()
    assert getattr(job, field) is after


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        (BulkVerb.ENABLE_SCHEDULES, "disabled", "enabled"),
        (BulkVerb.DISABLE_SCHEDULES, "enabled", "disabled"),
    ],
)
def test_schedules_are_enabled_and_disabled(verb, before, after):
    schedule = factories.schedule(status=before)
    ask(verb, schedule)
    go_on()
    schedule.refresh_from_db()
    assert schedule.status == after


def test_what_is_left_when_it_is_cancelled_stays_as_it_is(monkeypatch):
    monkeypatch.setitem(DEEDS, BulkVerb.CANCEL_TASKS, replace(DEEDS[BulkVerb.CANCEL_TASKS], at_once=1))
    tasks = [factories.task() for _ in range(3)]
    action = ask(BulkVerb.CANCEL_TASKS, *tasks)
    assert not bulk.work(action, for_secs=-1)
    bulk.cancel(action_id=action.pk, now=NOW, by=ANN)
    go_on()
    action.refresh_from_db()
    assert statuses() == ["cancelled", "pending", "pending"]
    assert (action.status, counts(action)) == ("cancelled", {"done": 1, "waiting": 2})
    with pytest.raises(InvalidState):
        bulk.cancel(action_id=action.pk, now=NOW, by=ANN)


def test_what_the_user_may_is_asked_when_it_is_done():
    user = people.with_role("operator", "ours")
    ours, theirs = factories.job(namespace="ours"), factories.job(namespace="theirs")
    action = ask(BulkVerb.RUN_JOBS, ours, theirs, user=user)
    go_on()
    assert list(Task.objects.values_list("job", flat=True)) == [ours.pk]
    assert action.targets.get(target_id=theirs.pk).problem == "Your role in this namespace does not allow it."


@pytest.mark.parametrize(
    "withdraw", [lambda user: user.groups.clear(), lambda user: user.delete()], ids=["no role", "gone"]
)
def test_who_lost_the_role_meanwhile_changes_nothing_any_more(withdraw):
    user = people.with_role("operator", "ours")
    action = ask(BulkVerb.RUN_JOBS, factories.job(namespace="ours"), user=user)
    withdraw(User.objects.get(pk=user.pk))
    go_on()
    assert not Task.objects.exists()
    assert counts(action) == {"refused": 1}


def test_each_object_leaves_its_entry_in_the_audit_log_in_the_name_of_who_asked():
    user = people.with_role("operator")
    action = ask(BulkVerb.RUN_JOBS, factories.job(), factories.job(), user=user)
    go_on()
    written = AuditEntry.objects.filter(action="task.create")
    assert list(written.values_list("actor", flat=True)) == [user.username] * 2
    assert AuditEntry.objects.filter(action="bulk_action.create", subject_id=str(action.pk)).count() == 1


def test_a_crash_after_the_work_and_before_it_is_noted_undoes_both(monkeypatch):
    job = factories.job()
    action = ask(BulkVerb.RUN_JOBS, job)

    def crash(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BulkTarget, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            bulk.work(action, for_secs=1)
    assert not Task.objects.exists()
    go_on()
    assert Task.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_schedulers_that_race_do_each_object_once():
    jobs = [factories.job() for _ in range(30)]
    action = ask(BulkVerb.RUN_JOBS, *jobs)
    at_once(*[go_on] * 3)
    action.refresh_from_db()
    assert sorted(Task.objects.values_list("job", flat=True)) == sorted(job.pk for job in jobs)
    assert (action.status, counts(action)) == ("completed", {"done": 30})


def test_actions_share_the_time():
    first = ask(BulkVerb.RUN_JOBS, *[factories.job() for _ in range(3)])
    second = ask(BulkVerb.CANCEL_TASKS, factories.task())
    go_on()
    assert set(BulkAction.objects.values_list("status", flat=True)) == {"completed"}
    assert (counts(first), counts(second)) == ({"done": 3}, {"done": 1})


def test_an_action_that_waits_for_a_lock_holds_up_no_other(monkeypatch):
    stuck, free = factories.job(), factories.job()
    trigger = manual.trigger_job

    def wait_for_ever(*, job, **fields):
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("100ms",)
            if job == stuck:
                cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'lock timeout' USING ERRCODE = '55P03'; END $$")
        return trigger(job=job, **fields)

    first, second = ask(BulkVerb.RUN_JOBS, stuck, free), ask(BulkVerb.RUN_JOBS, free)
    with monkeypatch.context() as patch:
        patch.setattr(manual, "trigger_job", wait_for_ever)
        assert bulk.run_once(now=NOW) is False
    assert (counts(first), counts(second)) == ({"waiting": 1, "done": 1}, {"done": 1})
    go_on()
    assert counts(first) == {"done": 2}


@pytest.mark.parametrize("number", [0, bulk.MAX_TARGETS + 1])
def test_none_and_too_many_are_refused(number):
    with pytest.raises(ValueError, match="targets"):
        bulk.begin(
            verb=BulkVerb.RUN_JOBS,
            target_ids=range(number),
            user=people.person(),
            by=ANN,
        )
    assert not BulkAction.objects.exists()


def test_every_verb_has_a_deed():
    assert set(DEEDS) == set(BulkVerb)
    assert {model_of(verb) for verb in BulkVerb} >= {Job, Task, None}


def test_what_ended_long_ago_is_forgotten(settings):
    settings.HETUFLOW_KEEP_DAYS = 30
    old, new = (ask(BulkVerb.RUN_JOBS, factories.job()) for _ in range(2))
    go_on()
    BulkAction.objects.filter(pk=old.pk).update(completed_at="2020-01-01T00:00:00Z")
    BulkAction.objects.filter(pk=new.pk).update(completed_at=NOW)
    bulk.run_once(now=NOW)
    assert list(BulkAction.objects.all()) == [new]
    assert not BulkTarget.objects.filter(action=old.pk).exists()


def test_the_scheduler_goes_on_without_a_pause_while_there_is_more():
    (duty,) = (each for each in scheduler.DUTIES if each.name == "bulk actions")
    assert duty.has_more
    ask(BulkVerb.RUN_JOBS, factories.job())
    assert duty.run_once(NOW) is False
