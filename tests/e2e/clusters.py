"""A PostgreSQL of an installation's own, to do to it what happens to databases."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil
import psycopg
from django.db import connection
from psycopg import sql

from hetuflow.embedded_postgres import EmbeddedPostgres
from tests.processes import ROOT

# The dice are cast once for each transaction, however many rows it writes.
_FAIL_ONCE_IN_A_WHILE: Final = """
CREATE FUNCTION fail_once_in_a_while() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('tests.cast_in', true) = txid_current()::text THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('tests.cast_in', txid_current()::text, true);
    IF random() < {probability} THEN
        IF random() < 0.2 THEN
            RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
        END IF;
        RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
    END IF;
    RETURN NULL;
END $$
"""
_WHEN_COMMITTING: Final = """
CREATE CONSTRAINT TRIGGER fail_once_in_a_while AFTER INSERT OR UPDATE OR DELETE ON {table}
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_once_in_a_while()
"""


class Cluster(EmbeddedPostgres):
    """A cluster with a migrated database, which can be restarted, crashed, paused and filled.

    To be started from the main thread: PostgreSQL ends with the thread that started it.
    """

    def __init__(self, folder: Path, *, max_connections: int = 60) -> None:
        settings = {
            "max_connections": str(max_connections),
            # A commit that was answered must survive a crash; only the machine's own crash loses it here.
            "synchronous_commit": "on",
        }
        super().__init__(folder, throw_away=True, settings=settings)
        self.folder = folder

    @classmethod
    def copied(cls, seed: Path, folder: Path, *, max_connections: int = 60) -> "Cluster":
        """Return a cluster that runs, a copy of the one in `seed`, which is made where it is missing."""
        if not seed.exists():
            _make_seed(seed)
        # With the owner, who is not root where we are.
        subprocess.run(["cp", "-a", "--reflink=auto", seed, folder], check=True)
        cluster = cls(folder, max_connections=max_connections)
        cluster.start()
        return cluster

    @property
    def is_running(self) -> bool:
        return self._process is not None and self.poll() is None

    def log_text(self) -> str:
        """Return what it logged since it was copied: errors are there, too."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """Stop it fast: transactions are rolled back, connections broken."""
        super().stop()
        connection.close()

    def crash(self) -> None:
        """End it as a power cut would, with nothing written down; the next start recovers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        connection.close()

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def kill_a_backend(self) -> None:
        """Kill a process of a connection: PostgreSQL throws all others out and recovers by itself."""
        with psycopg.connect(self.url) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        connection.close()

    def pause(self) -> None:
        """Let it neither answer nor refuse until `resume`, as where its disk or its machine hangs."""
        self._send_to_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._send_to_all(signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @contextlib.contextmanager
    def without_connections(self, *, keep_out: bool = True) -> Iterator[int]:
        """Hold every connection there is, those of the others too with `keep_out`; gets how many."""
        held: list[psycopg.Connection] = []
        try:
            while True:
                try:
                    held.append(psycopg.connect(self.url, autocommit=True))
                except psycopg.OperationalError:
                    break
            if keep_out:
                held += self._taken_from_others(held)
            yield len(held)
        finally:
            for each in held:
                each.close()

    @contextlib.contextmanager
    def failing_commits(self, tables: Sequence[str], *, probability: float = 0.05) -> Iterator[None]:
        """Let so many of the transactions that write to these tables fail when they commit.

        As PostgreSQL does where it cannot serialise them, and now and then as where it broke a deadlock.
        """
        self._execute(_FAIL_ONCE_IN_A_WHILE, probability=sql.Literal(probability))
        for table in tables:
            self._execute(_WHEN_COMMITTING, table=sql.Identifier(table))
        try:
            yield
        finally:
            self._execute("DROP FUNCTION fail_once_in_a_while CASCADE")

    def _execute(self, statement: str, **parts: sql.Composable) -> None:
        with psycopg.connect(self.url, autocommit=True) as administrator:
            administrator.execute(sql.SQL(statement).format(**parts))  # type: ignore[arg-type]

    def make_whole(self) -> None:
        """Let it run, whatever was done to it, and return when it takes connections."""
        if self.is_running:
            self.resume()
            self._wait_until_ready()
        else:
            self.start()

    def remove(self) -> None:
        """Stop it and delete its folder."""
        if self.is_running:
            self.resume()
        super().stop()
        connection.close()
        shutil.rmtree(self.folder)

    def _taken_from_others(self, held: list[psycopg.Connection]) -> list[psycopg.Connection]:
        """Throw the others out and take their places, but for those who are quicker."""
        mine = [each.info.backend_pid for each in held]
        thrown_out = held[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> ALL (%s)",
            [mine],
        )
        taken = []
        with contextlib.suppress(psycopg.OperationalError):
            for _ in range(thrown_out.rowcount):
                taken.append(psycopg.connect(self.url, autocommit=True))
        connection.close()
        return taken

    def _send_to_all(self, number: signal.Signals) -> None:
        """Send a signal to PostgreSQL and its children; first to the one that makes more of them."""
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        postmaster.send_signal(number)
        for child in postmaster.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)


def _make_seed(seed: Path) -> None:
    draft = seed.with_name(f"{seed.name}.new")
    server = EmbeddedPostgres(draft, throw_away=True)
    address = server.start()
    try:
        subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": address},
            check=True,
        )
    finally:
        server.stop()
    draft.rename(seed)
