import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0009_list_indexes'),
    ]

    operations = [
        migrations.CreateModel(
            name='ZoneData',
            fields=[
                ('zone', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('digest', models.CharField(max_length=64)),
                ('noted_at', models.DateTimeField()),
            ],
            options={
                'verbose_name': 'time zone data',
            },
        ),
        migrations.DeleteModel(
            name='Fact',
        ),
        migrations.RemoveIndex(
            model_name='backfill',
            name='backfill_by_namespace',
        ),
        migrations.RemoveField(
            model_name='backfill',
            name='namespace',
        ),
        migrations.AddField(
            model_name='backfill',
            name='left_out',
            field=models.PositiveIntegerField(default=0, verbose_name='instants left out'),
        ),
        migrations.AddField(
            model_name='backfill',
            name='on_failure',
            field=models.CharField(choices=[('continue', 'go on'), ('pause', 'pause')], default='continue', max_length=16, verbose_name='when a run fails'),
        ),
        migrations.AddField(
            model_name='backfill',
            name='only_missing',
            field=models.BooleanField(default=False, verbose_name='leave out what was completed'),
        ),
        migrations.AddField(
            model_name='backfill',
            name='problem',
            field=models.TextField(blank=True, default='', verbose_name='problem'),
        ),
        migrations.AddField(
            model_name='backfill',
            name='resumed_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
        ),
        migrations.AddField(
            model_name='backfill',
            name='rule',
            field=models.JSONField(default=dict, editable=False),
        ),
        migrations.AlterField(
            model_name='backfill',
            name='overlap',
            field=models.CharField(choices=[('allow', 'run beside them'), ('queue', 'wait while one is going on')], default='queue', max_length=16, verbose_name="beside the schedule's own runs"),
        ),
        migrations.AddConstraint(
            model_name='backfill',
            constraint=models.CheckConstraint(condition=models.Q(('on_failure__in', ['continue', 'pause'])), name='backfill_on_failure_known'),
        ),
    ]
