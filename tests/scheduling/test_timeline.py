"""Which attempts ran when: every one that overlaps a span is found along an index, many are counted."""

import itertools
from datetime import timedelta

import pytest
import uuid_utils.compat
from django.db import connection, transaction

from scheduling.models import TaskInstance
from scheduling.services import timeline
from scheduling.services.timeline import Chosen, bars_between, counts_between
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ALL = Chosen()
SPAN = {"begin": NOW, "end": NOW + HOUR}
_tokens = itertools.count(1)


def id_at(instant):
    """Return an id as a server makes it at an instant."""
    return uuid_utils.compat.UUID(int=(round(instant.timestamp() * 1000) << 80) + next(_tokens))


def attempt(begin, length=None, *, status=None, task=None, agent=None, **fields):
    """Make an attempt that was created and started at `begin` and took `length`; one that lives without."""
    task = task or factories.task()
    made = TaskInstance.objects.create(
        id=id_at(begin),
        task=task,
        job=task.job,
        agent=agent,
        attempt=1,
        token=next(_tokens),
        status=status or ("running" if length is None else "completed"),
        started_at=begin,
        completed_at=None if length is None else begin + length,
        **fields,
    )
    TaskInstance.objects.filter(pk=made.pk).update(created_at=begin)
    return made


def found(chosen=ALL, **span):
    bars = bars_between(chosen, **(span or SPAN))
    return None if bars is None else {bar.id for bar in bars}


@pytest.mark.parametrize(
    ("begin", "length", "is_seen"),
    [
        (NOW + MINUTE, MINUTE, True),
        (NOW - MINUTE, 2 * MINUTE, True),
        (NOW - MINUTE, MINUTE, True),
        (NOW - 2 * MINUTE, MINUTE, False),
        (NOW - 9 * HOUR, 10 * HOUR, True),
        (NOW - 9 * HOUR, 8 * HOUR, False),
        (NOW - 6 * MINUTE, 7 * MINUTE, True),
        (NOW - 90 * HOUR, None, True),
        (NOW - MINUTE, None, True),
        (NOW + HOUR, MINUTE, False),
        (NOW + HOUR, None, False),
        (NOW + 59 * MINUTE, HOUR, True),
    ],
)
@pytest.mark.parametrize("choice", ["all", "job", "agent", "namespaces", "statuses"])
def test_what_overlaps_the_span_is_found_however_long_before_it_began(begin, length, is_seen, choice):
    agent = factories.agent()
    made = attempt(begin, length, agent=agent)
    chosen = {
        "all": ALL,
        "job": Chosen(job_ids=[made.job_id]),
        "agent": Chosen(agent_ids=[agent.pk]),
        "namespaces": Chosen(namespaces=[made.task.namespace, "other"]),
        "statuses": Chosen(statuses=[made.status, "lost"]),
    }[choice]
    assert found(chosen) == ({made.pk} if is_seen else set())


def test_a_bar_tells_of_its_attempt():
    agent = factories.agent()
    made = attempt(NOW, MINUTE, agent=agent, status="failed")
    [bar] = bars_between(ALL, **SPAN)
    assert bar == (
        *(made.pk, made.task_id, 1, made.job_id, agent.pk, "default", "failed"),
        *(NOW, NOW + MINUTE),
    )


def test_an_attempt_that_has_not_started_stands_from_its_creation():
    made = attempt(NOW + MINUTE, status="pending")
    TaskInstance.objects.filter(pk=made.pk).update(started_at=None)
    [bar] = bars_between(ALL, **SPAN)
    assert (bar.begin, bar.end) == (NOW + MINUTE, None)


@pytest.mark.parametrize("length", [timedelta(seconds=1), 10 * HOUR, None])
def test_so_many_are_bars_and_one_more_is_too_many(length, monkeypatch):
    monkeypatch.setattr(timeline, "MAX_BARS", 3)
    made = [attempt(NOW + number * MINUTE, length) for number in range(4)]
    bars = bars_between(ALL, begin=NOW, end=NOW + 3 * MINUTE)
    assert [bar.id for bar in bars] == [each.pk for each in reversed(made[:3])]
    assert bars_between(ALL, **SPAN) is None


def test_few_among_many_are_found_along_the_index_of_what_is_rare(monkeypatch):
    monkeypatch.setattr(timeline, "LOOKED_AT", 3)
    job, agent = factories.job(), factories.agent()
    lost = [attempt(NOW, MINUTE, task=factories.task(job=job), agent=agent, status="lost")]
    for number in range(1, 4):
        attempt(NOW + number * MINUTE, MINUTE, task=factories.task(job=job), agent=agent)
    for choice in ({"job_ids": [job.pk]}, {"agent_ids": [agent.pk]}, {"namespaces": ["default"]}):
        assert found(Chosen(**choice, statuses=["lost"])) == {lost[0].pk}
    assert found(Chosen(job_ids=[job.pk], agent_ids=[agent.pk])) is None


