"""Migrations since the base line let the release before go on; the rules refuse those that do not."""

from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    CreateExtension,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models.functions import Now, Random
from packaging.version import Version

from hetuflow import __version__
from tests.upgrades.rules import judge

ROOT = Path(__file__).resolve().parents[2]
# What came before the rules. It never moves: what is right for one release is right for all later ones.
BASE_LINE = {
    "access": "0004_list_indexes",
    "agents": "0004_enrollment",
    "gateway": "0003_clocks",
    "rest": "0001_initial",
    "scheduling": "0016_index_ended_tasks",
}
# What drops or renames something, and the first release whose code did without: one that is out already.
# Such as "scheduling.0042_drop_note: Remove field note from task": "0.3.0".
CONTRACTED: dict[str, str] = {}


def later_migrations(base_line=BASE_LINE):
    """Return the migrations after a base line in their order, each with the tables before it."""
    loader = MigrationLoader(None)
    before = {node for base in base_line.items() for node in loader.graph.forwards_plan(base)}
    ours = {config.label for config in apps.get_app_configs() if Path(config.path).parent == ROOT}
    order = [node for leaf in sorted(loader.graph.leaf_nodes()) for node in loader.graph.forwards_plan(leaf)]
    later = [node for node in dict.fromkeys(order) if node[0] in ours and node not in before]
    return [(loader.disk_migrations[node], loader.project_state(node, at_end=False)) for node in later]


LATER = later_migrations()


def test_no_migration_holds_up_or_breaks_the_release_before():
    found = [finding for migration, state in LATER for finding in judge(migration, state)]
    wrong = [str(finding) for finding in found if not (finding.contracts and finding.place in CONTRACTED)]
    assert wrong == [], "\n".join(wrong)


def test_what_is_contracted_was_out_of_use_in_a_release_before_and_nothing_else_is_listed():
    found = {finding.place for migration, state in LATER for finding in judge(migration, state)}
    assert [place for place in CONTRACTED if place not in found] == []
    assert [place for place, since in CONTRACTED.items() if Version(since) >= Version(__version__)] == []


def test_a_constraint_that_is_not_valid_yet_is_validated_by_a_later_migration():
    operations = [operation for migration, _ in LATER for operation in migration.operations]
    added = {o.constraint.name for o in operations if isinstance(o, AddConstraintNotValid)}
    assert added - {o.name for o in operations if isinstance(o, ValidateConstraint)} == set()


def test_migrations_after_a_base_line_are_found_and_read_against_the_tables_before_them():
    later = later_migrations(BASE_LINE | {"scheduling": "0011_tasks_of_backfills"})
    since = {migration.name: judge(migration, state) for migration, state in later}
    assert {"0012_missed_runs", "0016_index_ended_tasks"} <= since.keys()
    assert not {"0011_tasks_of_backfills", "0001_initial"} & since.keys()
    assert [finding.place for finding in since["0012_missed_runs"]] == [
        "scheduling.0012_missed_runs: Create index schedule_with_missed on field(s) job of model schedule"
    ]
    assert since["0016_index_ended_tasks"] == []


def test_the_made_up_release_that_installations_become_in_other_tests_keeps_the_rules(settings):
    settings.MIGRATION_MODULES = {"scheduling": "tests.upgrades.later"}
    later = [each for each in later_migrations() if each[0].name.startswith("l0")]
    assert len(later) == 4
    assert [str(finding) for migration, state in later for finding in judge(migration, state)] == []


# --- the rules themselves -------------------------------------------------------------------------------


def table(name, *fields, constraints=()):
    fields = [("id", models.BigAutoField(primary_key=True)), *fields]
    return migrations.CreateModel(name, fields, options={"constraints": constraints})


POSITIVE = models.CheckConstraint(condition=models.Q(count__gt=0), name="parcel_count_positive")
SMALL = models.CheckConstraint(condition=models.Q(count__lt=9), name="parcel_count_small")
ONE_CODE = models.UniqueConstraint(fields=["code"], name="parcel_one_code")
BY_COUNT = models.Index(fields=["count"], name="parcel_by_count")
PATIENT = migrations.RunSQL("SET statement_timeout = 0; SET lock_timeout = 0")
AS_BEFORE = migrations.RunSQL("RESET statement_timeout; RESET lock_timeout")
ABSENT = migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS parcel_by_count")


def findings(*operations, atomic=True):
    """Return what is said of a migration with these operations on a table that is at work."""
    state = ProjectState()
    table("depot").state_forwards("post", state)
    parcel = table(
        "parcel",
        ("code", models.CharField(max_length=8)),
        ("count", models.IntegerField(db_default=1)),
        constraints=[POSITIVE, ONE_CODE],
    )
    parcel.state_forwards("post", state)
    migration = migrations.Migration("0002_more", "post")
    migration.operations, migration.atomic = operations, atomic
    return judge(migration, state)


