"""The doctor on installations that are ill on purpose: it names what is wrong, and says what to do."""

import io
import json
import re
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command

from gateway.models import Connection, Server
from hetuflow import __version__
from hetuflow.doctor import clocks, examination, security
from hetuflow.doctor.report import Level
from scheduling.clock import database_now
from scheduling.models import Alert, Backfill, Lease, Schedule, ZoneData
from scheduling.services import planning, rescue
from tests import broken, factories
from tests.broken import change
from tests.database import fingerprint
from tests.hetuflow.doctor_lines import lines, not_fine, the_line
from tests.processes import database_url, run_manage

HOUR = timedelta(hours=1)


def server(*, age_secs=0.0, **fields):
    now = database_now()
    values = {"name": "north", "version": "0.1.0", "started_at": now, **fields}
    return Server.objects.create(last_heartbeat_at=now - timedelta(seconds=age_secs), **values)


def connect(agent, to):
    values = {"session_id": to.pk, "epoch": to.pk, "connected_at": to.started_at}
    return Connection.objects.create(agent=agent, server=to, last_activity=to.started_at, **values)


def doctor(*arguments):
    """Run the command in this process; return its exit status and what it said."""
    output = io.StringIO()
    try:
        call_command("doctor", *arguments, stdout=output)
    except SystemExit as end:
        return end.code, output.getvalue()
    return 0, output.getvalue()


# --- invariants -----------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("rule", broken.BREAKS)
def test_a_broken_invariant_is_named_with_its_row_and_what_to_do(rule):
    wrong = broken.BREAKS[rule]()
    found = {line.name: line for line in not_fine("invariants", "stuck rows")}
    assert rule in found
    line = found[rule]
    assert (line.level, list(line.ids)) == (Level.ERROR, [str(wrong)])
    assert str(wrong) in line.seen


@pytest.mark.django_db
def test_where_nothing_is_broken_every_invariant_has_a_line_that_says_so():
    broken.attempt()
    broken.planned_schedule()
    fine = [line for line in lines("invariants", "stuck rows") if line.level == Level.OK]
    assert [line.name for line in fine] == list(broken.BREAKS)[:19] + list(broken.BREAKS)[26:] + list(
        broken.BREAKS
    )[19:26]


# --- who is there ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_where_nobody_is_there_it_says_what_to_start():
    found = {line.name: line for line in not_fine("liveness")}
    assert found.keys() == {"servers", "scheduler", "agents"}
    assert "manage.py server" in found["servers"].remedy
    assert "manage.py scheduler" in found["scheduler"].remedy


@pytest.mark.django_db
def test_who_is_there_is_fine_and_who_died_is_named():
    now = database_now()
    Lease.objects.create(name="scheduler", holder="", since=now - HOUR, renewed_at=now)
    here = server()
    connect(factories.agent(), here)
    assert not_fine("liveness") == []
    gone = server(name="south", age_secs=100)
    away = change(factories.agent(), status="offline")
    found = {line.name: line for line in not_fine("liveness")}
    assert found.keys() == {"servers", "agents"}
    assert ("south died" in found["servers"].seen, found["servers"].ids) == (True, [str(gone.pk)])
    assert (found["agents"].level, found["agents"].ids) == (Level.WARNING, [str(away.pk)])


@pytest.mark.django_db
def test_an_agent_that_is_away_with_work_is_wrong_and_named():
    instance = broken.attempt()
    change(instance.agent, status="offline")
    (line,) = [line for line in not_fine("liveness") if line.name == "agents"]
    assert (line.level, line.ids) == (Level.ERROR, [str(instance.agent_id)])
    assert instance.agent.name in line.remedy


@pytest.mark.django_db
def test_planning_that_is_behind_is_told():
    schedule = factories.schedule(now=database_now() - HOUR)
    (line,) = [line for line in not_fine("liveness") if line.name == "planning"]
    assert (line.level, line.ids) == (Level.ERROR, [str(schedule.pk)])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("labels", "status", "said"),
    [
        ({"gpu": "no"}, "idle", "no agent has these"),
        ({"gpu": "yes"}, "offline", "of 1 with these none is connected"),
        ({"gpu": "yes"}, "idle", "give them more slots"),
    ],
)
def test_tasks_that_wait_say_for_whom(labels, status, said):
    change(factories.agent(labels=labels), status=status)
    job = factories.job(config={"labels": {"gpu": "yes"}})
    task = factories.task(now=database_now() - HOUR, job=job)
    (line,) = [line for line in not_fine("liveness") if line.name == "queues"]
    assert (line.level, line.ids) == (Level.WARNING, [str(task.pk)])
    assert said in line.remedy


@pytest.mark.django_db
def test_tasks_behind_the_limit_of_their_job_wait_rightly():
    first = broken.attempt(max_concurrency=1)
    factories.task(now=database_now() - HOUR, job=first.job)
    assert [line for line in not_fine("liveness") if line.name == "queues"] == []