def test_how_much_is_looked_at_does_not_grow_with_what_is_chosen(monkeypatch):
    monkeypatch.setattr(timeline, "LOOKED_AT", 3)
    jobs = [factories.job() for _ in range(4)]
    for job in jobs:
        attempt(NOW, MINUTE, task=factories.task(job=job))
    ids = [job.pk for job in jobs]
    assert len(found(Chosen(job_ids=ids[:3]))) == 3
    assert found(Chosen(job_ids=ids)) is None
    assert len(found(Chosen(job_ids=ids), begin=NOW + HOUR, end=NOW + 2 * HOUR)) == 0


def test_more_than_are_walked_one_by_one_are_looked_for_among_all(monkeypatch):
    monkeypatch.setattr(timeline, "_MAX_WALKED", 1)
    jobs = [factories.job() for _ in range(3)]
    made = [attempt(NOW, MINUTE, task=factories.task(job=job)) for job in jobs]
    chosen = Chosen(job_ids=[job.pk for job in jobs[:2]])
    assert found(chosen) == {made[0].pk, made[1].pk}
    assert {count.key for count in counts_between(chosen, by="job", **SPAN)} == set(chosen.job_ids)


def test_what_is_chosen_is_all_that_is_found():
    agents = [factories.agent(), factories.agent()]
    jobs = [factories.job(namespace="ours"), factories.job(namespace="theirs")]
    made = {
        (number, other): attempt(
            NOW, MINUTE, task=factories.task(job=jobs[number]), agent=agents[other], status=status
        )
        for (number, other), status in zip(
            itertools.product(range(2), range(2)), ("failed", "completed", "lost", "failed"), strict=True
        )
    }

    def chosen(**choice):
        wanted = found(Chosen(**choice))
        return {key for key, each in made.items() if each.pk in wanted}

    assert chosen(namespaces=["ours"]) == {(0, 0), (0, 1)}
    assert chosen(namespaces=["ours", "theirs"]) == set(made)
    assert chosen(namespaces=[]) == set()
    assert chosen(agent_ids=[agents[1].pk]) == {(0, 1), (1, 1)}
    assert chosen(agent_ids=[agents[1].pk], namespaces=["ours"]) == {(0, 1)}
    assert chosen(job_ids=[job.pk for job in jobs], statuses=["failed"]) == {(0, 0), (1, 1)}
    assert chosen(statuses=["failed", "lost"], namespaces=["theirs"]) == {(1, 0), (1, 1)}
    assert chosen(job_ids=[]) == set()


def test_the_clock_of_a_server_may_be_wrong_by_minutes():
    job = factories.job()
    made = attempt(NOW + MINUTE, MINUTE, task=factories.task(job=job))
    other = id_at(NOW - 30 * MINUTE)
    TaskInstance.objects.filter(pk=made.pk).update(id=other)
    assert found(Chosen(job_ids=[job.pk])) == {other}


# --- counted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chosen", [ALL, Chosen(namespaces=["default"]), Chosen(statuses=["failed", "completed"])]
)
def test_counts_tell_how_many_began_in_each_slot_and_how_many_failed(chosen):
    slot = HOUR / timeline.SLOTS
    first, second = factories.agent(), factories.agent()
    for number in range(3):
        attempt(NOW + number * timedelta(seconds=1), MINUTE, agent=first)
    attempt(NOW, MINUTE, agent=first, status="failed")
    attempt(NOW + 2.5 * slot, MINUTE, agent=second)
    attempt(NOW + HOUR, MINUTE, agent=second)
    attempt(NOW - MINUTE, HOUR, agent=second)
    counts = counts_between(chosen, by="agent", **SPAN)
    assert sorted(counts, key=lambda count: count.slot) == [
        (first.pk, 0, 4, 1, False),
        (second.pk, 2, 1, 0, False),
    ]


def test_of_a_full_slot_it_is_said_that_there_may_be_more(monkeypatch):
    monkeypatch.setattr(timeline, "COUNTED_IN_SLOT", 3)
    task = factories.task()
    for _ in range(2):
        attempt(NOW + 30 * MINUTE, MINUTE)
    for number in range(5):
        attempt(NOW + timedelta(seconds=number), MINUTE, task=factories.task(job=task.job))
    counts = {count.slot: count for count in counts_between(ALL, by="job", **SPAN)}
    assert counts[0] == (task.job_id, 0, 3, 0, True)
    assert not counts[90].is_more


