import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from scheduling.attempts import ReportedFact
from scheduling.models import Task, TaskInstance
from scheduling.services import lifecycle, manual, rescue
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, read_output, store_output
from scheduling.states import InstanceStatus
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def begin(task, agent=None, now=NOW):
    agent = agent or factories.agent()
    (started,) = claim(slots={agent.id: 1}, now=now, lead_secs=2, lease_secs=30)
    assert started.task_id == task.pk
    return AttemptKey(agent_id=agent.id, instance_id=started.instance_id, token=started.token)


def fact(status, *, seq=1, **fields):
    return ReportedFact(seq=seq, status=InstanceStatus(status), at=NOW, **fields)


def report(key, *facts, now=NOW):
    return lifecycle.apply_reports([(key, one) for one in facts], now=now)


def statuses(key):
    instance = TaskInstance.objects.select_related("task").get(pk=key.instance_id)
    return instance.task.status, instance.status


def test_an_attempt_goes_from_accepted_through_running_to_completed():
    key = begin(factories.task())
    assert statuses(key) == ("locked", "pending")
    lifecycle.accept_attempts([key], now=NOW)
    assert statuses(key) == ("dispatched", "dispatched")
    report(key, fact("running", start_delay_ms=1.5))
    assert statuses(key) == ("running", "running")
    report(key, fact("completed", seq=2, exit_code=0, result={"rows": 3}, metrics={"cpu_time": 0.5}))
    assert statuses(key) == ("completed", "completed")
    instance = TaskInstance.objects.get(pk=key.instance_id)
    assert (instance.exit_code, instance.result, instance.start_delay_ms) == (0, {"rows": 3}, 1.5)
    assert instance.agent.success_tasks == 1


def test_running_and_end_in_one_batch_and_in_the_wrong_order_come_out_the_same():
    key = begin(factories.task())
    report(key, fact("completed", seq=2, exit_code=0), fact("running", seq=1))
    assert statuses(key) == ("completed", "completed")


def test_a_failure_is_retried_with_backoff_and_then_final():
    job = factories.job(config={"max_retries": 2, "retry_interval_secs": 10, "retry_backoff": "exponential"})
    task, agent = factories.task(job=job), factories.agent()
    now, delays = NOW, []
    for _ in range(2):
        report(begin(task, agent, now=now), fact("failed", exit_code=3), now=now)
        task.refresh_from_db()
        assert task.status == "waiting_retry"
        delays.append((task.due_at - now).total_seconds())
        now = task.due_at
    report(begin(task, agent, now=now), fact("failed", exit_code=3), now=now)
    task.refresh_from_db()
    assert (task.status, delays) == ("failed", [10, 20])
    assert [i.exit_code for i in task.instances.order_by("attempt")] == [3, 3, 3]


@pytest.mark.parametrize("changed", ["token", "agent_id"])
def test_a_report_that_does_not_match_changes_nothing_and_is_stale(changed):
    key = begin(factories.task())
    other = {"token": key.token + 1, "agent_id": factories.agent().id}
    wrong = AttemptKey(**{**{f: getattr(key, f) for f in key.__slots__}, changed: other[changed]})
    result = report(wrong, fact("completed", exit_code=0))
    assert result.stale == [(wrong, 1)]
    assert statuses(key) == ("locked", "pending")


def test_a_repeated_report_changes_nothing():
    key = begin(factories.task())
    report(key, fact("completed", exit_code=0))
    assert report(key, fact("failed", exit_code=1)).stale == []
    assert statuses(key) == ("completed", "completed")


def test_the_database_refuses_to_leave_a_terminal_status():
    key = begin(factories.task())
    report(key, fact("completed", exit_code=0))
    for model, pk in ((TaskInstance, key.instance_id), (Task, TaskInstance.objects.get().task_id)):
        with pytest.raises(IntegrityError, match="terminal"), transaction.atomic():
            model.objects.filter(pk=pk).update(status="pending")


def test_a_waiting_task_is_cancelled_at_once_and_a_running_one_when_its_agent_says_so():
    waiting = factories.task(scheduled_at=NOW + timedelta(hours=1))
    assert manual.cancel(task_id=waiting.pk, now=NOW).status == "cancelled"
    running = factories.task()
    key = begin(running)
    report(key, fact("running"))
    task = manual.cancel(task_id=running.pk, now=NOW)
    assert (task.status, task.cancel_requested_at) == ("running", NOW)
    assert lifecycle.renew_leases([key], now=NOW, lease_secs=30) == ({key.instance_id}, {key.instance_id})
    report(key, fact("cancelled", seq=2))
    assert statuses(key) == ("cancelled", "cancelled")


