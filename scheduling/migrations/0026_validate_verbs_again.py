from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0025_alerts_at_once")]
    operations = [
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        ValidateConstraint(model_name="bulkaction", name="bulkaction_verb_known"),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
