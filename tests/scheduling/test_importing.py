"""What a file says is what is there afterwards; a check tells it beforehand and leaves no trace."""

from datetime import UTC, datetime

import pytest

from access.models import AuditEntry
from scheduling.definition_file import read, write
from scheduling.errors import ChangedMeanwhile, InvalidState, NothingToDo
from scheduling.models import BulkAction, Calendar, Job, Schedule, Task
from scheduling.services import bulk, definitions, importing
from scheduling.services.calendars import create_calendar, update_calendar
from scheduling.services.documents import exported
from tests import database, factories, people
from tests.factories import ANN, NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db

FILE = """
hetuflow: 1
calendars:
- name: office
  windows:
  - {weekdays: [1, 2, 3, 4, 5], from: 09:00, to: 18:00}
  blackouts:
  - {from: 2026-12-24T00:00:00+01:00, to: 2026-12-27T00:00:00+01:00, reason: holidays}
jobs:
- name: backup
  description: Every night.
  tags: [nightly]
  command: |
    echo begin
    sleep 1
  environment: {STAGE: prod}
  config: {cmd: bash, max_retries: 3, labels: {zone: eu}, resource_limits: {max_memory_mb: 512}}
  parameters_schema: {type: object, properties: {day: {type: string, default: today}}}
  schedules:
  - {name: nightly, kind: cron, cron_expression: 0 3 * * *, timezone: Europe/Berlin, calendar: office}
  - {name: once, kind: once, start_time: 2027-01-01T00:00:00+08:00, enabled: false}
  - {kind: interval, interval_secs: 3600, parameters: {day: "{{ date }}"}}
- namespace: other
  name: plain
  enabled: false
  config: {cmd: exec, args: ["true"]}
"""


def run_all():
    """Go on with all that was asked for, as schedulers do."""
    while bulk.run_once(now=NOW):
        pass


def until_ended(action):
    run_all()
    action.refresh_from_db()
    assert action.status == "completed"
    return action


def check(text=FILE, *, user=None):
    user = user or people.person(superuser=True)
    return until_ended(importing.begin_check(entries=read(text.encode()), user=user, by=ANN))


def import_all(action):
    return until_ended(importing.begin_import(check_id=action.pk, user=action.user, by=ANN))


def told(action):
    """Return what became of each entry: what was done, or why it was refused."""
    targets = action.targets.order_by("target_id")
    return {target.name: target.problem or target.outcome["did"] for target in targets}


def file_of_all():
    return "".join(write(*exported(Job.objects.present())))


# --- there and back ---------------------------------------------------------------------------------------


def test_a_file_makes_what_it_says():
    done = import_all(check())
    assert told(done) == {"default/office": "create", "default/backup": "create", "other/plain": "create"}
    job = Job.objects.get(name="backup")
    assert (job.command, job.config["max_retries"], job.tags) == ("echo begin\nsleep 1\n", 3, ["nightly"])
    assert job.task_config["args"] == ["-c", "echo begin\nsleep 1\n"]
    assert job.parameter_defaults == {"day": "today"}
    nightly, once, unnamed = job.schedules.order_by("pk")
    assert (nightly.calendar.name, nightly.status) == ("office", "enabled")
    assert nightly.next_run_at is not None
    assert (once.status, once.start_time) == ("disabled", datetime(2026, 12, 31, 16, tzinfo=UTC))
    assert unnamed.parameters == {"day": "{{ date }}"}
    assert not Job.objects.get(namespace="other", name="plain").enabled


def test_what_is_exported_says_the_same_and_leaves_out_what_has_its_default():
    import_all(check())
    text = file_of_all()
    assert set(told(check(text)).values()) == {"keep"}
    assert "max_retries: 3" in text
    for default in ("timeout_secs", "calendar_policy", "namespace: default\n  name: backup\n  enabled: true"):
        assert default not in text
    assert "2026-12-31T16:00:00Z" in text


def test_an_export_brought_to_another_installation_says_the_same_there():
    import_all(check())
    text = file_of_all()
    for job in Job.objects.all():
        definitions.archive_job(job_id=job.pk, now=NOW)
    Schedule.objects.all().delete()
    Calendar.objects.all().delete()
    import_all(check(text))
    assert file_of_all() == text


def test_only_calendars_in_use_are_exported_and_each_once():
    import_all(check())
    create_calendar(name="unused")
    job = Job.objects.get(name="backup")
    factories.schedule(job=job, calendar=Calendar.objects.get(name="office"))
    assert [entry.name for entry in read(file_of_all().encode()) if entry.kind == "calendar"] == [
        "default/office"
    ]


