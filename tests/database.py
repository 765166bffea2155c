"""The whole database as text, to tell whether anything in it changed."""

from collections.abc import Collection
from typing import Any, LiteralString

from django.db import connection
from psycopg import sql

_HASH: LiteralString = (
    "SELECT {name}, count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '')"
    " FROM {table} t"
)
_TEXT: LiteralString = (
    "SELECT {name}, coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM {table} t"
)


def fingerprint(*, but_for: Collection[str] = ()) -> dict[str, str]:
    """Return a hash of the rows of each table."""
    return _of_each_table(_HASH, but_for)


def dump() -> dict[str, str]:
    """Return the rows of each table as text."""
    return _of_each_table(_TEXT, ())


def _of_each_table(what: LiteralString, but_for: Collection[str]) -> dict[str, str]:
    tables = sorted(set(connection.introspection.table_names()) - set(but_for))
    each = [sql.SQL(what).format(name=sql.Literal(table), table=sql.Identifier(table)) for table in tables]
    statement: Any = sql.SQL(" UNION ALL ").join(each)
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return dict(cursor.fetchall())
