"""How often one caller may do something, exact under parallel requests and over all servers.

One row holds when the caller did it lately, as often as is allowed, and one statement looks at the oldest of
these and adds the newest: a sliding window, so in no stretch of the period, wherever it begins, is it more.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import connection

from access.errors import TooManyRequests

# A row that is not written means that the allowance is used up; RETURNING then gives no row. A caller that
# comes meanwhile waits for the row and sees what it has become.
_TAKE: Final = """
INSERT INTO access_throttle AS t (key, taken_at, full_at)
VALUES (%(key)s, ARRAY[clock_timestamp()], clock_timestamp() + %(period)s)
ON CONFLICT (key) DO UPDATE
SET taken_at = t.taken_at[greatest(1, cardinality(t.taken_at) - %(times)s + 2):] || clock_timestamp(),
    full_at = clock_timestamp() + %(period)s
WHERE cardinality(t.taken_at) < %(times)s
   OR t.taken_at[cardinality(t.taken_at) - %(times)s + 1] <= clock_timestamp() - %(period)s
RETURNING 1
"""
_RETRY_AFTER: Final = """
SELECT extract(epoch FROM taken_at[greatest(1, cardinality(taken_at) - %(times)s + 1)] + %(period)s
               - clock_timestamp())
FROM access_throttle WHERE key = %(key)s
"""
_PURGE: Final = """
DELETE FROM access_throttle WHERE key IN (
    SELECT key FROM access_throttle WHERE full_at < now() ORDER BY full_at LIMIT %s FOR UPDATE SKIP LOCKED
)
"""
PURGED_AT_ONCE: Final = 1000
SHORTEST_WAIT_SECS: Final = 0.001


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
        parameters: dict[str, Any] = {"key": key, "times": self.times, "period": self.period}
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, parameters)
            if cursor.fetchone() is not None:
                return
            cursor.execute(_RETRY_AFTER, parameters)
            found = cursor.fetchone()
        raise TooManyRequests(max(float(found[0]) if found else 0.0, SHORTEST_WAIT_SECS))


def forget_idle_callers() -> int:
    """Delete rows that mean nothing any more, a bounded number; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_PURGE, [PURGED_AT_ONCE])
        return int(cursor.rowcount)
