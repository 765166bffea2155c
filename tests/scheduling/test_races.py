"""Races on the real database: several connections do the same thing at once, and what must hold holds."""

import itertools
import random
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection, transaction

from scheduling.attempts import ReportedFact
from scheduling.errors import JobArchived
from scheduling.models import Schedule, Task, TaskInstance
from scheduling.services import lifecycle, manual, planning, rescue
from scheduling.services.claiming import claim
from scheduling.services.definitions import archive_job, update_schedule
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, read_output, store_output
from scheduling.states import InstanceStatus
from tests import factories
from tests.factories import NOW
from tests.races import LIMIT_SECS, at_once, start_until_it_waits

pytestmark = pytest.mark.django_db(transaction=True)


def plan(now=NOW):
    return planning.run_once(now=now, horizon_secs=15, catch_up_secs=7 * 86_400)


def take(agent, slots=1, now=NOW):
    return claim(slots={agent.id: slots}, now=now, lead_secs=2, lease_secs=30)


def key_of(started):
    return AttemptKey(agent_id=started.agent_id, instance_id=started.instance_id, token=started.token)


def fact(status, seq=2):
    return ReportedFact(seq=seq, status=InstanceStatus(status), at=NOW, exit_code=0)


# --- planning -------------------------------------------------------------------------------------------


def test_planners_at_once_give_each_instant_one_task():
    for _ in range(30):
        factories.schedule(kind="interval", interval_secs=1)
    for tick in range(5):
        now = NOW + timedelta(seconds=5 * tick)
        at_once(*[lambda now=now: plan(now)] * 3)
    per_schedule = Counter(Task.objects.values_list("schedule_id", flat=True))
    assert set(per_schedule.values()) == {35}
    assert Task.objects.count() == Task.objects.values("schedule_id", "scheduled_at").distinct().count()
    assert set(Schedule.objects.values_list("run_count", flat=True)) == {35}


def test_a_planner_that_replays_an_old_cursor_adds_nothing():
    schedule = factories.schedule(kind="interval", interval_secs=1)
    before = (schedule.planned_until, schedule.next_run_at)
    plan()
    Schedule.objects.update(planned_until=before[0], next_run_at=before[1], run_count=0)
    at_once(plan, plan)
    assert Task.objects.count() == 15


def test_a_schedule_edited_while_it_is_planned_has_the_old_times_or_the_new_ones_never_both():
    for _ in range(5):
        schedule = factories.schedule(kind="interval", interval_secs=2, start_time=NOW)
        at_once(
            plan,
            lambda pk=schedule.pk: update_schedule(schedule_id=pk, now=NOW, interval_secs=5),
            plan,
        )
        plan()
        seconds = [
            (at - NOW).total_seconds()
            for at in Task.objects.filter(schedule=schedule)
            .order_by("scheduled_at")
            .values_list("scheduled_at", flat=True)
        ]
        assert seconds == [5, 10, 15]


def test_a_job_that_is_deleted_while_its_schedule_is_planned_waits_and_is_deleted():
    schedule = factories.schedule(kind="interval", interval_secs=2)
    with transaction.atomic():
        Schedule.objects.select_for_update().get(pk=schedule.pk)
        archiving = start_until_it_waits(lambda: archive_job(job_id=schedule.job_id, now=NOW))
        # The planner, which holds the schedule, now inserts tasks that refer to the job.
        plan()
    archiving.result(LIMIT_SECS)
    assert not Schedule.objects.present().exists()
    assert set(Task.objects.values_list("status", flat=True)) == {"cancelled"}


@pytest.mark.parametrize("deed", ["trigger", "retry"])
def test_nothing_that_is_asked_for_while_a_job_is_deleted_runs_later(deed):
    job = factories.job()
    task = manual.cancel(task_id=factories.task(job=job).pk, now=NOW)
    deeds = {
        "trigger": lambda: manual.trigger_job(job=job, now=NOW),
        "retry": lambda: manual.retry(task_id=task.pk, now=NOW),
    }
    with transaction.atomic():
        archive_job(job_id=job.pk, now=NOW)
        running = start_until_it_waits(deeds[deed])
    with pytest.raises(JobArchived):
        running.result(LIMIT_SECS)
    assert set(Task.objects.values_list("status", flat=True)) == {"cancelled"}


@pytest.mark.parametrize("deed", ["trigger", "retry"])
def test_deleting_a_job_withdraws_what_somebody_is_asking_for(deed):
    job = factories.job()
    task = manual.cancel(task_id=factories.task(job=job).pk, now=NOW)
    with transaction.atomic():
        if deed == "trigger":
            manual.trigger_job(job=job, now=NOW)
        else:
            manual.retry(task_id=task.pk, now=NOW)
        archiving = start_until_it_waits(lambda: archive_job(job_id=job.pk, now=NOW))
    archiving.result(LIMIT_SECS)
    assert set(Task.objects.values_list("status", flat=True)) == {"cancelled"}


