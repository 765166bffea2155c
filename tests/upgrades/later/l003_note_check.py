from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "l002_note_index")]
    operations = [
        AddConstraintNotValid(
            "task", models.CheckConstraint(condition=~models.Q(note=""), name="task_note_not_empty")
        )
    ]
