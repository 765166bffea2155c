"""The different values of a column, looked up one after the other along an index."""

from typing import Final

from django.db import connection
from django.db.models import Model

# https://wiki.postgresql.org/wiki/Loose_indexscan
_THERE: Final = """
WITH RECURSIVE there AS (
    SELECT (SELECT {column} FROM {table} WHERE {condition} ORDER BY {column} LIMIT 1) AS value
    UNION ALL
    SELECT (SELECT {column} FROM {table} WHERE {condition} AND {column} > there.value
            ORDER BY {column} LIMIT 1)
    FROM there WHERE there.value IS NOT NULL
)
SELECT value FROM there WHERE value IS NOT NULL LIMIT %s
"""


def distinct_values(model: type[Model], column: str, *, condition: str = "true", limit: int) -> list[str]:
    """Return the first values of a column in their order, however many rows have each.

    An index has to begin with the column; `condition`, in SQL, is that of the index where it has one.
    """
    statement = _THERE.format(column=column, table=model._meta.db_table, condition=condition)
    with connection.cursor() as cursor:
        cursor.execute(statement, [limit])
        return [value for (value,) in cursor.fetchall()]
