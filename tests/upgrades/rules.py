"""What a migration may do while the release before it is at work on the same tables.

It reads the operations of a migration and runs none. What holds a lock for as long as a table is large is
refused, and what the release before would not survive: it still reads and writes every column there was.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import migrations, models
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import Now

from tests.upgrades.sql import (
    fails_when_repeated,
    hold_up_in,
    index_built_in,
    indexes_dropped_in,
    is_contraction,
    statements_of,
)

EXAMPLE: Final = "scheduling/migrations/0016_index_ended_tasks.py"
# Harmless besides what Django itself says touches no table.
_PYTHON_ONLY: Final = {*models.Field.non_db_attrs, "default"} - {"db_column"}
_REPEATABLE: Final = (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
    migrations.RunPython,
    migrations.RunSQL,
)


@dataclass(frozen=True)
class Finding:
    """What is wrong at a place; with `contracts` it is right in a later release than the code's change."""

    place: str
    why: str
    instead: str
    contracts: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.why}. Instead: {self.instead}"


@dataclass
class _Reading:
    """A migration as far as it has been read, and the tables as they are before the next operation."""

    migration: Migration
    state: ProjectState
    created: set[str] = field(default_factory=set)
    dropped_indexes: set[str] = field(default_factory=set)
    not_valid: set[str] = field(default_factory=set)
    is_patient: bool = False

    def is_new(self, model: str) -> bool:
        return model.lower() in self.created

    def field_before(self, model: str, name: str) -> "models.Field[Any, Any]":
        return self.state.models[self.migration.app_label, model.lower()].fields[name]

    def find(self, what: Operation | str, why: str, instead: str, *, contracts: bool = False) -> Finding:
        told = what if isinstance(what, str) else what.describe()
        return Finding(f"{self.migration.app_label}.{self.migration.name}: {told}", why, instead, contracts)


Rule = Callable[[Any, _Reading], Iterator[Finding]]


def judge(migration: Migration, state: ProjectState) -> list[Finding]:
    """Return what is wrong with a migration of the tables that `state` tells of."""
    reading = _Reading(migration, state.clone())
    found: list[Finding] = []
    for operation in migration.operations:
        is_separate = isinstance(operation, migrations.SeparateDatabaseAndState)
        for part in operation.database_operations if is_separate else [operation]:
            found += _refusals(part, reading)
        operation.state_forwards(migration.app_label, reading.state)
    return found


def _refusals(operation: Operation, reading: _Reading) -> Iterator[Finding]:
    if not reading.migration.atomic and not isinstance(operation, _REPEATABLE):
        yield reading.find(
            operation,
            "a break after it leaves it done and the migration to be repeated, which fails",
            "a migration of its own, with atomic = True",
        )
    rule = RULES.get(type(operation))
    if rule is None:
        yield reading.find(
            operation,
            f"nobody has said what {type(operation).__name__} does to a busy table",
            "find out, and add a rule to tests/upgrades/rules.py",
        )
    else:
        yield from rule(operation, reading)


# --- tables and columns ---------------------------------------------------------------------------------


def _create_model(operation: migrations.CreateModel, reading: _Reading) -> Iterator[Finding]:
    reading.created.add(operation.name_lower)
    yield from ()


def _contracts(operation: Operation | str, reading: _Reading) -> Iterator[Finding]:
    yield reading.find(
        operation,
        "servers of the release before still use it",
        "let the code stop using it, taking it from the state alone (SeparateDatabaseAndState), and drop it "
        "in a later release with an entry in CONTRACTED of tests/upgrades/test_rules.py",
        contracts=True,
    )


