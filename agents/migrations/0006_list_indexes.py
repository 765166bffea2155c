# Made while everything goes on.
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# What texts hold of up to three characters, in small letters: by an index of it their parts are found.
_PARTS = """
CREATE OR REPLACE FUNCTION hetuflow_parts(VARIADIC texts text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT substr(one.lowered, begins, size))
    FROM (SELECT lower(text) AS lowered FROM unnest(texts) AS text) AS one,
         generate_series(1, length(one.lowered)) AS begins, generate_series(1, 3) AS size
    WHERE begins + size - 1 <= length(one.lowered)
$$
"""
_NO_PARTS = "DROP FUNCTION IF EXISTS hetuflow_parts(text[])"
# A large table takes longer than a statement may otherwise.
_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"
_INDEXES = [
    GinIndex(fields=["labels"], name="agent_by_labels"),
    GinIndex(
        models.Func("name", "hostname", "address", function="hetuflow_parts"), name="agent_by_parts"
    ),
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("agents", "0005_samples")]
    operations = [
        migrations.RunSQL(_PARTS, _NO_PARTS),
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        *(
            operation
            for index in _INDEXES
            for operation in (
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
                AddIndexConcurrently("agent", index),
            )
        ),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
