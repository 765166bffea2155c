"""Whether the database really has what the models rely on: a rule that is not there keeps nothing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import CheckConstraint, Model, UniqueConstraint

from hetuflow.doctor.report import Line, error, ok, warning

APPS: Final = ("access", "rest", "agents", "scheduling", "gateway")
# What models cannot say: the migration that makes each.
TRIGGERS: Final = {
    "task_terminal_is_final": ("scheduling_task", "scheduling/migrations/0002_fences.py"),
    "taskinstance_terminal_is_final": ("scheduling_taskinstance", "scheduling/migrations/0002_fences.py"),
    "taskinstance_namespace_of_task": (
        "scheduling_taskinstance",
        "scheduling/migrations/0008_namespace_of_attempts.py",
    ),
    "auditentry_final": ("access_auditentry", "access/migrations/0002_audit_is_final.py"),
}
SEQUENCE: Final = "scheduling_fencing_token"

_CONSTRAINTS: Final = """
SELECT c.conname, c.contype::text, c.convalidated, r.relname,
       (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey))
FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
WHERE pg_table_is_visible(r.oid)
"""
_INDEXES: Final = """
SELECT i.relname, x.indisvalid AND x.indisready, x.indisunique, r.relname,
       (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = x.indrelid AND a.attnum = ANY(x.indkey))
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class r ON r.oid = x.indrelid
WHERE pg_table_is_visible(r.oid)
"""
_TRIGGERS: Final = """
SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal AND pg_table_is_visible(tgrelid)
"""


@dataclass(slots=True)
class _Found:
    """What the catalogue of the database says."""

    tables: set[str] = field(default_factory=set)
    checks: set[str] = field(default_factory=set)
    checked_columns: set[tuple[str, str]] = field(default_factory=set)
    foreign_keys: set[tuple[str, str]] = field(default_factory=set)
    not_validated: list[tuple[str, str]] = field(default_factory=list)
    unique_indexes: set[str] = field(default_factory=set)
    unique_columns: set[tuple[str, str]] = field(default_factory=set)
    indexes: set[str] = field(default_factory=set)
    invalid_indexes: list[str] = field(default_factory=list)


def look_at_migrations(now: datetime) -> Iterator[Line]:
    """Look whether the tables are those of this version."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    newer = sorted(
        f"{app}.{name}"
        for app, name in executor.loader.applied_migrations
        if app in APPS and (app, name) not in executor.loader.disk_migrations
    )
    if plan:
        names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
        yield error("migrations", f"not applied: {', '.join(names)}", "run manage.py migrate", names)
    elif newer:
        seen = f"applied by a newer version: {', '.join(newer)}"
        yield warning("migrations", seen, "install that version here as well", newer)
    else:
        yield ok("migrations", f"all {len(executor.loader.applied_migrations)} are applied")


def look_at_constraints(now: datetime) -> Iterator[Line]:
    """Look for rules that are missing or were never checked against the rows that were there."""
    found = _catalogue()
    expected = 0
    missing: dict[str, str] = {}
    # What lacks whole tables is said of the migrations.
    for model in (model for model in _models() if model._meta.db_table in found.tables):
        for name, is_there, statement in _constraints_of(model, found):
            expected += 1
            if not is_there:
                missing[name] = statement()
    for name, statement_text in missing.items():
        seen = f"{name} is missing: the database does not keep this rule"
        yield error("constraints", seen, f"run in psql: {statement_text};", [name])
    for name, table in found.not_validated:
        seen = f"{name} was never checked against the rows of {table}"
        yield error(
            "constraints", seen, f"run in psql: ALTER TABLE {table} VALIDATE CONSTRAINT {name};", [name]
        )
    if not missing and not found.not_validated:
        yield ok("constraints", f"all {expected} are there and valid")


def look_at_indexes(now: datetime) -> Iterator[Line]:
    """Look for indexes that are missing, or invalid because making them was broken off."""
    found = _catalogue()
    models = [model for model in _models() if model._meta.db_table in found.tables]
    expected = [(model, index) for model in models for index in model._meta.indexes]
    missing = [(model, index) for model, index in expected if index.name not in found.indexes]
    for model, index in missing:
        statement = _sql(partial(index.create_sql, model))
        statement = statement.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
        seen = f"{index.name} is missing: some pages or claims are slow"
        yield error("indexes", seen, f"run in psql: {statement};", [index.name])
    for name in found.invalid_indexes:
        seen = f"{name} is invalid: making it was broken off, and nothing uses it"
        yield error("indexes", seen, f"run in psql: REINDEX INDEX CONCURRENTLY {name};", [name])
    if not missing and not found.invalid_indexes:
        yield ok("indexes", f"all {len(expected)} are there and valid")


