from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0018_timeline_index")]
    operations = [
        migrations.AddField(
            model_name="job",
            name="parameter_defaults",
            field=models.JSONField(db_default={}, default=dict, editable=False),
        ),
        migrations.AddField(
            model_name="job",
            name="parameters_schema",
            field=models.JSONField(blank=True, null=True, verbose_name="schema of the parameters"),
        ),
    ]