def _add_field(operation: migrations.AddField, reading: _Reading) -> Iterator[Finding]:
    new = operation.field
    if reading.is_new(operation.model_name) or new.many_to_many:
        return
    if isinstance(new, models.GeneratedField):
        yield reading.find(
            operation, "it is computed for every row under a lock", "a plain column that a trigger fills"
        )
        return
    if not new.null and not new.has_db_default():
        yield reading.find(
            operation,
            "inserts of the release before name no value for it and fail",
            "null=True, or a db_default, which the database fills in",
        )
    is_computed = new.has_db_default() and hasattr(new.db_default, "resolve_expression")
    if is_computed and not isinstance(new.db_default, Now | models.Value):
        yield reading.find(
            operation,
            "a default that differs from row to row rewrites the table under a lock",
            "null=True, and fill it in batches (RunPython in a migration with atomic = False)",
        )
    if new.unique or new.db_index:
        yield reading.find(
            operation,
            "its index is built under a lock that stops all writes",
            f"db_index=False, and AddIndexConcurrently as in {EXAMPLE}",
        )


def _alter_field(operation: migrations.AlterField, reading: _Reading) -> Iterator[Finding]:
    if reading.is_new(operation.model_name):
        return
    before = reading.field_before(operation.model_name, operation.name)
    _, old_path, _, old = before.deconstruct()
    _, new_path, _, new = operation.field.deconstruct()
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)} - _PYTHON_ONLY
    if old_path != new_path:
        changed.add("type")
    if operation.field.null:
        changed.discard("null")
    if operation.field.has_db_default():
        changed.discard("db_default")
    are_texts = {old_path, new_path} <= {"django.db.models.CharField", "django.db.models.TextField"}
    if are_texts and new.get("max_length", inf) >= old.get("max_length", inf):
        changed -= {"type", "max_length"}
    if changed:
        yield reading.find(
            operation,
            f"another {', '.join(sorted(changed))} is checked or rewritten row by row under a lock, or is "
            "not what the release before writes",
            "a new column beside it that both releases fill; or, for NOT NULL, a check that is not valid yet",
        )


# --- indexes --------------------------------------------------------------------------------------------


def _index_under_lock(operation: Any, reading: _Reading) -> Iterator[Finding]:
    if not reading.is_new(operation.model_name):
        yield reading.find(
            operation,
            "it stops all writes for as long as it takes",
            f"{type(operation).__name__}Concurrently with atomic = False, as in {EXAMPLE}",
        )


def _add_index_concurrently(operation: AddIndexConcurrently, reading: _Reading) -> Iterator[Finding]:
    yield from _patience(operation, reading)
    yield from _after_a_break(operation, operation.index.name, reading)


def _after_a_break(what: Operation | str, index: str, reading: _Reading) -> Iterator[Finding]:
    if index not in reading.dropped_indexes:
        yield reading.find(
            what,
            "a break leaves an invalid index of this name, and the migration cannot be repeated",
            f"DROP INDEX CONCURRENTLY IF EXISTS {index} before it, as in {EXAMPLE}",
        )


def _patience(operation: Operation | str, reading: _Reading) -> Iterator[Finding]:
    """Refuse what may take long where statements end after the settings' timeout."""
    if reading.migration.atomic and not isinstance(operation, ValidateConstraint):
        yield reading.find(
            operation, "nothing is built concurrently in a transaction", "atomic = False in the migration"
        )
    if not reading.is_patient:
        yield reading.find(
            operation,
            "over a large table it takes longer than a statement may",
            f"SET statement_timeout = 0 before it and RESET after it, as in {EXAMPLE}",
        )


# --- constraints ----------------------------------------------------------------------------------------


def _add_constraint(operation: migrations.AddConstraint, reading: _Reading) -> Iterator[Finding]:
    if reading.is_new(operation.model_name):
        return
    if isinstance(operation.constraint, models.CheckConstraint):
        instead = "AddConstraintNotValid, and ValidateConstraint in the migration after it"
    else:
        instead = (
            "CREATE UNIQUE INDEX CONCURRENTLY by RunSQL with atomic = False, and AddConstraint as a state "
            "operation of SeparateDatabaseAndState"
        )
    yield reading.find(operation, "every row is checked under a lock that stops all work", instead)