# --- claiming -------------------------------------------------------------------------------------------


def test_claimers_at_once_never_take_a_task_twice_nor_more_than_their_slots():
    agents = [factories.agent() for _ in range(4)]
    job = factories.job()
    for _ in range(40):
        factories.task(job=job)
    rounds = at_once(*[lambda agent=agent: take(agent, slots=7) for agent in agents])
    taken = [started.task_id for started in itertools.chain.from_iterable(rounds)]
    assert len(taken) == len(set(taken)) == TaskInstance.objects.count()
    assert all(len(started) <= 7 for started in rounds)
    while len(taken) < 40:
        more = at_once(*[lambda agent=agent: take(agent, slots=7) for agent in agents])
        assert any(more)
        taken += [started.task_id for started in itertools.chain.from_iterable(more)]
    assert len(set(taken)) == len(taken) == 40


def test_claimers_at_once_never_exceed_the_places_of_a_limited_job():
    job = factories.job(config={"max_concurrency": 3})
    agents = [factories.agent() for _ in range(4)]
    for _ in range(30):
        factories.task(job=job)
    for _ in range(6):
        at_once(*[lambda agent=agent: take(agent, slots=5) for agent in agents])
        live = TaskInstance.objects.live()
        places = list(live.values_list("place", flat=True))
        assert len(places) == len(set(places)) <= 3
        assert set(places) <= {1, 2, 3}
        for instance in live:
            key = AttemptKey(agent_id=instance.agent_id, instance_id=instance.pk, token=instance.token)
            lifecycle.apply_reports([(key, fact("completed"))], now=NOW)
    assert Task.objects.filter(status="completed").count() >= 6


def test_a_task_cancelled_while_it_is_claimed_is_either_cancelled_or_asked_to_stop():
    agent = factories.agent()
    for _ in range(10):
        task = factories.task()
        claimed, _ = at_once(lambda: take(agent), lambda pk=task.pk: manual.cancel(task_id=pk, now=NOW))
        task.refresh_from_db()
        instances = list(TaskInstance.objects.filter(task=task))
        if claimed:
            assert (task.status, task.cancel_requested_at) == ("locked", NOW)
            assert [instance.cancel_requested_at for instance in instances] == [NOW]
            lifecycle.apply_reports([(key_of(claimed[0]), fact("cancelled"))], now=NOW)
        else:
            assert (task.status, instances) == ("cancelled", [])


def test_tokens_grow_with_every_attempt():
    agent = factories.agent()
    task = factories.task(job=factories.job(config={"max_retries": 9, "retry_interval_secs": 0}))
    for _ in range(4):
        (started,) = take(agent)
        lifecycle.apply_reports([(key_of(started), fact("failed"))], now=NOW)
    tokens = list(task.instances.order_by("attempt").values_list("token", flat=True))
    assert tokens == sorted(set(tokens))


# --- one attempt, many hands ----------------------------------------------------------------------------


def settled(task):
    task.refresh_from_db()
    (instance,) = TaskInstance.objects.filter(task=task)
    return task.status, instance.status


def test_report_cancel_and_loss_of_one_attempt_at_once_end_in_one_of_their_states():
    agent, late = factories.agent(), NOW + timedelta(seconds=31)
    seen = set()
    for _ in range(12):
        task = factories.task()
        (started,) = take(agent)
        works = [
            lambda started=started: lifecycle.apply_reports([(key_of(started), fact("completed"))], now=NOW),
            lambda task=task: lifecycle.cancel_task(task_id=task.pk, now=NOW, reason="cancelled"),
            lambda: lifecycle.lose_attempts(now=late, limit=10),
        ]
        random.shuffle(works)
        at_once(*works)
        seen.add(settled(task))
    assert seen <= {("completed", "completed"), ("failed", "lost"), ("cancelled", "lost")}


def test_one_report_applied_by_many_servers_at_once_counts_once():
    agent = factories.agent()
    task = factories.task(job=factories.job(config={"max_retries": 5}))
    (started,) = take(agent)
    report = [(key_of(started), fact("failed"))]
    results = at_once(*[lambda: lifecycle.apply_reports(report, now=NOW)] * 4)
    assert sorted(result.applied for result in results) == [0, 0, 0, 1]
    task.refresh_from_db()
    agent.refresh_from_db()
    assert (task.status, task.retry_count, agent.failure_tasks) == ("waiting_retry", 1, 1)


def test_batches_that_name_the_same_attempts_in_opposite_orders_do_not_deadlock():
    agent, job = factories.agent(), factories.job()
    for _ in range(20):
        factories.task(job=job)
    keys = [key_of(started) for started in take(agent, slots=20)]
    forward = [(key, fact("running", seq=1)) for key in keys]
    ends = [(key, fact("completed")) for key in reversed(keys)]
    for _ in range(3):
        at_once(
            lambda: lifecycle.apply_reports(forward, now=NOW),
            lambda: lifecycle.apply_reports(ends, now=NOW),
            lambda: lifecycle.renew_leases(keys, now=NOW, lease_secs=30),
            lambda: lifecycle.accept_attempts(list(reversed(keys)), now=NOW),
        )
    assert set(TaskInstance.objects.values_list("status", flat=True)) == {"completed"}


