from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

_VERBS = {
    "job.run": "run jobs",
    "job.enable": "enable jobs",
    "job.disable": "disable jobs",
    "job.archive": "archive jobs",
    "schedule.enable": "enable schedules",
    "schedule.disable": "disable schedules",
    "schedule.archive": "archive schedules",
    "task.cancel": "cancel tasks",
    "task.retry": "retry tasks",
    "alert.acknowledge": "acknowledge alerts",
    "definition.check": "check an import",
    "definition.import": "import definitions",
}


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0024_refusals_in_languages")]
    operations = [
        migrations.RemoveConstraint(model_name="bulkaction", name="bulkaction_verb_known"),
        migrations.AlterField(
            model_name="bulkaction",
            name="verb",
            field=models.CharField(choices=[*_VERBS.items()], max_length=32, verbose_name="action"),
        ),
        AddConstraintNotValid(
            model_name="bulkaction",
            constraint=models.CheckConstraint(
                condition=models.Q(verb__in=[*_VERBS]), name="bulkaction_verb_known"
            ),
        ),
    ]