def _add_constraint_not_valid(operation: AddConstraintNotValid, reading: _Reading) -> Iterator[Finding]:
    reading.not_valid.add(operation.constraint.name)
    yield from ()


def _validate_constraint(operation: ValidateConstraint, reading: _Reading) -> Iterator[Finding]:
    yield from _patience(operation, reading)
    if operation.name in reading.not_valid:
        yield reading.find(
            operation,
            "rows are checked while the lock of the constraint's addition is held",
            "a migration of its own after that one",
        )


def _remove_constraint(operation: migrations.RemoveConstraint, reading: _Reading) -> Iterator[Finding]:
    model = reading.state.models[reading.migration.app_label, operation.model_name_lower]
    # Without a check everything goes on that went before; upserts of the release before name unique ones.
    if not isinstance(model.get_constraint_by_name(operation.name), models.CheckConstraint):
        yield from _contracts(operation, reading)


# --- what migrations do themselves ----------------------------------------------------------------------


def _run_python(operation: migrations.RunPython, reading: _Reading) -> Iterator[Finding]:
    if operation.code is migrations.RunPython.noop:
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(operation.code)))
    is_batched = any(isinstance(node, ast.While | ast.For) for node in ast.walk(tree))
    if reading.migration.atomic or not is_batched:
        yield reading.find(
            f"RunPython {operation.code.__name__}",
            "rows that it changes are locked until all are done",
            "a loop of batches in a migration with atomic = False, as in "
            "scheduling/migrations/0009_list_indexes.py",
        )


def _run_sql(operation: migrations.RunSQL, reading: _Reading) -> Iterator[Finding]:
    tables = {f"{reading.migration.app_label}_{model}" for model in reading.created}
    for statement in statements_of(operation.sql):
        reading.dropped_indexes |= indexes_dropped_in(statement)
        if set_to := re.match(r"(?:SET|RESET) statement_timeout(?: (?:=|TO) (\d+))?", statement, re.I):
            reading.is_patient = set_to[1] == "0"
        told = f"RunSQL {statement[:60]}"
        if index := index_built_in(statement):
            yield from _patience(told, reading)
            yield from _after_a_break(told, index, reading)
        elif not reading.migration.atomic and fails_when_repeated(statement):
            yield reading.find(
                told, "a break after it lets the repetition fail", "IF EXISTS, IF NOT EXISTS or OR REPLACE"
            )
        if is_contraction(statement, tables):
            yield from _contracts(told, reading)
        elif (hold_up := hold_up_in(statement, tables)) is not None:
            yield reading.find(told, *hold_up)


def _fine(operation: Operation, reading: _Reading) -> Iterator[Finding]:
    yield from ()


RULES: Final[dict[type[Operation], Rule]] = {
    migrations.CreateModel: _create_model,
    migrations.DeleteModel: _contracts,
    migrations.RenameModel: _contracts,
    migrations.AlterModelTable: _contracts,
    migrations.AddField: _add_field,
    migrations.AlterField: _alter_field,
    migrations.RemoveField: _contracts,
    migrations.RenameField: _contracts,
    migrations.RenameIndex: _contracts,
    migrations.AddIndex: _index_under_lock,
    migrations.RemoveIndex: _index_under_lock,
    AddIndexConcurrently: _add_index_concurrently,
    RemoveIndexConcurrently: _patience,
    migrations.AddConstraint: _add_constraint,
    migrations.RemoveConstraint: _remove_constraint,
    AddConstraintNotValid: _add_constraint_not_valid,
    ValidateConstraint: _validate_constraint,
    migrations.RunPython: _run_python,
    migrations.RunSQL: _run_sql,
    migrations.AlterModelOptions: _fine,
    migrations.AlterModelManagers: _fine,
    migrations.AlterModelTableComment: _fine,
}
