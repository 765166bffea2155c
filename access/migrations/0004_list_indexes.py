# Made while everything goes on, in parts that are committed: what was interrupted can be started again.
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# A large table takes longer than a statement may otherwise.
_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"
_INDEXES = [
    models.Index(fields=["actor", "-id"], name="auditentry_by_actor"),
    models.Index(fields=["action", "-id"], name="auditentry_by_action"),
    models.Index(fields=["-at", "id"], name="auditentry_by_time"),
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("access", "0003_sliding_window")]
    operations = [
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        *(
            operation
            for index in _INDEXES
            for operation in (
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
                AddIndexConcurrently("auditentry", index),
            )
        ),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