# --- schedules, clocks, zones, versions, settings -------------------------------------------------------


@pytest.mark.django_db
def test_schedules_that_cannot_be_planned_alerts_and_paused_backfills_are_told():
    now = database_now()
    schedule = change(factories.schedule(now=now), problem="BadTemplate: {{ x }}")
    Alert.objects.create(kind="missed", namespace="default", text="Planned runs were missed")
    values = {"range_from": now, "range_to": now, "planned_until": now, "total": 1, "status": "paused"}
    Backfill.objects.create(schedule=schedule, **values)
    found = {line.name: line for line in not_fine("schedules")}
    assert found.keys() == {"problems", "alerts", "backfills"}
    assert "BadTemplate" in found["problems"].seen
    assert "Planned runs were missed" in found["alerts"].seen


@pytest.mark.django_db
def test_clocks_that_go_wrong_are_told_by_how_much():
    agent, north = factories.agent(), server(clock_ahead_ms=90_000.0)
    change(connect(agent, north), clock_ahead_ms=-3500.0)
    found = {line.name: line for line in not_fine("clocks")}
    assert (found["servers"].level, found["servers"].seen) == (
        Level.ERROR,
        "north is 90.000 s ahead of the database",
    )
    assert (found["agents"].level, found["agents"].seen) == (
        Level.WARNING,
        f"{agent.name} is 3.500 s behind the database",
    )


@pytest.mark.django_db
def test_this_machines_clock_is_held_against_the_databases(time_machine):
    time_machine.move_to(database_now() + HOUR)
    assert abs(clocks.ahead_secs() - 3600) < 1
    (line,) = not_fine("clocks")
    assert (line.name, line.level) == ("this machine", Level.ERROR)


@pytest.mark.django_db
def test_other_data_about_a_time_zone_are_told_and_its_schedules_not_judged():
    schedule = broken.planned_schedule()
    Schedule.objects.update(timezone="Asia/Shanghai")
    ZoneData.objects.create(zone="Asia/Shanghai", digest="another", noted_at=database_now())
    line = the_line("time zones")
    assert (line.level, line.ids) == (Level.WARNING, ["Asia/Shanghai"])
    schedule.tasks.order_by("scheduled_at")[3].delete()
    assert not_fine("invariants") == []


@pytest.mark.django_db
def test_a_zone_that_is_unknown_here_is_wrong():
    factories.schedule(now=database_now())
    Schedule.objects.update(timezone="Asia/Atlantis")
    assert (the_line("time zones").level, "pip install" in the_line("time zones").remedy) == (
        Level.ERROR,
        True,
    )


@pytest.mark.django_db
def test_other_versions_are_told():
    north = server(version="0.0.9")
    agent = change(factories.agent(), version="0.0.8")
    connect(agent, north)
    now = database_now()
    for process, version in (("south-7", "0.0.9"), ("south-8", __version__)):
        rescue.note_scheduler_alive(process=process, version=version, now=now)
    rescue.note_scheduler_alive(process="gone-1", version="0.0.7", now=now - HOUR)
    found = {line.name: line for line in not_fine("versions") if line.name != "packages"}
    assert "north has 0.0.9" in found["servers"].seen
    assert found["schedulers"].seen == f"this is {__version__}; south-7 has 0.0.9"
    assert "1 of 0.0.8" in found["agents"].seen


def test_packages_of_other_versions_and_missing_ones_are_told(tmp_path, settings):
    (tmp_path / "requirements.txt").write_text(
        "-r others.txt\nDjango==0.1  # old\nno-such-package==1\npytest[x]==0\n"
        'pytest==1; python_version < "3"\n'
    )
    settings.BASE_DIR = tmp_path
    missing, other = examination.versions.look_at_packages(database_now)
    assert (missing.level, list(missing.ids)) == (Level.ERROR, ["no-such-package"])
    assert "Django" in other.seen
    assert "instead of 0.1; pytest" in other.seen


def told_of(name):
    return [line for line in not_fine("security") if line.name == name]


@pytest.mark.django_db
def test_settings_that_are_unsafe_on_a_network_are_told(settings, tmp_path):
    settings.DATA_DIR, settings.ALLOWED_HOSTS = tmp_path, ["localhost"]
    assert not_fine("security") == []
    settings.HETUFLOW_HOST = "0.0.0.0"  # noqa: S104
    settings.SECRET_KEY = "short"
    (line,) = told_of("mode")
    assert line.remedy.startswith("set HETUFLOW_ENV=production; first, HETUFLOW_SECRET_KEY is too short")
    settings.DEBUG = True
    assert told_of("mode")[0].level == Level.ERROR
    settings.PRODUCTION = True
    assert told_of("https")[0].level == Level.WARNING
    secret = tmp_path / "secret_key"
    secret.write_text("x")
    secret.chmod(0o644)
    assert told_of("files")[0].remedy == f"chmod 600 {secret}"
    assert list(security.look_at_https(database_now)) != []


