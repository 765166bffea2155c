"""What the doctor says of tables that lack a rule, and that what it says to do mends them."""

import re
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from hetuflow.doctor import schema
from hetuflow.doctor.report import Level
from tests import factories
from tests.broken import execute
from tests.hetuflow.doctor_lines import not_fine, the_line
from tests.processes import database_url

MISSING = {
    "task_one_per_instant": "ALTER TABLE scheduling_task DROP CONSTRAINT task_one_per_instant",
    "task_instants_positive": "ALTER TABLE scheduling_task DROP CONSTRAINT task_instants_positive",
    "taskinstance_one_live_per_task": "DROP INDEX taskinstance_one_live_per_task",
    "task_claimable": "DROP INDEX task_claimable",
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_of_the_schema_is_named_with_the_statement_that_restores_it(name):
    execute(MISSING[name])
    line = the_line("schema")
    assert list(line.ids) == [name]
    statement = re.fullmatch(r"run in psql: (.*);", line.remedy)[1]
    # Within a test's transaction an index cannot be made beside it.
    execute(statement.replace("CONCURRENTLY ", ""))
    assert not_fine("schema") == []


@pytest.mark.django_db
def test_a_key_or_a_check_of_a_column_that_is_missing_is_named_with_the_statement_that_restores_it():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'f'"
            " AND conrelid = 'scheduling_taskinstance'::regclass AND pg_get_constraintdef(oid) ~ 'task_id'"
        )
        (name,) = cursor.fetchone()
    execute(f"ALTER TABLE scheduling_taskinstance DROP CONSTRAINT {name}")
    execute("ALTER TABLE scheduling_taskinstance DROP CONSTRAINT scheduling_taskinstance_token_key")
    execute("ALTER TABLE scheduling_task DROP CONSTRAINT scheduling_task_retry_count_check")
    found = not_fine("schema")
    assert {line.ids[0] for line in found} == {
        "scheduling_taskinstance.task_id foreign key",
        "scheduling_taskinstance.token unique",
        "scheduling_task.retry_count check",
    }
    for line in found:
        execute(re.fullmatch(r"run in psql: (.*);", line.remedy)[1])
    assert not_fine("schema") == []


@pytest.mark.django_db
def test_a_rule_that_was_never_checked_is_named():
    execute("ALTER TABLE scheduling_task DROP CONSTRAINT task_instants_positive")
    execute(
        "ALTER TABLE scheduling_task ADD CONSTRAINT task_instants_positive CHECK (instants >= 1) NOT VALID"
    )
    line = the_line("schema")
    assert "task_instants_positive was never checked" in line.seen
    execute(re.fullmatch(r"run in psql: (.*);", line.remedy)[1])
    assert not_fine("schema") == []


@pytest.mark.django_db(transaction=True)
def test_an_index_whose_making_was_broken_off_is_named():
    tasks = [factories.task() for _ in range(2)]
    with psycopg.connect(database_url(), autocommit=True) as other:
        with pytest.raises(psycopg.errors.UniqueViolation):
            other.execute("CREATE UNIQUE INDEX CONCURRENTLY half_made ON scheduling_task (created_by)")
        try:
            line = the_line("schema")
            assert (line.level, list(line.ids)) == (Level.ERROR, ["half_made"])
            assert line.remedy == "run in psql: REINDEX INDEX CONCURRENTLY half_made;"
        finally:
            other.execute("DROP INDEX half_made")
    assert len(tasks) == 2
    assert not_fine("schema") == []


@pytest.mark.django_db
@pytest.mark.parametrize("name", schema.TRIGGERS)
def test_a_trigger_that_is_switched_off_or_gone_is_named(name):
    table, migration = schema.TRIGGERS[name]
    execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
    line = the_line("schema")
    assert line.remedy == f"run in psql: ALTER TABLE {table} ENABLE TRIGGER {name};"
    execute(f"DROP TRIGGER {name} ON {table}")
    assert migration in the_line("schema").remedy
    assert Path(migration).exists()


@pytest.mark.django_db
def test_every_trigger_of_our_tables_is_looked_for():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        assert {name for (name,) in cursor.fetchall()} == schema.TRIGGERS.keys()


@pytest.mark.django_db
def test_tables_of_another_version_are_named():
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('agents', '9999_x', now())"
        )
    assert "newer version: agents.9999_x" in the_line("schema").seen
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE name = '9999_x' OR app = 'gateway' AND name ="
            " (SELECT max(name) FROM django_migrations WHERE app = 'gateway')"
        )
    line = the_line("schema")
    assert (line.level, line.remedy) == (Level.ERROR, "run manage.py migrate")
    execute("DROP TABLE scheduling_retentionrule")
    assert [line.name for line in not_fine("schema")] == ["migrations"]
    execute("ALTER TABLE gateway_server DROP COLUMN clock_ahead_ms")
    assert "run manage.py migrate" in {line.remedy for line in not_fine("clocks")}