def fill_all(apps, schema_editor):
    apps.get_model("post", "parcel").objects.update(count=2)


def fill(apps, schema_editor):
    while apps.get_model("post", "parcel").objects.filter(count=1)[:1000].update(count=2):
        pass


def add(field, name="weight"):
    return migrations.AddField("parcel", name, field)


def alter(name, field):
    return migrations.AlterField("parcel", name, field)


IN_TRANSACTIONS = {
    "a table with an index and a constraint": [
        table(
            "label",
            ("name", models.CharField(max_length=9)),
            ("parcel", models.ForeignKey("post.parcel", models.CASCADE)),
        ),
        migrations.AddIndex("label", models.Index(fields=["name"], name="label_by_name")),
        migrations.AddField("label", "size", models.IntegerField(default=0)),
        migrations.AddConstraint("label", models.UniqueConstraint(fields=["name"], name="label_one_name")),
        migrations.RunSQL("CREATE UNIQUE INDEX label_lower ON post_label (lower(name))"),
    ],
    "a column that may be null": [add(models.IntegerField(null=True))],
    "a column that the database fills": [
        add(models.IntegerField(db_default=0)),
        add(models.DateTimeField(db_default=Now()), "since"),
    ],
    "a reference without an index": [
        add(models.ForeignKey("post.depot", models.CASCADE, null=True, db_index=False))
    ],
    "a wider column that may be null": [alter("code", models.CharField(max_length=9, null=True))],
    "another word for it": [alter("code", models.TextField(verbose_name="code", choices=[("a", "b")]))],
    "a constraint for new rows": [AddConstraintNotValid("parcel", SMALL)],
    "a constraint for old rows": [PATIENT, ValidateConstraint("parcel", "parcel_count_small"), AS_BEFORE],
    "one constraint fewer": [migrations.RemoveConstraint("parcel", "parcel_count_positive")],
    "a trigger": [
        migrations.RunSQL(
            "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN UPDATE post_parcel SET x = 1; END $$; -- DROP\n"
            "CREATE TRIGGER t BEFORE INSERT ON post_parcel FOR EACH ROW EXECUTE FUNCTION f()"
        )
    ],
    "a column that the code gives up": [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("parcel", "count")])
    ],
}
IN_PARTS = {
    "an index beside the work": [PATIENT, ABSENT, AddIndexConcurrently("parcel", BY_COUNT), AS_BEFORE],
    "an index fewer beside the work": [
        PATIENT,
        RemoveIndexConcurrently("parcel", "parcel_by_code"),
        AS_BEFORE,
    ],
    "an index by hand": [
        PATIENT,
        ABSENT,
        migrations.RunSQL("CREATE UNIQUE INDEX CONCURRENTLY parcel_by_count ON post_parcel (count)"),
    ],
    "rows in batches": [migrations.RunPython(fill, migrations.RunPython.noop)],
}
REFUSED = [
    ([migrations.AddIndex("parcel", BY_COUNT)], "AddIndexConcurrently with atomic = False"),
    ([migrations.RemoveIndex("parcel", "parcel_by_count")], "RemoveIndexConcurrently"),
    ([PATIENT, ABSENT, AddIndexConcurrently("parcel", BY_COUNT)], "atomic = False in the migration"),
    ([add(models.IntegerField())], "null=True, or a db_default"),
    ([add(models.IntegerField(default=3))], "null=True, or a db_default"),
    ([add(models.IntegerField(null=True, unique=True))], "db_index=False"),
    ([add(models.ForeignKey("post.depot", models.CASCADE, null=True))], "db_index=False"),
    ([add(models.FloatField(db_default=Random()))], "rewrites the table"),
    (
        [add(models.GeneratedField(expression=Now(), output_field=models.DateTimeField(), db_persist=True))],
        "a plain column that a trigger fills",
    ),
    ([alter("code", models.CharField(max_length=7))], "another max_length"),
    ([alter("count", models.BigIntegerField(db_default=1))], "another type"),
    ([alter("count", models.IntegerField())], "another db_default"),
    ([alter("code", models.CharField(max_length=8, db_index=True))], "another db_index"),
    ([alter("code", models.CharField(max_length=8, db_column="kode"))], "another db_column"),
    ([migrations.AddConstraint("parcel", SMALL)], "AddConstraintNotValid, and ValidateConstraint"),
    (
        [migrations.AddConstraint("parcel", models.UniqueConstraint(fields=["count"], name="parcel_x"))],
        "CREATE UNIQUE INDEX CONCURRENTLY",
    ),
    (
        [AddConstraintNotValid("parcel", SMALL), PATIENT, ValidateConstraint("parcel", SMALL.name)],
        "a migration of its own after that one",
    ),
    ([ValidateConstraint("parcel", "parcel_count_small")], "SET statement_timeout = 0"),
    ([migrations.RunPython(fill)], "a loop of batches"),
    ([CreateExtension("citext")], "add a rule"),
    ([migrations.RunSQL("CREATE INDEX x ON post_parcel (code)")], "CONCURRENTLY"),
    ([migrations.RunSQL([("UPDATE post_parcel SET count = %s", [2])])], "a loop of batches"),
    ([migrations.RunSQL("ALTER TABLE post_parcel ADD CONSTRAINT x CHECK (count > 0)")], "NOT VALID"),
    ([migrations.RunSQL("ALTER TABLE post_parcel ADD COLUMN x int NOT NULL")], "a DEFAULT"),
    ([migrations.RunSQL("ALTER TABLE post_parcel ADD x int UNIQUE")], "built CONCURRENTLY"),
    ([migrations.RunSQL("ALTER TABLE post_parcel ALTER code SET NOT NULL")], "IS NOT NULL"),
    ([migrations.RunSQL("ALTER TABLE post_parcel ALTER code TYPE text")], "that both releases fill"),
    ([migrations.RunSQL("LOCK TABLE post_parcel")], "nothing of that"),
]
REFUSED_IN_PARTS = [
    (
        [PATIENT, AddIndexConcurrently("parcel", BY_COUNT)],
        "DROP INDEX CONCURRENTLY IF EXISTS parcel_by_count",
    ),
    ([ABSENT, AddIndexConcurrently("parcel", BY_COUNT)], "SET statement_timeout = 0"),
    ([PATIENT, AS_BEFORE, ABSENT, AddIndexConcurrently("parcel", BY_COUNT)], "SET statement_timeout = 0"),
    (
        [PATIENT, migrations.RunSQL("CREATE INDEX CONCURRENTLY parcel_by_count ON post_parcel (count)")],
        "DROP INDEX CONCURRENTLY IF EXISTS parcel_by_count",
    ),
    ([add(models.IntegerField(null=True))], "a migration of its own"),
    ([migrations.RunSQL("CREATE SEQUENCE s")], "IF NOT EXISTS"),
    ([migrations.RunPython(fill_all)], "a loop of batches"),
]
CONTRACTIONS = [
    migrations.RemoveField("parcel", "count"),
    migrations.RenameField("parcel", "count", "number"),
    migrations.DeleteModel("depot"),
    migrations.RenameModel("depot", "hall"),
    migrations.AlterModelTable("depot", "halls"),
    migrations.RemoveConstraint("parcel", "parcel_one_code"),
    migrations.SeparateDatabaseAndState(database_operations=[migrations.RemoveField("parcel", "count")]),
    migrations.RunSQL("ALTER TABLE post_parcel DROP COLUMN count"),
    migrations.RunSQL("ALTER TABLE post_parcel ALTER count DROP DEFAULT"),
    migrations.RunSQL("ALTER TABLE post_parcel RENAME count TO number"),
    migrations.RunSQL("DROP TABLE post_depot"),
]