# --- the check --------------------------------------------------------------------------------------------


def test_a_check_tells_what_would_happen_and_leaves_no_trace():
    but_for = ("scheduling_bulkaction", "scheduling_bulktarget", "access_auditentry", "auth_user")
    before = database.fingerprint(but_for=but_for)
    found = check()
    assert told(found) == {"default/office": "create", "default/backup": "create", "other/plain": "create"}
    assert database.fingerprint(but_for=but_for) == before
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["bulk_action.create"]


def test_a_change_is_told_with_both_sides():
    import_all(check())
    found = check(FILE.replace("max_retries: 3", "max_retries: 5").replace("0 3 * * *", "0 4 * * *"))
    assert told(found)["default/backup"] == "change"
    outcome = found.targets.get(name="default/backup").outcome
    sides = [
        (side["config"]["max_retries"], side["schedules"][0]["cron_expression"])
        for side in (outcome["before"], outcome["after"])
    ]
    assert sides == [(3, "0 3 * * *"), (5, "0 4 * * *")]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("max_retries: 3", "max_retries: -3", "config.max_retries: "),
        ("cmd: bash", "cmd: cobol", "config.cmd: 'cobol' is unknown"),
        ("STAGE: prod", "LD_PRELOAD: prod", "environment: LD_PRELOAD is reserved"),
        ("0 3 * * *", "0 33 * * *", "schedules[0].cron_expression: "),
        ("Europe/Berlin", "Europe/Atlantis", "schedules[0].timezone: "),
        ("calendar: office", "calendar: ghost", "schedules[0].calendar: there is no calendar “ghost”"),
        ('"{{ date }}"', '"{{ 1 / }}"', "schedules[2].parameters: "),
        ('"{{ date }}"', "5", 'schedules[2].parameters.day: 5 is not of type "string"'),
        ("kind: interval, interval_secs: 3600", "kind: interval", "schedules[2].interval_secs: "),
        ("kind: interval, interval_secs: 3600", "kind: flow", "schedules[2].kind: 'flow' cannot be planned"),
        ("type: object, properties", "type: object, propperties", "parameters_schema: 'propperties' is not"),
    ],
)
def test_what_is_not_sound_is_refused_and_the_rest_is_imported(old, new, problem):
    found = check(FILE.replace(old, new))
    assert told(found)["default/backup"].startswith(problem)
    done = import_all(found)
    assert told(done) == {"default/office": "create", "other/plain": "create"}


def test_a_calendar_that_is_not_sound_is_refused_and_so_is_who_needs_it():
    found = told(check(FILE.replace("to: 18:00", "to: 08:00")))
    assert found["default/office"].startswith("windows: entry 1: to: ")
    assert found["default/backup"].startswith("schedules[0].windows: ")
    assert found["other/plain"] == "create"


# --- what is there already --------------------------------------------------------------------------------


def test_what_is_as_the_file_says_is_left_alone():
    import_all(check())
    stamps = list(Job.objects.order_by("pk").values_list("updated_at", flat=True))
    entries = AuditEntry.objects.exclude(subject_type="bulk_action").count()
    found = check()
    assert set(told(found).values()) == {"keep"}
    with pytest.raises(NothingToDo):
        importing.begin_import(check_id=found.pk, user=found.user, by=ANN)
    assert list(Job.objects.order_by("pk").values_list("updated_at", flat=True)) == stamps
    assert AuditEntry.objects.exclude(subject_type="bulk_action").count() == entries


def test_only_what_differs_is_written_and_planned_work_of_others_stays():
    import_all(check())
    untouched = Schedule.objects.get(name="nightly")
    import_all(check(FILE.replace("interval_secs: 3600", "interval_secs: 60")))
    changed = AuditEntry.objects.filter(action__in=("job.update", "schedule.update", "calendar.update"))
    assert [(entry.action, entry.after) for entry in changed] == [("schedule.update", {"interval_secs": 60})]
    assert Schedule.objects.get(name="nightly").updated_at == untouched.updated_at


def test_what_a_file_does_not_say_of_a_job_has_its_default_and_schedules_it_does_not_list_stay():
    import_all(check())
    found = check("hetuflow: 1\njobs:\n- {name: backup, config: {cmd: bash, args: [-c, date]}}\n")
    assert found.targets.get().outcome["others"] == 3
    import_all(found)
    job = Job.objects.get(name="backup")
    assert (job.command, job.tags, job.config["labels"], job.parameters_schema) == ("", [], {}, None)
    assert job.schedules.count() == 3


