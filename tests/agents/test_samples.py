"""What agents' machines did, minute by minute: noted once whoever notes it, and kept for a day."""

from datetime import timedelta

import pytest
from django.db import connection

from agents import samples
from agents.models import Agent, AgentSample
from agents.samples import usage_of
from tests import factories
from tests.factories import NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def agent(*, heard=timedelta(0), **fields):
    """Make an agent that was heard of so long before NOW."""
    made = factories.agent()
    metrics = fields.pop("metrics", {"cpu_usage": 12.5, "memory_usage": 40})
    Agent.objects.filter(pk=made.pk).update(last_heartbeat_at=NOW - heard, metrics=metrics, **fields)
    return made


def test_what_an_agent_said_last_is_noted_once_a_minute():
    made = agent(running_tasks=3)
    for seconds in (0, 20, 59):
        samples.run_once(now=NOW + seconds * SECOND)
    [sample] = AgentSample.objects.all()
    assert (sample.agent, sample.at, sample.running) == (made, NOW, 3)
    assert (sample.cpu_usage, sample.memory_usage) == (12.5, 40)
    Agent.objects.update(last_heartbeat_at=NOW + MINUTE)
    assert samples.run_once(now=NOW + 61 * SECOND) == 1
    assert AgentSample.objects.count() == 2


@pytest.mark.parametrize(
    "fields",
    [{"heard": 2 * MINUTE}, {"status": "offline"}, {"archived_at": NOW}],
)
def test_of_who_is_not_there_nothing_is_noted(fields):
    agent(**fields)
    assert samples.run_once(now=NOW) == 0


@pytest.mark.parametrize(
    ("metrics", "noted"),
    [
        ({}, (None, None)),
        ({"cpu_usage": None, "memory_usage": "much"}, (None, None)),
        ({"cpu_usage": -5, "memory_usage": 10**400}, (0, 100)),
        ({"cpu_usage": 99.9, "memory_usage": {}}, (99.9, None)),
    ],
)
def test_what_is_no_percentage_is_not_taken_for_one(metrics, noted):
    agent(metrics=metrics)
    samples.run_once(now=NOW)
    assert AgentSample.objects.values_list("cpu_usage", "memory_usage").get() == noted


def test_samples_are_kept_for_a_day_and_forgotten_little_by_little(monkeypatch):
    made = agent()
    for hours in (23, 24, 25, 26):
        at = NOW - hours * timedelta(hours=1)
        AgentSample.objects.create(agent=made, at=at, running=0)
    monkeypatch.setattr(samples, "PRUNED_AT_ONCE", 1)
    samples.run_once(now=NOW)
    assert [(NOW - sample.at).total_seconds() / 3600 for sample in AgentSample.objects.order_by("at")] == [
        *(25, 24, 23),
        0,
    ]
    samples.run_once(now=NOW)
    assert AgentSample.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_schedulers_that_note_the_same_minute_do_not_disturb_each_other():
    made = [agent() for _ in range(20)]
    old = NOW - timedelta(hours=30)
    AgentSample.objects.bulk_create(
        AgentSample(agent=each, at=old + number * MINUTE, running=0) for each in made for number in range(30)
    )
    at_once(*[lambda: samples.run_once(now=NOW)] * 4)
    assert AgentSample.objects.filter(at=NOW).count() == 20
    samples.run_once(now=NOW)
    assert AgentSample.objects.count() == 20


def test_usage_is_read_in_stretches_with_gaps_where_nothing_is_known(django_assert_num_queries):
    first, second = agent(), agent()
    for minute, cpu, running in ((0, 10, 1), (1, 30, 4), (7, 50, 2)):
        AgentSample.objects.create(
            agent=first, at=NOW + minute * MINUTE, running=running, cpu_usage=cpu, memory_usage=None
        )
    AgentSample.objects.create(agent=second, at=NOW + 10 * MINUTE, running=0, cpu_usage=1)
    with django_assert_num_queries(1):
        usage = usage_of([first.pk, second.pk], begin=NOW, end=NOW + 10 * MINUTE, slots=5)
    assert usage == {first.pk: [(20, None, 4), None, None, (50, None, 2), None], second.pk: [None] * 5}


def test_reading_and_forgetting_go_along_the_key():
    agent()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for sql in (samples._READ, samples._PRUNE):
            values = {"begin": NOW, "end": NOW, "before": NOW, "secs": 1, "limit": 1, "agent_ids": []}
            cursor.execute(f"EXPLAIN {sql}", values)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "agents_agentsample_pkey" in plan
            assert "Seq Scan on agents_agentsample" not in plan