@pytest.mark.parametrize(
    ("operations", "atomic"),
    [
        *(pytest.param(operations, True, id=name) for name, operations in IN_TRANSACTIONS.items()),
        *(pytest.param(operations, False, id=name) for name, operations in IN_PARTS.items()),
    ],
)
def test_what_only_adds_is_taken(operations, atomic):
    assert findings(*operations, atomic=atomic) == []


@pytest.mark.parametrize(
    ("case", "atomic"), [*((case, True) for case in REFUSED), *((case, False) for case in REFUSED_IN_PARTS)]
)
def test_what_holds_up_or_breaks_is_refused_with_what_to_do_instead(case, atomic):
    operations, instead = case
    (finding,) = findings(*operations, atomic=atomic)
    assert instead in str(finding)
    assert str(finding).startswith("post.0002_more: ")
    assert not finding.contracts


@pytest.mark.parametrize("operation", CONTRACTIONS, ids=lambda operation: operation.describe())
def test_what_takes_away_is_refused_until_it_is_listed(operation):
    (finding,) = findings(operation)
    assert finding.contracts
    assert "a later release" in finding.instead


def test_null_that_is_no_longer_allowed_is_refused():
    (finding,) = findings(
        alter("code", models.CharField(max_length=8, null=True)),
        alter("code", models.CharField(max_length=8)),
    )
    assert "another null" in str(finding)
