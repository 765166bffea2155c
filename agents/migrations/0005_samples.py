import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0004_enrollment")]
    operations = [
        migrations.CreateModel(
            name="AgentSample",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "agent_id", "at", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField()),
                ("running", models.PositiveIntegerField()),
                ("cpu_usage", models.FloatField(null=True)),
                ("memory_usage", models.FloatField(null=True)),
                (
                    "agent",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="samples",
                        to="agents.agent",
                    ),
                ),
            ],
            options={"verbose_name": "agent sample"},
        ),
    ]
