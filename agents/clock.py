"""The time that counts: the database's. Every process may have a wrong clock; all of them share this one."""

from datetime import UTC, datetime

from django.db import connection


def database_now() -> datetime:
    """Return the database's clock, as aware UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now.astimezone(UTC)  # type: ignore[no-any-return]
