# Made while everything goes on.
from datetime import timedelta

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.lookups import GreaterThan

# A large table takes longer than a statement may otherwise.
_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"
_TOOK_LONG = models.Q(
    GreaterThan(models.F("completed_at") - models.F("created_at"), timedelta(minutes=5)),
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("scheduling", "0017_bulk_actions")]
    operations = [
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS taskinstance_long", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "taskinstance",
            models.Index(
                condition=_TOOK_LONG, fields=["completed_at", "created_at"], name="taskinstance_long"
            ),
        ),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