def test_a_schedule_is_known_by_its_name_and_of_twins_the_one_that_is_as_the_file_says():
    job = factories.job(name="twins")
    first, second = (
        factories.schedule(job=job, name="x", kind="interval", interval_secs=secs) for secs in (10, 20)
    )
    text = """hetuflow: 1
jobs:
- name: twins
  config: {cmd: bash, args: [-c, "true"]}
  schedules:
  - {name: x, kind: interval, interval_secs: 30}
  - {name: x, kind: interval, interval_secs: 10}
"""
    import_all(check(text))
    assert dict(job.schedules.values_list("pk", "interval_secs")) == {first.pk: 10, second.pk: 30}


def test_a_schedule_that_has_ended_is_no_change():
    job = factories.job(name="old")
    factories.schedule(job=job, kind="once", start_time=NOW, name="x")
    Schedule.objects.update(status="expired", next_run_at=None, run_count=1)
    text = file_of_all()
    assert "enabled: false" in text
    assert told(check(text)) == {"default/old": "keep"}
    assert not Task.objects.exists()


# --- between check and import -----------------------------------------------------------------------------


def test_what_was_changed_since_it_was_looked_at_is_refused():
    import_all(check())
    found = check(FILE.replace("max_retries: 3", "max_retries: 5"))
    job = Job.objects.get(name="backup")
    definitions.update_job(job_id=job.pk, now=NOW, description="by hand")
    assert told(import_all(found)) == {"default/backup": str(ChangedMeanwhile())}
    job.refresh_from_db()
    assert (job.description, job.config["max_retries"]) == ("by hand", 3)


def test_a_calendar_that_was_changed_since_is_refused_and_what_is_as_wanted_by_now_is_not():
    import_all(check())
    found = check(FILE.replace("18:00", "17:00"))
    office = Calendar.objects.get()
    update_calendar(calendar_id=office.pk, description="by hand")
    assert told(import_all(found)) == {"default/office": str(ChangedMeanwhile())}
    update_calendar(calendar_id=office.pk, description="")
    update_calendar(
        calendar_id=office.pk, windows=[{"weekdays": [1, 2, 3, 4, 5], "from": "09:00", "to": "17:00"}]
    )
    assert told(import_all(found)) == {"default/office": "keep"}


def test_a_check_that_has_not_ended_cannot_be_imported():
    user = people.person(superuser=True)
    action = importing.begin_check(entries=read(FILE.encode()), user=user, by=ANN)
    with pytest.raises(InvalidState):
        importing.begin_import(check_id=action.pk, user=user, by=ANN)
    with pytest.raises(BulkAction.DoesNotExist):
        importing.begin_import(check_id=0, user=user, by=ANN)


def test_an_import_twice_changes_once():
    found = check()
    import_all(found)
    before = file_of_all()
    assert set(told(import_all(found)).values()) == {"keep"}
    assert file_of_all() == before


# --- who may ----------------------------------------------------------------------------------------------


def test_each_entry_is_asked_of_in_its_namespace():
    found = told(check(user=people.with_role("editor", "other")))
    assert found["other/plain"] == "create"
    assert found["default/backup"] == "Your role in this namespace does not allow it."
    assert set(told(check(user=people.with_role("viewer"))).values()) == {
        "Your role in this namespace does not allow it."
    }


def test_a_role_that_was_taken_away_since_counts():
    user = people.with_role("editor")
    found = check(user=user)
    user.groups.all().delete()
    assert set(told(import_all(found)).values()) == {"Your role in this namespace does not allow it."}
    assert not Job.objects.exists()


# --- many at work on it -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_any_number_of_processes_import_each_entry_once():
    jobs = "".join(
        f"- {{name: j{number}, config: {{cmd: sh, args: [x]}}, "
        f"schedules: [{{kind: interval, interval_secs: 9, calendar: c{number % 3}}}]}}\n"
        for number in range(30)
    )
    calendars = "".join(f"- {{name: c{number}}}\n" for number in range(3))
    text = f"hetuflow: 1\ncalendars:\n{calendars}jobs:\n{jobs}"
    user = people.person(superuser=True)
    action = importing.begin_check(entries=read(text.encode()), user=user, by=ANN)
    at_once(*[run_all] * 3)
    found = importing.begin_import(check_id=action.pk, user=user, by=ANN)
    at_once(*[run_all] * 3)
    until_ended(found)
    assert set(told(found).values()) <= {"create", "keep"}
    assert (Job.objects.count(), Schedule.objects.count(), Calendar.objects.count()) == (30, 30, 3)
