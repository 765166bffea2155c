"""What must always be true of a live database, as questions whose answers should be empty.

Each check finds rows that must not be there. All of them only read, and each sees one snapshot. `recent`
bounds how many rows the checks of history look at, newest first; the others follow partial indexes and cost
as much as there is under way. So they may be asked of ten million tasks, and with None of all there are.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection, transaction

SHOWN: Final = 10
COUNTED: Final = 1000
RECENT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Check:
    """A rule by name, and the statement that selects the ids of what breaks it, in one column `id`.

    The statement gets `now` and `recent`. `about` says what the ids are of, `looks_at` which rows are looked
    at, where these are not all (`{}` of them, `recent` over `share`), and `remedy` what somebody should do
    about what is found.
    """

    name: str
    about: str
    statement: str
    remedy: str
    looks_at: str = ""
    share: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What breaks a rule: how many, at least where `is_more`, and the first ids."""

    name: str
    about: str
    count: int
    ids: tuple[str, ...]
    remedy: str
    is_more: bool = False
    details: str = ""

    def __str__(self) -> str:
        number = f"more than {self.count}" if self.is_more else str(self.count)
        plural = "" if self.count == 1 and not self.is_more else "s"
        more = ", …" if self.is_more or self.count > len(self.ids) else ""
        details = f"; {self.details}" if self.details else ""
        return f"{number} {self.about}{plural}: {', '.join(self.ids)}{more}{details}"


@contextlib.contextmanager
def reading(*, limit_secs: float | None = None) -> Iterator[None]:
    """Let statements read from one snapshot and write nothing; each may take `limit_secs`.

    Within a transaction that has begun already, what they see is what that sees.
    """
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        with connection.cursor() as cursor:
            isolation = "ISOLATION LEVEL REPEATABLE READ, " if is_outermost else ""
            cursor.execute(f"SET TRANSACTION {isolation}READ ONLY")
            if limit_secs is not None:
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true)", [str(max(1, int(limit_secs * 1000)))]
                )
        try:
            yield
        finally:
            # Nothing was written; this takes back the settings where there is a transaction around ours.
            transaction.set_rollback(True)


def find(check: Check, *, now: datetime, recent: int | None = RECENT) -> Finding | None:
    """Return what breaks the rule, None where nothing does."""
    with connection.cursor() as cursor:
        statement = f"SELECT id FROM ({check.statement}) AS broken LIMIT {COUNTED + 1}"
        cursor.execute(statement, {"now": now, "recent": recent})
        ids = [str(row[0]) for row in cursor.fetchall()]
    return finding(check, ids)


def finding(check: Check, ids: Sequence[str], *, details: str = "") -> Finding | None:
    """Return the finding of a check that these ids break, None for no ids."""
    if not ids:
        return None
    return Finding(
        name=check.name,
        about=check.about,
        count=min(len(ids), COUNTED),
        ids=tuple(ids[:SHOWN]),
        remedy=check.remedy,
        is_more=len(ids) > COUNTED,
        details=details,
    )
