# Made while everything goes on.
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# A large table takes longer than a statement may otherwise.
_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gateway", "0003_clocks")]
    operations = [
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS agentlog_by_attempt", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "agentlog",
            models.Index(
                condition=models.Q(("instance_id__isnull", False)),
                fields=["instance_id", "id"],
                name="agentlog_by_attempt",
            ),
        ),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