def look_at_triggers(now: datetime) -> Iterator[Line]:
    """Look for triggers that are missing or switched off, and for the sequence of tokens."""
    with connection.cursor() as cursor:
        cursor.execute(_TRIGGERS)
        found = dict(cursor.fetchall())
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [SEQUENCE])
        (has_sequence,) = cursor.fetchone()
    wrong = False
    for name, (table, migration) in TRIGGERS.items():
        if name not in found:
            wrong = True
            remedy = f"run in psql the statements that {migration} has for it"
            yield error("triggers", f"{name} is missing on {table}", remedy, [name])
        elif found[name] not in "OA":
            wrong = True
            remedy = f"run in psql: ALTER TABLE {table} ENABLE TRIGGER {name};"
            yield error("triggers", f"{name} is switched off on {table}", remedy, [name])
    if not has_sequence:
        wrong = True
        remedy = "run in psql the statements that scheduling/migrations/0002_fences.py has for it"
        yield error("triggers", f"the sequence {SEQUENCE} is missing", remedy)
    if not wrong:
        yield ok("triggers", f"all {len(TRIGGERS)} are there and on")


def _models() -> list[type[Model]]:
    return [model for model in apps.get_models() if model._meta.app_label in APPS]


def _constraints_of(model: type[Model], found: _Found) -> Iterator[tuple[str, bool, Callable[[], str]]]:
    """Yield each rule of a model: its name, whether the database has it, and what would make it."""
    table = model._meta.db_table
    for constraint in model._meta.constraints:
        make = partial(_sql, partial(constraint.create_sql, model))
        if isinstance(constraint, CheckConstraint):
            yield constraint.name, constraint.name in found.checks, make
        elif isinstance(constraint, UniqueConstraint):
            yield constraint.name, constraint.name in found.unique_indexes, make
    for column in model._meta.local_concrete_fields:
        name = column.column
        if column.unique:
            statement = f'ALTER TABLE "{table}" ADD UNIQUE ("{name}")'
            yield f"{table}.{name} unique", (table, name) in found.unique_columns, _constant(statement)
        if rule := column.db_parameters(connection)["check"]:
            statement = f'ALTER TABLE "{table}" ADD CHECK ({rule})'
            yield f"{table}.{name} check", (table, name) in found.checked_columns, _constant(statement)
        remote: Any = column.remote_field
        if remote is not None and getattr(column, "db_constraint", False):
            target = remote.model._meta
            statement = (
                f'ALTER TABLE "{table}" ADD FOREIGN KEY ("{name}") REFERENCES "{target.db_table}" '
                f'("{target.pk.column}") DEFERRABLE INITIALLY DEFERRED'
            )
            yield f"{table}.{name} foreign key", (table, name) in found.foreign_keys, _constant(statement)


def _catalogue() -> _Found:
    found = _Found()
    tables = {model._meta.db_table for model in _models()}
    found.tables = tables & set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        cursor.execute(_CONSTRAINTS)
        constraints = [row for row in cursor.fetchall() if row[3] in tables]
        cursor.execute(_INDEXES)
        indexes = [row for row in cursor.fetchall() if row[3] in tables]
    found.checks = {name for name, kind, *_ in constraints if kind == "c"}
    found.checked_columns = {
        (table, columns[0])
        for _, kind, _, table, columns in constraints
        if kind == "c" and len(columns or ()) == 1
    }
    found.foreign_keys = {(table, columns[0]) for _, kind, _, table, columns in constraints if kind == "f"}
    found.not_validated = [(name, table) for name, _, is_valid, table, _ in constraints if not is_valid]
    found.indexes = {row[0] for row in indexes}
    found.invalid_indexes = [name for name, is_valid, *_ in indexes if not is_valid]
    unique = [row for row in indexes if row[1] and row[2]]
    found.unique_indexes = {row[0] for row in unique}
    found.unique_columns = {
        (table, columns[0]) for *_, table, columns in unique if columns and len(columns) == 1
    }
    return found


def _sql(make: Callable[[Any], Any]) -> str:
    """Return a statement as Django would run it; nothing is run."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        return " ".join(str(make(editor)).rstrip(";").split())


def _constant(statement: str) -> Callable[[], str]:
    return lambda: statement


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    ("migrations", look_at_migrations),
    ("constraints", look_at_constraints),
    ("indexes", look_at_indexes),
    ("triggers", look_at_triggers),
]
