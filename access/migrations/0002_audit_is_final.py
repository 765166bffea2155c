from django.db import migrations

# What was done stays written as it was; rows may only go as a whole, when they are too old.
_GUARD = """
CREATE FUNCTION access_auditentry_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an audit entry is never changed' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER auditentry_final BEFORE UPDATE ON access_auditentry
FOR EACH ROW EXECUTE FUNCTION access_auditentry_refuse();
"""
_UNGUARD = """
DROP TRIGGER auditentry_final ON access_auditentry;
DROP FUNCTION access_auditentry_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0001_initial")]

    operations = [
        migrations.RunSQL(_GUARD, _UNGUARD),
        # What throttles remember is worth no write-ahead log; a crash only forgets it.
        migrations.RunSQL(
            "ALTER TABLE access_throttle SET UNLOGGED", "ALTER TABLE access_throttle SET LOGGED"
        ),
        # Tokens of API clients before they had names and scopes; nothing can read them any more.
        migrations.RunSQL("DROP TABLE IF EXISTS knox_authtoken", migrations.RunSQL.noop),
    ]