def test_of_a_full_slot_each_that_is_chosen_has_its_part(monkeypatch):
    monkeypatch.setattr(timeline, "COUNTED_IN_SLOT", 4)
    jobs = [factories.job() for _ in range(3)]
    for job in jobs[:2]:
        for _ in range(5):
            attempt(NOW, MINUTE, task=factories.task(job=job))
    # The third has nothing in this time, and takes no part.
    counts = counts_between(Chosen(job_ids=[job.pk for job in jobs]), by="job", **SPAN)
    assert {count.key: (count.number, count.is_more) for count in counts} == {
        jobs[0].pk: (2, True),
        jobs[1].pk: (2, True),
    }


def test_of_what_is_chosen_in_two_ways_the_newest_are_looked_at(monkeypatch):
    monkeypatch.setattr(timeline, "COUNTED_IN_SLOT", 4)
    job, agent = factories.job(), factories.agent()
    for number in range(6):
        attempt(
            NOW + timedelta(seconds=number),
            MINUTE,
            task=factories.task(job=job),
            agent=agent if number % 2 else None,
        )
    [count] = counts_between(Chosen(job_ids=[job.pk], agent_ids=[agent.pk]), by="job", **SPAN)
    assert (count.number, count.is_more) == (2, True)


def test_of_many_rows_those_with_the_most_are_counted(monkeypatch):
    monkeypatch.setattr(timeline, "MAX_ROWS", 1)
    few, many = factories.job(), factories.job()
    attempt(NOW, MINUTE, task=factories.task(job=few))
    for number in range(2):
        attempt(NOW + number * 20 * MINUTE, MINUTE, task=factories.task(job=many))
    assert {count.key for count in counts_between(ALL, by="job", **SPAN)} == {many.pk}


def test_attempts_without_an_agent_are_counted_as_well():
    attempt(NOW, MINUTE)
    [count] = counts_between(ALL, by="agent", **SPAN)
    assert (count.key, count.number) == (None, 1)


# --- along an index ------------------------------------------------------------------------------------


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def have_run(number):
    """Let so many attempts have ended within a day, one of fifty of them in failure."""
    task = factories.task()
    begins = [NOW + n * timedelta(days=1) / number for n in range(number)]
    made = [
        TaskInstance(
            id=id_at(begin),
            task=task,
            job=task.job,
            attempt=n,
            token=next(_tokens),
            namespace=task.namespace,
            status="completed" if n % 50 else "failed",
            completed_at=begin + MINUTE,
        )
        for n, begin in enumerate(begins, 1)
    ]
    TaskInstance.objects.bulk_create(made)
    with connection.cursor() as cursor:
        times = {"ids": [each.id for each in made], "begins": begins}
        cursor.execute(
            "UPDATE scheduling_taskinstance SET created_at = begin"
            " FROM unnest(%(ids)s::uuid[], %(begins)s::timestamptz[]) AS t(of_id, begin) WHERE id = of_id",
            times,
        )


@pytest.mark.parametrize(
    ("chosen", "indexes"),
    [
        (ALL, {"taskinstance_by_created_at"}),
        (Chosen(job_ids=[1]), {"taskinstance_by_job"}),
        (Chosen(agent_ids=[id_at(NOW)]), {"taskinstance_by_agent"}),
        (Chosen(agent_ids=[id_at(NOW), id_at(NOW)]), {"taskinstance_by_agent"}),
        (Chosen(namespaces=["a", "b"]), {"taskinstance_by_namespace"}),
        (Chosen(statuses=["failed"]), {"taskinstance_by_status"}),
    ],
)
def test_no_statement_reads_or_sorts_the_whole_table(chosen, indexes):
    statements = []

    def note(execute, sql, params, many, context):
        statements.append((sql, params))
        return execute(sql, params, many, context)

    have_run(500)
    with connection.execute_wrapper(note):
        bars_between(chosen, **SPAN)
        counts_between(chosen, by="agent", **SPAN)
    with transaction.atomic(), connection.cursor() as cursor:
        # What was counted when other tests had other rows leads to another plan.
        cursor.execute("ANALYZE scheduling_taskinstance")
        for setting in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
            cursor.execute(f"SET LOCAL {setting} = off")
        for sql, params in statements:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            found = list(nodes(cursor.fetchone()[0][0]["Plan"]))
            used = {node["Index Name"] for node in found if "Index Name" in node}
            assert not [
                node for node in found if node.get("Relation Name") and node["Node Type"] == "Seq Scan"
            ]
            assert indexes <= used, sql
            assert "UNION" not in sql or "taskinstance_long" in used
