import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0014_rule_since'),
    ]

    operations = [
        migrations.CreateModel(
            name='RetentionRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('namespace', models.CharField(max_length=255, verbose_name='namespace')),
                ('keep_days', models.PositiveIntegerField(blank=True, null=True, verbose_name='keep for days')),
                ('keep_last', models.PositiveIntegerField(blank=True, null=True, verbose_name='keep the last')),
                ('created_by', models.CharField(blank=True, default='', max_length=255, verbose_name='created by')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('updated_by', models.CharField(blank=True, default='', max_length=255, verbose_name='updated by')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='updated')),
                ('job', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='retention_rule', to='scheduling.job', verbose_name='job')),
            ],
            options={
                'verbose_name': 'retention rule',
                'verbose_name_plural': 'retention rules',
                'constraints': [models.UniqueConstraint(condition=models.Q(('job__isnull', True)), fields=('namespace',), name='retentionrule_one_per_namespace'), models.CheckConstraint(condition=models.Q(('namespace', ''), _negated=True), name='retentionrule_namespace_not_empty'), models.CheckConstraint(condition=models.Q(models.Q(('namespace', '*'), _negated=True), ('job__isnull', True), _connector='OR'), name='retentionrule_for_all_names_no_job'), models.CheckConstraint(condition=models.Q(('keep_days__isnull', False), ('keep_last__isnull', False), _connector='OR'), name='retentionrule_says_something')],
            },
        ),
    ]
