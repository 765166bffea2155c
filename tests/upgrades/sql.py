"""What a statement of a migration does to tables that are at work, as far as its text tells."""

import re
from collections.abc import Iterable
from typing import Any, Final

_BODY: Final = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STRING: Final = re.compile(r"'(?:[^']|'')*'")
_TABLE: Final = re.compile(
    r'\b(?:ON|TABLE|UPDATE|INTO|FROM)\s+(?:ONLY\s+|IF\s+(?:NOT\s+)?EXISTS\s+)*"?(\w+)"?', re.IGNORECASE
)
_DROPPED: Final = re.compile(r'DROP INDEX CONCURRENTLY IF EXISTS "?(\w+)"?', re.IGNORECASE)
_BUILT: Final = re.compile(
    r'CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?"?(\w+)"?', re.IGNORECASE
)
_CONTRACTION: Final = re.compile(
    r"DROP (?!INDEX)|TRUNCATE\b|ALTER .*\bRENAME\b|ALTER TABLE .*\bDROP (?!NOT NULL)", re.IGNORECASE
)
_ONCE: Final = re.compile(r"(CREATE|DROP|ALTER)\b(?!.*\b(IF (NOT )?EXISTS|OR REPLACE)\b)", re.IGNORECASE)
_UNDER_LOCK: Final = "it holds a lock for as long as the table is large"
_HOLD_UPS: Final = [
    (
        r"(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX)\b(?!.*\bCONCURRENTLY\b)",
        "it stops all writes for as long as it takes",
        "CONCURRENTLY, with atomic = False",
    ),
    (
        r"(UPDATE|DELETE|MERGE)\b|INSERT\b.*\bSELECT\b|WITH\b.*\b(UPDATE|DELETE|INSERT)\b",
        "rows that it changes are locked until all are done",
        "RunPython with a loop of batches and atomic = False",
    ),
    (
        r"ALTER TABLE .*\bADD CONSTRAINT\b(?!.*\b(NOT VALID|USING INDEX)\b)",
        "every row is checked under a lock that stops all work",
        "NOT VALID, and VALIDATE CONSTRAINT in the migration after it",
    ),
    (
        r"ALTER TABLE .*\bSET NOT NULL\b",
        "every row is checked under a lock that stops all work",
        "a check that it IS NOT NULL, NOT VALID and then validated",
    ),
    (
        r"ALTER TABLE .*\bADD (COLUMN )?(?=.*\bNOT NULL\b)(?!.*\bDEFAULT\b)",
        "inserts of the release before name no value for it and fail",
        "a DEFAULT, or no NOT NULL",
    ),
    (
        r"ALTER TABLE .*\bADD (COLUMN )?.*\b(UNIQUE|PRIMARY KEY|STORED)\b",
        _UNDER_LOCK,
        "a plain column, and an index that is built CONCURRENTLY",
    ),
    (
        r"ALTER TABLE .*\bALTER .*\bTYPE\b|ALTER TABLE .*\bSET (LOGGED|UNLOGGED|TABLESPACE)\b",
        _UNDER_LOCK,
        "a new column or table beside it that both releases fill",
    ),
    (r"VACUUM FULL|CLUSTER\b|LOCK\b", _UNDER_LOCK, "nothing of that in a migration"),
]


def statements_of(sql: Any) -> list[str]:
    """Return the statements of a RunSQL as single lines without comments, strings and function bodies."""
    parts: Iterable[Any] = [sql] if isinstance(sql, str) else sql
    text = ";".join(part if isinstance(part, str) else part[0] for part in parts)
    plain = _STRING.sub("''", _COMMENT.sub(" ", _BODY.sub("''", text)))
    return [" ".join(statement.split()) for statement in plain.split(";") if statement.strip()]


def indexes_dropped_in(statement: str) -> set[str]:
    """Return the index that a statement makes sure is not there."""
    return set(_DROPPED.findall(statement))


def index_built_in(statement: str) -> str | None:
    """Return the index that a statement builds beside the work that goes on."""
    built = _BUILT.match(statement)
    return built[1] if built else None


def fails_when_repeated(statement: str) -> bool:
    """Tell whether a statement finds what it does already done, and fails, when it comes a second time."""
    return bool(_ONCE.match(statement))


def is_contraction(statement: str, new_tables: set[str]) -> bool:
    """Tell whether a statement takes away what was there before."""
    return bool(_CONTRACTION.match(statement)) and not _is_about(statement, new_tables)


def hold_up_in(statement: str, new_tables: set[str]) -> tuple[str, str] | None:
    """Return how a statement holds work up, and what to do instead; None where it does not."""
    if not _is_about(statement, new_tables):
        for pattern, why, instead in _HOLD_UPS:
            if re.match(pattern, statement, re.IGNORECASE):
                return why, instead
    return None


def _is_about(statement: str, tables: set[str]) -> bool:
    named = _TABLE.search(statement)
    return named is not None and named[1] in tables
