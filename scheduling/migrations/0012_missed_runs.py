from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0011_tasks_of_backfills'),
    ]

    operations = [
        migrations.AddField(
            model_name='schedule',
            name='missed_count',
            field=models.PositiveBigIntegerField(db_default=0, default=0, editable=False, verbose_name='runs missed'),
        ),
        migrations.AddIndex(
            model_name='schedule',
            index=models.Index(condition=models.Q(('missed_count__gt', 0)), fields=['job'], name='schedule_with_missed'),
        ),
    ]