def test_a_failed_task_is_retried_by_hand_and_a_completed_one_is_not():
    task, agent = factories.task(), factories.agent()
    report(begin(task, agent), fact("failed", exit_code=1))
    assert manual.retry(task_id=task.pk, now=NOW).status == "pending"
    report(begin(task, agent), fact("completed", exit_code=0))
    with pytest.raises(manual.InvalidState, match="completed"):
        manual.retry(task_id=task.pk, now=NOW)


def test_a_declined_attempt_costs_no_retry():
    task, agent = factories.task(), factories.agent()
    key = begin(task, agent)
    lifecycle.decline_attempts([(key, "no_slot")], now=NOW)
    assert statuses(key) == ("pending", "skipped")
    task.refresh_from_db()
    assert task.retry_count == 0
    begin(task, agent)


def keep_servers_alive(*, since, until):
    moment = since
    while moment <= until:
        rescue.note_servers_alive(holder="s", now=moment)
        moment += timedelta(seconds=2)


def test_an_attempt_is_lost_only_while_servers_were_there_to_renew_its_lease():
    key = begin(factories.task())
    late = NOW + timedelta(seconds=40)
    assert rescue.run_once(now=late) == 0
    keep_servers_alive(since=late, until=late + timedelta(seconds=20))
    assert rescue.run_once(now=late + timedelta(seconds=20)) == 0
    keep_servers_alive(since=late + timedelta(seconds=20), until=late + timedelta(seconds=32))
    assert rescue.run_once(now=late + timedelta(seconds=32)) == 1
    assert statuses(key) == ("failed", "lost")


def test_nothing_takes_the_place_of_a_command_that_still_has_its_grace_to_stop():
    job = factories.job(config={"on_lease_lost": "kill", "kill_grace_secs": 20, "max_retries": 1})
    key = begin(factories.task(job=job))
    assert lifecycle.lose_attempts(now=NOW + timedelta(seconds=49), limit=10) == 0
    assert lifecycle.lose_attempts(now=NOW + timedelta(seconds=51), limit=10) == 1
    assert statuses(key) == ("waiting_retry", "lost")


def test_what_a_lost_attempt_reports_late_is_kept_without_changing_its_status():
    key = begin(factories.task())
    assert lifecycle.lose_attempts(now=NOW + timedelta(seconds=31), limit=10) == 1
    report(key, fact("completed", exit_code=0, result=[1]))
    assert statuses(key) == ("failed", "lost")
    instance = TaskInstance.objects.get(pk=key.instance_id)
    assert (instance.exit_code, instance.result) == (0, [1])
    assert "reported later" in instance.error_message


def test_output_is_stored_in_order_whatever_order_and_how_often_it_arrives():
    key = begin(factories.task())
    pieces = [(0, b"hello \x00"), (7, b"wor"), (5, b" \x00world"), (20, b"gap"), (0, b"hello")]
    for offset, data in pieces:
        stored = store_output([Chunk(key=key, stream="stdout", offset=offset, data=data, at=NOW)])
    assert stored.offsets == {(key.instance_id, "stdout"): 12}
    instance = TaskInstance.objects.get(pk=key.instance_id)
    assert read_output(instance=instance, stream="stdout") == b"hello \x00world"
    assert read_output(instance=instance, stream="stdout", offset=5, limit=4) == b" \x00wo"
    assert read_output(instance=instance, stream="stderr") == b""


@pytest.mark.parametrize("changed", ["agent_id", "token"])
@pytest.mark.parametrize(
    "say",
    [
        lambda key: lifecycle.accept_attempts([key], now=NOW),
        lambda key: lifecycle.decline_attempts([(key, "full")], now=NOW),
        lambda key: lifecycle.renew_leases([key], now=NOW, lease_secs=3600),
    ],
    ids=["accept", "decline", "renew"],
)
def test_whatever_is_said_of_an_attempt_counts_from_its_own_agent_with_its_token_alone(say, changed):
    key = begin(factories.task())
    other = {"agent_id": uuid.uuid4(), "token": key.token + 1}[changed]
    before = TaskInstance.objects.values().get(), Task.objects.values().get()
    say(replace(key, **{changed: other}))
    assert (TaskInstance.objects.values().get(), Task.objects.values().get()) == before
