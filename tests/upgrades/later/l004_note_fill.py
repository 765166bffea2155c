from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


def fill(apps, schema_editor):
    """Note of the tasks of the release before that nobody noted anything."""
    tasks = apps.get_model("scheduling", "task").objects
    while tasks.filter(pk__in=tasks.filter(note="of old")[:1000].values("pk")).update(note="nothing"):
        pass


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("scheduling", "l003_note_check")]
    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunSQL("SET statement_timeout = 0; SET lock_timeout = 0"),
        ValidateConstraint("task", "task_note_not_empty"),
        migrations.RunSQL("RESET statement_timeout; RESET lock_timeout"),
    ]
