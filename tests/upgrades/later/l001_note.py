from django.db import migrations, models

from tests.upgrades.later import NEWEST


class Migration(migrations.Migration):
    dependencies = [("scheduling", NEWEST)]
    operations = [
        migrations.AddField("task", "note", models.CharField(max_length=64, default="", db_default="of old"))
    ]
