"""What is done to many at once is what would be done to each, whoever else is at them."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.models import AuditEntry
from scheduling.kinds import BulkVerb
from scheduling.models import BulkTarget, Job, Schedule, Task, TaskInstance
from scheduling.services import bulk, by_hand, manual, many, planning
from scheduling.services.claiming import claim
from scheduling.services.deeds import DEEDS
from scheduling.services.definitions import archive_job
from tests import factories, people
from tests.factories import ANN, NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db


def ask(verb, ids, *, user=None):
    return bulk.begin(verb=verb, target_ids=ids, user=user or people.person(superuser=True), by=ANN)


def go_on():
    while bulk.run_once(now=NOW):
        pass


def problems(action):
    return dict(action.targets.exclude(problem="").values_list("target_id", "problem"))


def states(action):
    return dict(action.targets.values_list("target_id", "state"))


def entries(*actions):
    """Return what the audit log says of each subject."""
    found = AuditEntry.objects.filter(action__in=actions).order_by("pk")
    return {
        int(entry.subject_id): (entry.actor, entry.subject, entry.namespace, entry.before, entry.after)
        for entry in found
    }


@contextmanager
def locked(model, pk, *, key=False):
    """Hold the row for the length of a `with` block, on a connection of its own."""
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT FROM {model._meta.db_table} WHERE id = %s FOR UPDATE", [pk])
            yield
            cursor.execute("ROLLBACK")
    finally:
        other.close()


def cases():
    """Return tasks in every state that matters for a cancel and a retry."""
    made = {name: factories.task() for name in ("waits", "retries", "failed", "cancelled", "completed")}
    for name, status in (("retries", "waiting_retry"), ("failed", "failed"), ("completed", "completed")):
        ended = None if status == "waiting_retry" else NOW
        Task.objects.filter(pk=made[name].pk).update(status=status, completed_at=ended)
    manual.cancel(task_id=made["cancelled"].pk, now=NOW)
    made["theirs"] = factories.task(job=factories.job(namespace="theirs"))
    made["runs"] = factories.attempt().task
    made["asked"] = factories.attempt().task
    manual.cancel(task_id=made["asked"].pk, now=NOW)
    made["by_hand"] = factories.task()
    by_hand.create_attempt(task_id=made["by_hand"].pk, agent_id=None, now=NOW)
    return made


def what_became(task):
    row = Task.objects.filter(pk=task.pk).values(
        "status", "reason", "cancel_requested_at", "completed_at", "retry_count", "manual_retries", "due_at"
    )
    attempts = TaskInstance.objects.filter(task=task).order_by("attempt")
    return {
        **{name: bool(value) if name.endswith("_at") else value for name, value in row.get().items()},
        "attempts": [(each.status, each.cancel_requested_at is not None) for each in attempts],
    }


@pytest.mark.parametrize(
    ("verb", "one", "audited"),
    [
        (BulkVerb.CANCEL_TASKS, manual.cancel, "task.cancel"),
        (BulkVerb.RETRY_TASKS, manual.retry, "task.retry"),
    ],
)
def test_many_tasks_become_what_each_would_have_become(verb, one, audited):
    together, singly = cases(), cases()
    AuditEntry.objects.all().delete()
    user = people.with_role("operator", "default")
    action = ask(verb, [task.pk for task in together.values()], user=user)
    go_on()
    of_many = entries(audited)
    AuditEntry.objects.all().delete()
    refused = {}
    for name, task in singly.items():
        if name != "theirs":
            try:
                one(task_id=task.pk, now=NOW, by=replace(ANN, name=user.username))
            except manual.InvalidState as error:
                refused[name] = str(error)
    of_each = entries(audited)
    assert problems(action) == {
        **{together[name].pk: problem for name, problem in refused.items()},
        together["theirs"].pk: "Your role in this namespace does not allow it.",
    }
    for name in together:
        assert what_became(together[name]) == what_became(singly[name]), name
        told, told_singly = of_many.get(together[name].pk), of_each.get(singly[name].pk)
        assert (told and told[2:]) == (told_singly and told_singly[2:]), name
        assert told is None or told[:2] == (user.username, f"#{together[name].pk}")


def test_a_retry_of_an_archived_job_or_of_a_task_that_is_gone_is_refused():
    archived, gone, failed = (factories.task() for _ in range(3))
    Task.objects.update(status="failed", completed_at=NOW)
    archive_job(job_id=archived.job_id, now=NOW)
    ids = [task.pk for task in (archived, gone, failed)]
    gone.delete()
    action = ask(BulkVerb.RETRY_TASKS, ids)
    go_on()
    assert set(problems(action)) == {ids[0], ids[1]}
    assert "archived" in problems(action)[ids[0]]
    assert problems(action)[ids[1]] == many.GONE
    assert Task.objects.get(pk=ids[2]).status == "pending"


def test_agents_are_asked_to_stop_what_many_tasks_run(monkeypatch):
    asked = []
    monkeypatch.setattr("scheduling.hints.cancel_requested", asked.append)
    attempts = [factories.attempt() for _ in range(2)]
    ask(BulkVerb.CANCEL_TASKS, [attempt.task_id for attempt in attempts])
    go_on()
    assert set(asked) == {attempt.agent_id for attempt in attempts}
    assert TaskInstance.objects.filter(cancel_requested_at__isnull=False).count() == 2


def test_two_hundred_take_as_few_statements_as_two():
    def counted(number):
        tasks = [factories.task().pk for _ in range(number)]
        action = ask(BulkVerb.CANCEL_TASKS, tasks)
        with CaptureQueriesContext(connection) as queries:
            assert bulk.work(action, for_secs=60)
        return len(queries)

    assert counted(2) == counted(60)


# --- jobs and schedules --------------------------------------------------------------------------------


def test_many_jobs_are_disabled_and_their_waiting_runs_skipped():
    jobs = [factories.job(), factories.job(), factories.job(enabled=False)]
    planned = factories.task(job=jobs[0])
    Task.objects.filter(pk=planned.pk).update(schedule=factories.schedule(job=jobs[0]))
    by_person = factories.task(job=jobs[1])
    theirs = factories.job(namespace="theirs")
    user = people.with_role("editor", "default")
    AuditEntry.objects.all().delete()
    action = ask(BulkVerb.DISABLE_JOBS, [job.pk for job in (*jobs, theirs)], user=user)
    go_on()
    assert list(Job.objects.filter(enabled=True)) == [theirs]
    assert problems(action) == {theirs.pk: "Your role in this namespace does not allow it."}
    assert Task.objects.get(pk=planned.pk).outcome == "skipped_disabled"
    assert Task.objects.get(pk=by_person.pk).status == "pending"
    assert {pk: told[3:] for pk, told in entries("job.update").items()} == {
        job.pk: ({"enabled": True}, {"enabled": False}) for job in jobs[:2]
    }
    assert set(Job.objects.filter(updated_by=user.username)) == set(jobs[:2])


def test_a_job_that_is_no_longer_sound_is_not_enabled():
    job = factories.job(enabled=False)
    Job.objects.filter(pk=job.pk).update(tags="not a list")
    action = ask(BulkVerb.ENABLE_JOBS, [job.pk, factories.job(enabled=False).pk])
    go_on()
    assert list(problems(action)) == [job.pk]
    assert Job.objects.filter(enabled=True).count() == 1


def test_many_schedules_are_disabled_and_what_they_planned_is_withdrawn():
    now = timezone.now()
    schedules = [factories.schedule(now=now, kind="interval", interval_secs=600) for _ in range(3)]
    planning.run_once(now=now, horizon_secs=900, catch_up_secs=900)
    assert Task.objects.exists()
    AuditEntry.objects.all().delete()
    action = ask(BulkVerb.DISABLE_SCHEDULES, [schedule.pk for schedule in schedules])
    go_on()
    assert states(action) == dict.fromkeys((schedule.pk for schedule in schedules), "done")
    found = Schedule.objects.values_list("status", "next_run_at", "run_count")
    assert set(found) == {("disabled", None, 0)}
    assert not Task.objects.exists()
    assert [told[3:] for told in entries("schedule.update").values()] == [
        ({"status": "enabled"}, {"status": "disabled"})
    ] * 3


def test_many_schedules_are_enabled_but_those_with_no_instant_left():
    plain = factories.schedule(kind="cron", cron_expression="0 3 * * *", status="disabled")
    counted = factories.schedule(kind="interval", interval_secs=60, status="disabled", max_count=3)
    once = factories.schedule(kind="once", start_time=NOW + timedelta(days=400), status="disabled")
    over = factories.schedule(kind="interval", interval_secs=60, status="disabled")
    Schedule.objects.filter(pk=over.pk).update(start_time=NOW - timedelta(9), end_time=NOW - timedelta(8))
    Schedule.objects.filter(pk=plain.pk).update(problem="paused after 3 failures in a row")
    action = ask(BulkVerb.ENABLE_SCHEDULES, [each.pk for each in (plain, counted, once, over)])
    go_on()
    assert "no instant left" in problems(action)[over.pk]
    enabled = Schedule.objects.filter(status="enabled")
    assert set(enabled) == {plain, counted, once}
    assert all(each.next_run_at and not each.problem for each in enabled)
    assert Schedule.objects.get(pk=over.pk).status == "disabled"


# --- whoever else is at them ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["task", "attempt", "job"])
def test_what_somebody_else_has_locked_holds_up_none_of_the_others(what):
    attempts = [factories.attempt() for _ in range(3)]
    tasks = [attempt.task for attempt in attempts]
    verb = BulkVerb.CANCEL_TASKS
    if what == "job":
        verb = BulkVerb.RETRY_TASKS
        tasks = [factories.task() for _ in range(3)]
        Task.objects.filter(pk__in=[task.pk for task in tasks]).update(status="failed", completed_at=NOW)
    model, pk = {
        "task": (Task, tasks[1].pk),
        "attempt": (TaskInstance, attempts[1].pk),
        "job": (Job, tasks[1].job_id),
    }[what]
    action = ask(verb, [task.pk for task in tasks])
    with locked(model, pk):
        assert bulk.run_once(now=NOW) is False
        expected = {task.pk: "done" for task in tasks} | {tasks[1].pk: "waiting"}
        assert states(action) == expected
        action.refresh_from_db()
        assert action.status == "running"
    go_on()
    action.refresh_from_db()
    assert (action.status, set(states(action).values())) == ("completed", {"done"})


@pytest.mark.django_db(transaction=True)
def test_waiting_for_the_runs_of_one_job_holds_up_no_other_job():
    jobs = [factories.job() for _ in range(3)]
    task = factories.task(job=jobs[1])
    Task.objects.filter(pk=task.pk).update(schedule=factories.schedule(job=jobs[1]))
    action = ask(BulkVerb.DISABLE_JOBS, [job.pk for job in jobs])
    with locked(Task, task.pk):
        while bulk.run_once(now=NOW):
            pass
        assert states(action) == {jobs[0].pk: "done", jobs[1].pk: "waiting", jobs[2].pk: "done"}
    go_on()
    assert set(states(action).values()) == {"done"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", [BulkVerb.CANCEL_TASKS, BulkVerb.RETRY_TASKS])
def test_schedulers_that_race_do_each_task_once(verb, monkeypatch):
    monkeypatch.setitem(DEEDS, verb, replace(DEEDS[verb], at_once=7))
    tasks = [factories.task() for _ in range(60)]
    if verb == BulkVerb.RETRY_TASKS:
        Task.objects.update(status="failed", completed_at=NOW)
    AuditEntry.objects.all().delete()
    action = ask(verb, [task.pk for task in tasks])
    at_once(*[go_on] * 3)
    action.refresh_from_db()
    assert (action.status, bulk.count_targets([action.pk])[action.pk]) == ("completed", {"done": 60})
    assert AuditEntry.objects.filter(action=verb.value).count() == 60
    assert set(Task.objects.values_list("manual_retries", flat=True)) == {int(verb == BulkVerb.RETRY_TASKS)}


@pytest.mark.django_db(transaction=True)
def test_a_cancel_of_many_and_agents_that_take_them_leave_each_task_in_one_state():
    agents = [factories.agent(slots=5) for _ in range(4)]
    tasks = [factories.task() for _ in range(40)]
    action = ask(BulkVerb.CANCEL_TASKS, [task.pk for task in tasks])

    def take():
        for agent in agents:
            claim(slots={agent.pk: 5}, now=NOW, lead_secs=2, lease_secs=30)

    at_once(go_on, take, go_on, take)
    go_on()
    assert set(states(action).values()) == {"done"}
    for task in Task.objects.all():
        live = TaskInstance.objects.live().filter(task=task)
        assert task.status == "cancelled" or (
            task.cancel_requested_at and live.get().cancel_requested_at is not None
        )


@pytest.mark.parametrize("verb", [BulkVerb.CANCEL_TASKS, BulkVerb.RETRY_TASKS])
def test_a_crash_in_the_middle_of_many_undoes_them_all_and_none_is_done_twice(verb, monkeypatch):
    monkeypatch.setitem(DEEDS, verb, replace(DEEDS[verb], at_once=2))
    tasks = [factories.task() for _ in range(5)]
    if verb == BulkVerb.RETRY_TASKS:
        Task.objects.update(status="failed", completed_at=NOW)
    AuditEntry.objects.all().delete()
    action, note, calls = ask(verb, [task.pk for task in tasks]), bulk._note, []

    def crash(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        note(*args)

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_note", crash)
        with pytest.raises(KeyboardInterrupt):
            bulk.work(action, for_secs=60)
    assert bulk.count_targets([action.pk])[action.pk] == {"done": 2, "waiting": 3}
    assert AuditEntry.objects.filter(action__startswith="task.").count() == 2
    go_on()
    assert AuditEntry.objects.filter(action__startswith="task.").count() == 5
    assert set(BulkTarget.objects.values_list("state", flat=True)) == {"done"}


def test_where_many_fail_together_they_are_done_one_by_one(monkeypatch, caplog):
    def fail(ids, **_given):
        Task.objects.update(priority=9)
        raise ZeroDivisionError

    deed = replace(DEEDS[BulkVerb.CANCEL_TASKS], do_many=fail, at_once=2)
    monkeypatch.setitem(DEEDS, BulkVerb.CANCEL_TASKS, deed)
    tasks = [factories.task() for _ in range(5)]
    action = ask(BulkVerb.CANCEL_TASKS, [task.pk for task in tasks])
    # However little time there is, each call does some.
    for _ in range(10):
        if bulk.work(action, for_secs=-1):
            break
    assert set(states(action).values()) == {"done"}
    assert set(Task.objects.values_list("priority", "status")) == {(0, "cancelled")}
    assert "task.cancel of many failed" in caplog.text
