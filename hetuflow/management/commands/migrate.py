"""`manage.py migrate`: Django's, which holds nobody up for longer than its lock timeout."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import connections
from django.db.utils import OperationalError

LOCK_TIMEOUT_SECS: Final = 2.0
GIVE_UP_SECS: Final = 300.0
_FIRST_PAUSE_SECS: Final = 1.0
_LONGEST_PAUSE_SECS: Final = 30.0
_NOT_TO_BE_HAD: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_OLDEST: Final = """
SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
ORDER BY xact_start LIMIT 1
"""


class Command(migrate.Command):
    help = (
        f"{migrate.Command.help} Whoever waits behind a migration that waits for a lock waits no longer than "
        "--lock-timeout-secs: then the migration is undone and tried again a little later."
    )
    _migration: str | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout-secs",
            type=float,
            default=LOCK_TIMEOUT_SECS,
            help="how long to wait for a lock at a time; default: %(default)s",
        )
        parser.add_argument(
            "--give-up-secs",
            type=float,
            default=GIVE_UP_SECS,
            help="after how long not to try again; default: %(default)s",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        lock_timeout_secs = options["lock_timeout_secs"]
        if not 0.001 <= lock_timeout_secs <= 3600:
            raise CommandError("--lock-timeout-secs: expected a number from 0.001 to 3600")
        give_up_at = time.monotonic() + options["give_up_secs"]
        pause_secs = _FIRST_PAUSE_SECS
        with _waiting_for_locks(options["database"], lock_timeout_secs):
            while True:
                try:
                    super().handle(*args, **options)
                except OperationalError as error:
                    if not isinstance(error.__cause__, _NOT_TO_BE_HAD):
                        raise
                    failure = self._failure(error.__cause__, options["database"])
                    # With it goes what a migration that broke off had set for itself.
                    connections[options["database"]].close()
                    if time.monotonic() + pause_secs > give_up_at:
                        raise CommandError(
                            f"{failure}; gave up. What was applied stays, so migrate can be run again"
                        ) from error
                else:
                    return
                if options["verbosity"] >= 1:
                    self.stdout.write("")  # the line of the migration is not ended
                # Whoever queued behind us has the table now.
                self.stdout.write(f"{failure}; trying again in {pause_secs:g} s")
                self.stdout.flush()
                time.sleep(pause_secs)
                pause_secs = min(2 * pause_secs, _LONGEST_PAUSE_SECS)

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        if action.endswith("_start"):
            self._migration = migration and str(migration)
        super().migration_progress_callback(action, migration, fake)

    def _failure(self, cause: BaseException, database: str) -> str:
        """Say what did not get a lock, and who has been at work for longest."""
        reason = "a deadlock" if isinstance(cause, psycopg.errors.DeadlockDetected) else "no lock in time"
        with connections[database].cursor() as cursor:
            cursor.execute(_OLDEST)
            oldest = cursor.fetchone()
        behind = ""
        if oldest is not None:
            pid, name, secs = oldest
            behind = f" (process {pid}, {name!r}, has had a transaction open for {secs:.0f} s)"
        return f"{self._migration or 'after the migrations'}: {reason}{behind}"


@contextlib.contextmanager
def _waiting_for_locks(database: str, secs: float) -> Iterator[None]:
    """Let the connection to `database` wait so long for a lock.

    It is an option of the connection, because a migration that sets it otherwise for itself ends with RESET.
    """
    connection = connections[database]
    options = connection.settings_dict["OPTIONS"]
    before = options.get("options", "")
    options["options"] = f"{before} -c lock_timeout={round(secs * 1000)}"
    connection.close()
    try:
        yield
    finally:
        options["options"] = before
        connection.close()
