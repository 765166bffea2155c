"""`manage.py migrate` beside people who work: nobody waits behind it for long, and it says what it does."""

import re
import threading
import time
import uuid

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.commands import migrate as migrate_of_django
from django.db import connection
from django.db.utils import OperationalError

from hetuflow.management.commands import migrate as migrate_of_ours
from tests.databases import create_database, drop_database
from tests.e2e.oracle import until
from tests.processes import manage_program, run_manage

LATER = "tests.upgrades.settings"
LOCK_TIMEOUT_SECS = 0.5


@pytest.fixture
def address():
    """Return the address of a database of this test's own, without the later migrations."""
    name = f"hetuflow_migrating_{uuid.uuid4().hex[:12]}"
    yield create_database(name)
    drop_database(name)


def migrate(address, *arguments):
    return run_manage("migrate", *arguments, DATABASE_URL=address, DJANGO_SETTINGS_MODULE=LATER)


def has_note(address):
    with psycopg.connect(address) as asking:
        return bool(
            asking.execute(
                "SELECT 1 FROM information_schema.columns WHERE table_name = 'scheduling_task'"
                " AND column_name = 'note'"
            ).fetchone()
        )


@pytest.fixture
def reader(address):
    """Return a connection whose transaction has read the tasks, as a long report would."""
    with psycopg.connect(address, application_name="a long report") as reading:
        reading.execute("SELECT count(*) FROM scheduling_task")
        yield reading


class Writer(threading.Thread):
    """Writes to the tasks all the time, and measures how long each write waits."""

    def __init__(self, address):
        super().__init__()
        self._address = address
        self._stopped = threading.Event()
        self.longest_secs = 0.0
        self.count = 0

    def run(self):
        with psycopg.connect(self._address, autocommit=True) as writing:
            while not self._stopped.wait(0.01):
                before = time.monotonic()
                writing.execute("UPDATE scheduling_task SET priority = 1")
                self.longest_secs = max(self.longest_secs, time.monotonic() - before)
                self.count += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self.join(30)


def test_a_migration_that_gets_no_lock_gives_up_and_nobody_waited_long(address, reader):
    with Writer(address) as writer:
        done = migrate(address, "--lock-timeout-secs", str(LOCK_TIMEOUT_SECS), "--give-up-secs", "3")
    assert done.returncode == 1
    waits = [line for line in done.stdout.splitlines() if "trying again" in line]
    assert len(waits) >= 1
    assert all(re.match(r"scheduling\.l001_note: no lock in time .*'a long report'", wait) for wait in waits)
    (said,) = done.stderr.splitlines()
    assert "scheduling.l001_note" in said
    assert "gave up" in said
    assert not has_note(address)
    # Once the lock timeout, and what a machine of tests may add.
    assert writer.count > 0
    assert LOCK_TIMEOUT_SECS / 2 < writer.longest_secs < LOCK_TIMEOUT_SECS + 1.5


def test_a_migration_that_gets_no_lock_succeeds_when_the_reader_ends(address, reader, tmp_path):
    log = tmp_path / "log"
    migrating = manage_program(
        "migrate",
        "--verbosity=0",
        f"--lock-timeout-secs={LOCK_TIMEOUT_SECS}",
        log=log,
        DATABASE_URL=address,
        DJANGO_SETTINGS_MODULE=LATER,
    )
    migrating.start()
    until(lambda: "trying again" in log.read_text(), "the migration waits")
    reader.rollback()
    assert migrating.wait(60) == 0, log.read_text()
    assert has_note(address)


def test_a_row_of_the_version_before_gets_the_default_of_the_database(address):
    assert migrate(address).returncode == 0
    with psycopg.connect(address) as asking:
        (default,) = asking.execute(
            "SELECT column_default FROM information_schema.columns"
            " WHERE table_name = 'scheduling_task' AND column_name = 'note'"
        ).fetchone()
    assert "of old" in default


@pytest.mark.parametrize("secs", ["0", "-1", "nan", "1e9"])
def test_a_lock_timeout_that_is_none_is_refused(address, secs):
    done = migrate(address, f"--lock-timeout-secs={secs}")
    assert (done.returncode, "--lock-timeout-secs" in done.stderr) == (1, True)


def test_a_migration_of_lists_that_was_broken_off_can_be_repeated(address):
    with psycopg.connect(address, autocommit=True) as breaking:
        breaking.execute("DELETE FROM django_migrations WHERE app = 'scheduling' AND name >= '0009'")
        breaking.execute("DROP INDEX task_by_scheduled_at, task_by_created_at")
    done = migrate(address, "scheduling", "0009")
    assert done.returncode == 0, done.stderr


@pytest.mark.django_db(transaction=True)
def test_each_try_waits_no_longer_than_the_first_whatever_a_migration_that_broke_off_had_set(monkeypatch):
    seen = []

    def break_off_once(command, *args, **options):
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            seen.append(cursor.fetchone()[0])
            cursor.execute("SET lock_timeout = 0")
        if len(seen) == 1:
            raise OperationalError("deadlock") from psycopg.errors.DeadlockDetected()

    monkeypatch.setattr(migrate_of_django.Command, "handle", break_off_once)
    monkeypatch.setattr(migrate_of_ours, "_FIRST_PAUSE_SECS", 0.0)
    call_command("migrate", lock_timeout_secs=LOCK_TIMEOUT_SECS)
    assert seen == ["500ms", "500ms"]
