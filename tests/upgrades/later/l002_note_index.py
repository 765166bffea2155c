from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("scheduling", "l001_note")]
    operations = [
        migrations.RunSQL("SET statement_timeout = 0; SET lock_timeout = 0"),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS task_by_note"),
        AddIndexConcurrently("task", models.Index(fields=["note"], name="task_by_note")),
        migrations.RunSQL("RESET statement_timeout; RESET lock_timeout"),
    ]
