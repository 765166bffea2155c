"""What Django's models cannot say: the token sequence, the trigger that keeps terminal statuses (I4)."""

from django.db import migrations

FORWARD = """
CREATE SEQUENCE scheduling_fencing_token AS bigint MINVALUE 1 MAXVALUE 9007199254740991;

CREATE FUNCTION scheduling_keep_terminal_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The one way back is an explicit retry, which counts itself in the same statement.
    IF OLD.status <> 'completed' AND NEW.status = 'pending' AND NEW.manual_retries > OLD.manual_retries THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'task % is %, which is terminal', OLD.id, OLD.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'task_terminal_is_final';
END $$;
CREATE TRIGGER task_terminal_is_final BEFORE UPDATE OF status ON scheduling_task FOR EACH ROW
    WHEN (OLD.status IN ('completed', 'failed', 'cancelled') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION scheduling_keep_terminal_task();

CREATE FUNCTION scheduling_keep_terminal_instance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'task instance % is %, which is terminal', OLD.id, OLD.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'taskinstance_terminal_is_final';
END $$;
CREATE TRIGGER taskinstance_terminal_is_final BEFORE UPDATE OF status ON scheduling_taskinstance FOR EACH ROW
    WHEN (OLD.status IN ('completed', 'failed', 'cancelled', 'timeout', 'lost', 'skipped')
          AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION scheduling_keep_terminal_instance();

-- Rows of these tables change a few times and then never; free room on the page keeps updates in place.
ALTER TABLE scheduling_task SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE scheduling_taskinstance SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
"""
BACKWARD = """
DROP TRIGGER taskinstance_terminal_is_final ON scheduling_taskinstance;
DROP FUNCTION scheduling_keep_terminal_instance();
DROP TRIGGER task_terminal_is_final ON scheduling_task;
DROP FUNCTION scheduling_keep_terminal_task();
DROP SEQUENCE scheduling_fencing_token;
ALTER TABLE scheduling_task RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE scheduling_taskinstance RESET (fillfactor, autovacuum_vacuum_scale_factor);
"""


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