@pytest.mark.django_db
def test_settings_of_postgresql_that_lose_what_was_acknowledged_are_wrong():
    # Those of the tests' own cluster, which is thrown away.
    (line,) = [line for line in not_fine("database") if line.name == "durability"]
    assert line.level == Level.ERROR
    assert "off: fsync" in line.seen


@pytest.mark.django_db
def test_more_servers_than_connections_are_told():
    for _ in range(40):
        server()
    (line,) = [line for line in not_fine("database") if line.name == "connections"]
    assert (line.level, "set max_connections to" in line.remedy) == (Level.WARNING, True)


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_stays_open_is_told(monkeypatch):
    monkeypatch.setattr("hetuflow.doctor.database.LONG_TRANSACTION_SECS", 0)
    with psycopg.connect(database_url(), application_name="a forgotten psql") as other:
        other.execute("SELECT 1")
        (line,) = [line for line in not_fine("database") if line.name == "long transactions"]
    assert "a forgotten psql" in line.seen
    assert f"pg_terminate_backend({line.ids[0]})" in line.remedy


# --- the command ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_command_writes_nothing_and_works_while_nobody_is_there():
    broken.hole_in_the_output()
    broken.planned_schedule()
    before = fingerprint()
    done = run_manage("doctor", "--json", DATABASE_URL=database_url())
    assert fingerprint() == before
    assert (done.returncode, done.stderr) == (2, "")
    report = json.loads(done.stdout)
    assert report["status"] == "error"
    assert {group["name"] for group in report["groups"]} == set(examination.names_of_groups())
    wrong = {
        line["name"] for group in report["groups"] for line in group["lines"] if line["level"] == "error"
    }
    assert {"I7, I13 output is whole and in order", "servers", "scheduler"} <= wrong
    assert report["secs"] < 10


def test_without_a_database_it_says_so_and_looks_at_what_is_left():
    done = run_manage("doctor", DATABASE_URL="postgresql://h@127.0.0.1:9/none")
    assert (done.returncode, done.stderr) == (2, "")
    assert "✘ connection: The database cannot be reached" in done.stdout
    assert "make run" in done.stdout
    assert "security\n" in done.stdout
    assert "invariants" not in done.stdout


@pytest.mark.django_db(transaction=True)
def test_a_check_that_takes_too_long_says_so_and_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr(examination, "PROBE_SECS", 0.2)
    with psycopg.connect(database_url()) as other:
        other.execute("LOCK TABLE scheduling_outputchunk")
        slow = not_fine("invariants")
    assert {line.name for line in slow} == {
        "I7, I13 output is whole and in order",
        "I7 output is as long as it is said to be",
    }
    assert {line.level for line in slow} == {Level.WARNING}
    assert "did not answer within 0.2 s" in slow[0].seen


@pytest.mark.django_db
def test_when_the_time_is_up_the_rest_is_named_as_not_looked_at():
    report = examination.examine(only=["invariants"], limit_secs=0)
    assert {line.seen for line in report.lines} == {"not looked at: the time was up"}
    assert report.level == Level.WARNING


@pytest.mark.django_db
def test_the_exit_status_says_how_bad_it_is():
    assert doctor("--only", "schedules")[0] == 0
    Alert.objects.create(kind="missed", namespace="default", text="x")
    assert doctor("--only", "schedules")[0] == 0
    assert doctor("--only", "schedules", "--strict")[0] == 1
    broken.too_many_retries()
    status, said = doctor("--only", "schedules", "--only", "invariants")
    assert status == 2
    assert "  ! alerts: 1 not acknowledged" in said
    assert "  ✘ no more retries than allowed: 1 task: " in said
    assert "      → " in said
    assert re.search(r"\d+ looked at in \d\.\d s: 1 wrong, 1 to look at\n$", said)


@pytest.mark.django_db
def test_planning_that_goes_on_meanwhile_is_no_finding():
    broken.planned_schedule()
    planning.run_once(now=database_now() + HOUR, horizon_secs=15, catch_up_secs=86_400)
    assert not_fine("invariants") == []


def test_the_page_names_every_group_and_shows_lines_that_there_are():
    page = Path("docs/operations.md").read_text()
    page = page[page.index("## Is it healthy?") : page.index("## When something does not work")]
    groups = re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE)
    assert groups == examination.names_of_groups()
    shown = set(re.findall(r"^  [✔!✘] ([^:]+):", page, re.MULTILINE))
    probes = {probe.name for group in examination.probes().values() for probe in group}
    assert len(shown) > 8
    assert shown - {"durability", "I2 every planned instant has its task"} <= probes
