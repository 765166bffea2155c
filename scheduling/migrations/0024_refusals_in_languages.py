# Why something was refused of a bulk action is stored before it is known who reads it, and in which language.
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0023_list_lookups")]
    operations = [
        migrations.AddField(
            model_name="bulktarget",
            name="problem_in",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
    ]
