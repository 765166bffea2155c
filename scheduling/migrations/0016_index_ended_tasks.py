# Made while everything goes on.
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# A large table takes longer than a statement may otherwise.
_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("scheduling", "0015_retention_rules")]
    operations = [
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS task_ended", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "task",
            models.Index(
                condition=models.Q(("status__in", ("completed", "failed", "cancelled"))),
                fields=["job", "completed_at", "id"],
                name="task_ended",
            ),
        ),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
