from django.db import migrations, models

# Servers of the version before this one may go on beginning attempts while the others are restarted.
_FORWARD = """
CREATE FUNCTION scheduling_namespace_of_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.namespace := COALESCE((SELECT t.namespace FROM scheduling_task t WHERE t.id = NEW.task_id), '');
    RETURN NEW;
END $$;
CREATE TRIGGER taskinstance_namespace_of_task BEFORE INSERT ON scheduling_taskinstance FOR EACH ROW
    WHEN (NEW.namespace = '') EXECUTE FUNCTION scheduling_namespace_of_attempt();
"""
_BACKWARD = """
DROP TRIGGER taskinstance_namespace_of_task ON scheduling_taskinstance;
DROP FUNCTION scheduling_namespace_of_attempt();
"""


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0007_pausing")]
    operations = [
        migrations.AddField(
            "taskinstance",
            "namespace",
            models.CharField(db_default="", editable=False, max_length=255, verbose_name="namespace"),
        ),
        migrations.RunSQL(_FORWARD, _BACKWARD),
    ]
