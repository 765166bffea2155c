"""How often one caller may do something, exact under parallel requests and over all servers.

One row holds the instant at which the caller's allowance is whole again, and one statement checks and moves
it: the generic cell rate algorithm (ITU-T I.371), also known as a leaky bucket used as a meter.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import connection

from access.errors import TooManyRequests

# A row that is not moved means that the allowance is used up; RETURNING then gives no row.
_TAKE: Final = """
WITH taken AS (
    INSERT INTO access_throttle AS t (key, full_at) VALUES (%(key)s, clock_timestamp() + %(each)s)
    ON CONFLICT (key) DO UPDATE SET full_at = GREATEST(t.full_at, clock_timestamp()) + %(each)s
    WHERE GREATEST(t.full_at, clock_timestamp()) + %(each)s <= clock_timestamp() + %(whole)s
    RETURNING 1
)
SELECT EXISTS (SELECT FROM taken),
       (SELECT extract(epoch FROM full_at + %(each)s - %(whole)s - clock_timestamp())
        FROM access_throttle WHERE key = %(key)s)
"""
_PURGE: Final = """
DELETE FROM access_throttle WHERE key IN (
    SELECT key FROM access_throttle WHERE full_at < now() ORDER BY full_at LIMIT %s FOR UPDATE SKIP LOCKED
)
"""
PURGED_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many times in a period, all of them at once if need be; `name` tells its callers' rows apart."""

    name: str
    times: int
    period: timedelta

    def take(self, *caller: str) -> None:
        """Use up one of `caller`'s times; raise TooManyRequests where none is left.

        Outside a transaction, or it would count only what is committed, and the others would wait for it.
        """
        key = hashlib.sha256("\x00".join((self.name, *caller)).encode()).hexdigest()
        parameters: dict[str, Any] = {"key": key, "each": self.period / self.times, "whole": self.period}
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, parameters)
            is_taken, retry_after_secs = cursor.fetchone()
        if not is_taken:
            raise TooManyRequests(max(float(retry_after_secs or 0), 0.001))


def forget_idle_callers() -> int:
    """Delete rows that mean nothing any more, a bounded number; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_PURGE, [PURGED_AT_ONCE])
        return int(cursor.rowcount)
