# Made while everything goes on, in parts that are committed: what was interrupted can be started again.
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

_FILL = """
WITH part AS (
    SELECT id, task_id FROM scheduling_taskinstance WHERE id > %s ORDER BY id LIMIT 10000
), filled AS (
    UPDATE scheduling_taskinstance i SET namespace = t.namespace
    FROM part JOIN scheduling_task t ON t.id = part.task_id WHERE i.id = part.id AND i.namespace = ''
)
SELECT id FROM part ORDER BY id DESC LIMIT 1
"""
# A large table takes longer than a statement may otherwise.
_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"
_CLAIMABLE = models.Q(("status__in", ("pending", "waiting_retry")))
_INDEXES = [
    ("job", GinIndex(fields=["tags"], name="job_by_tags", opclasses=["jsonb_path_ops"])),
    ("task", models.Index(fields=["namespace", "-id"], name="task_by_namespace")),
    ("task", models.Index(condition=_CLAIMABLE, fields=["scheduled_at"], name="task_upcoming")),
    ("task", models.Index(fields=["-scheduled_at", "id"], name="task_by_scheduled_at")),
    ("task", models.Index(fields=["-created_at", "id"], name="task_by_created_at")),
    ("task", models.Index(fields=["-completed_at", "id"], name="task_by_completed_at")),
    ("taskinstance", models.Index(fields=["namespace", "-id"], name="taskinstance_by_namespace")),
    ("taskinstance", models.Index(fields=["job", "-id"], name="taskinstance_by_job")),
    ("taskinstance", models.Index(fields=["agent", "-task"], name="taskinstance_tasks_of_agent")),
    ("taskinstance", models.Index(fields=["-created_at", "id"], name="taskinstance_by_created_at")),
]


def fill(apps, schema_editor):
    """Copy the namespaces of tasks to their attempts."""
    last = "00000000-0000-0000-0000-000000000000"
    with schema_editor.connection.cursor() as cursor:
        while last is not None:
            cursor.execute(_FILL, [last])
            (last,) = cursor.fetchone() or (None,)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("scheduling", "0008_namespace_of_attempts")]
    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        RemoveIndexConcurrently("task", "task_by_scheduled_at"),
        *(
            operation
            for model, index in _INDEXES
            for operation in (
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
                AddIndexConcurrently(model, index),
            )
        ),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