def test_many_rescuers_at_once_lose_each_attempt_once():
    agent, job = factories.agent(), factories.job(config={"max_retries": 3})
    for _ in range(20):
        factories.task(job=job)
    take(agent, slots=20)
    late = NOW + timedelta(seconds=60)
    for secs in range(0, 62, 2):
        rescue.note_servers_alive(holder="s", now=NOW + timedelta(seconds=secs))
    lost = at_once(*[lambda: rescue.run_once(now=late)] * 3)
    assert sum(lost) == 20
    assert set(Task.objects.values_list("status", "retry_count")) == {("waiting_retry", 1)}


def test_retries_by_hand_at_once_start_one_attempt():
    task, agent = factories.task(), factories.agent()
    (started,) = take(agent)
    lifecycle.apply_reports([(key_of(started), fact("failed"))], now=NOW)
    done = at_once(*[lambda: lifecycle.retry_task(task_id=task.pk, now=NOW, by="ann")] * 3)
    assert sorted(done) == [False, False, True]
    task.refresh_from_db()
    assert task.manual_retries == 1


def test_the_same_output_from_two_sessions_at_once_is_stored_once_and_in_order():
    task, agent = factories.task(), factories.agent()
    (started,) = take(agent)
    key, data = key_of(started), bytes(range(256)) * 40
    pieces = [
        Chunk(key=key, stream="stdout", offset=at, data=data[at : at + size], at=NOW)
        for size in (700, 1100)
        for at in range(0, len(data), size)
    ]

    def send(seed):
        order = list(pieces)
        for _ in range(4):
            random.Random(seed).shuffle(order)  # noqa: S311
            for piece in order:
                store_output([piece])
        store_output(pieces)

    at_once(*[lambda seed=seed: send(seed) for seed in range(2)])
    instance = TaskInstance.objects.get(task=task)
    assert instance.stdout_bytes == len(data)
    assert read_output(instance=instance, stream="stdout") == data


# --- death at a commit -----------------------------------------------------------------------------------


class Death(BaseException):
    """The process is gone; nothing catches it."""


def dying(work, *, at):
    """Run `work` in a process that dies at its first commit: right before it, or right after."""
    commit = connection.commit

    def last_moment():
        # What the database does when the connection of an open transaction breaks is a rollback.
        commit() if at == "after" else connection.rollback()
        raise Death

    connection.commit = last_moment
    try:
        with pytest.raises(Death):
            work()
    finally:
        del connection.commit
        connection.close()


def rows():
    """Return all that the paths below write, without what is drawn anew each time."""
    return [
        list(
            Task.objects.order_by("id").values("status", "due_at", "retry_count", "scheduled_at", "outcome")
        ),
        list(
            TaskInstance.objects.order_by("id").values(
                "task_id", "status", "attempt", "stdout_bytes", "last_seq"
            )
        ),
        list(Schedule.objects.order_by("id").values("planned_until", "next_run_at", "run_count")),
    ]


def started_attempt():
    factories.task(job=factories.job(config={"max_retries": 2}))
    (started,) = take(factories.agent())
    return key_of(started)


def planning_path():
    factories.schedule(kind="interval", interval_secs=5)
    return plan


def claim_path():
    agent = factories.agent()
    factories.task()
    return lambda: take(agent)


def report_path():
    report = [(started_attempt(), fact("failed"))]
    return lambda: lifecycle.apply_reports(report, now=NOW)


def accept_path():
    key = started_attempt()
    return lambda: lifecycle.accept_attempts([key], now=NOW)


def decline_path():
    key = started_attempt()
    return lambda: lifecycle.decline_attempts([(key, "no slot")], now=NOW)


def loss_path():
    started_attempt()
    return lambda: lifecycle.lose_attempts(now=NOW + timedelta(seconds=31), limit=10)


def output_path():
    piece = Chunk(key=started_attempt(), stream="stdout", offset=0, data=b"\x00\xff", at=NOW)
    return lambda: store_output([piece])


PATHS = [planning_path, claim_path, report_path, accept_path, decline_path, loss_path, output_path]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_a_process_that_dies_before_its_commit_leaves_nothing_and_a_second_one_does_it_all(path):
    work = path()
    before = rows()
    dying(work, at="before")
    assert rows() == before
    work()
    done = rows()
    assert done != before
    work()
    assert rows() == done


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_a_process_that_dies_after_its_commit_may_be_repeated_by_a_second_one(path):
    work = path()
    before = rows()
    dying(work, at="after")
    done = rows()
    assert done != before
    work()
    assert rows() == done
