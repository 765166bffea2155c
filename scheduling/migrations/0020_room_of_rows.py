# Output is most of all bytes: the usual fifth of it, dead, is room on the disk that nobody can use.
# Every update of a task changes what is in an index: room that its pages leave for updates is wasted.
from django.db import migrations

_SETTING = "autovacuum_vacuum_scale_factor"


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0019_parameters_schema")]
    operations = [
        migrations.RunSQL(
            f"ALTER TABLE scheduling_outputchunk SET ({_SETTING} = 0.02, toast.{_SETTING} = 0.02)",
            f"ALTER TABLE scheduling_outputchunk RESET ({_SETTING}, toast.{_SETTING})",
        ),
        migrations.RunSQL(
            "ALTER TABLE scheduling_task RESET (fillfactor)",
            "ALTER TABLE scheduling_task SET (fillfactor = 80)",
        ),
    ]
