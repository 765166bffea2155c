"""Logs of agents do not grow for ever: the newest lines of each are kept, for a time."""

from datetime import timedelta

import pytest
import uuid_utils.compat
from django.db import connection

from gateway import retention
from gateway.models import AgentCommand, AgentLog
from gateway.retention import LogRetention
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def write(agent, number, *, at=NOW, text="line"):
    AgentLog.objects.bulk_create(
        AgentLog(agent=agent, at=at, level="info", message=f"{text} {count}") for count in range(number)
    )


def lines(agent):
    return [line.message for line in agent.log_lines.order_by("id")]


def test_of_each_agent_the_newest_lines_are_kept(settings):
    settings.HETUFLOW_KEEP_LOG_LINES = 3
    loud, quiet = factories.agent(), factories.agent()
    write(loud, 5)
    write(quiet, 3)
    assert LogRetention().run_once(now=NOW) == 2
    assert lines(loud) == ["line 2", "line 3", "line 4"]
    assert len(lines(quiet)) == 3


def test_lines_that_are_too_old_are_forgotten_however_few(settings):
    settings.HETUFLOW_KEEP_DAYS = 10
    agent = factories.agent()
    write(agent, 2, at=NOW - 11 * DAY, text="old")
    write(agent, 1, at=NOW - 9 * DAY)
    assert LogRetention().run_once(now=NOW) == 2
    assert lines(agent) == ["line 0"]


def test_nothing_is_forgotten_where_everything_is_to_be_kept(settings):
    settings.HETUFLOW_KEEP_DAYS = settings.HETUFLOW_KEEP_LOG_LINES = 0
    agent = factories.agent()
    write(agent, 5, at=NOW - 999 * DAY)
    AgentCommand.objects.create(agent=agent, command="drain", timeout_secs=1, created_at=NOW - 999 * DAY)
    assert LogRetention().run_once(now=NOW) == 0
    assert AgentCommand.objects.exists()


def test_a_long_log_is_forgotten_in_batches_and_calls(settings, monkeypatch):
    settings.HETUFLOW_KEEP_LOG_LINES = 1
    monkeypatch.setattr(retention, "ROWS_PER_BATCH", 2)
    agent = factories.agent()
    write(agent, 6)
    monkeypatch.setattr(retention, "BUDGET_SECS", -1.0)
    duty = LogRetention()
    assert [duty.run_once(now=NOW) for _ in range(4)] == [2, 2, 1, 0]
    assert lines(agent) == ["line 5"]


def test_it_goes_round_all_agents_a_few_at_a_time(settings, monkeypatch):
    settings.HETUFLOW_KEEP_LOG_LINES = 1
    monkeypatch.setattr(retention, "AGENTS_PER_STEP", 2)
    agents = [factories.agent() for _ in range(3)]
    for agent in agents:
        write(agent, 2)
    duty = LogRetention()
    assert [duty.run_once(now=NOW) for _ in range(2)] == [2, 1]
    write(agents[0], 1)
    assert duty.run_once(now=NOW) == 1


def test_old_commands_are_forgotten_with_the_lines(settings):
    settings.HETUFLOW_KEEP_DAYS = 10
    agent = factories.agent()
    for days in (11, 9):
        AgentCommand.objects.create(
            id=uuid_utils.compat.uuid7(),
            agent=agent,
            command="drain",
            timeout_secs=1,
            created_at=NOW - days * DAY,
        )
    LogRetention().run_once(now=NOW)
    assert AgentCommand.objects.get().created_at == NOW - 9 * DAY


def test_lines_are_found_along_their_index(settings):
    settings.HETUFLOW_KEEP_LOG_LINES = 1
    agent = factories.agent()
    with connection.cursor() as cursor:
        for setting in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
            cursor.execute(f"SET LOCAL {setting} = off")
        values = {"agent_id": agent.pk, "before": NOW, "kept": 1, "limit": 1}
        cursor.execute(f"EXPLAIN {retention._DELETE_LINES}", values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert plan.count("agentlog_by_agent") == 2
    assert "Seq Scan" not in plan
    assert "Sort" not in plan
