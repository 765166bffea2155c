"""Jobs and schedules become again what they were, told by the audit log."""

from datetime import timedelta

import pytest

from access.models import AuditEntry
from scheduling.errors import ChangedMeanwhile, InvalidField
from scheduling.models import Calendar, Job, Schedule
from scheduling.services.calendars import create_calendar
from scheduling.services.definitions import update_job, update_schedule
from scheduling.services.restoring import changes_of, fields_at, newest_id, restore_job, restore_schedule
from tests import factories
from tests.factories import ANN, NOW

pytestmark = pytest.mark.django_db


def change(job, **fields):
    """Change a job and return the entry about it."""
    update_job(job_id=job.pk, now=NOW, by=ANN, **fields)
    return changes_of(job).first()


def restore(job, entry, **how):
    how.setdefault("seen_id", newest_id(job))
    return restore_job(job_id=job.pk, entry_id=entry.pk, now=NOW, by=ANN, **how)


def test_a_job_is_again_what_it_was_after_any_of_its_changes():
    job = factories.job(command="echo 1", args=[], environment={"A": "1"}, config={"max_retries": 1})
    created = changes_of(job).get()
    second = change(job, command="echo 2", config={"max_retries": 2}, tags=["x"])
    change(job, environment={"B": "2"}, config={"timeout_secs": 7}, parameters_schema={"type": "object"})
    restored = restore(job, second)
    assert (restored.command, restored.environment, restored.tags) == ("echo 2", {"A": "1"}, ["x"])
    assert (restored.config["max_retries"], restored.config["timeout_secs"]) == (2, 3600)
    assert restored.parameters_schema is None
    restored = restore(job, created)
    assert (restored.command, restored.config["max_retries"], restored.tags) == ("echo 1", 1, [])
    assert restored.task_config["args"] == ["-c", "echo 1"]


def test_restoring_is_a_change_that_is_written_down_and_can_be_taken_back():
    job = factories.job(description="first")
    created = changes_of(job).get()
    second = change(job, description="second")
    restore(job, created)
    newest = changes_of(job).first()
    assert (newest.action, newest.actor) == ("job.update", "ann")
    assert (newest.before, newest.after) == ({"description": "second"}, {"description": "first"})
    assert restore(job, second).description == "second"


def test_where_a_job_belongs_and_whether_it_is_enabled_stays():
    job = factories.job(namespace="old", description="first")
    created = changes_of(job).get()
    change(job, namespace="new", enabled=False, description="second")
    restored = restore(job, created)
    assert (restored.namespace, restored.enabled, restored.description) == ("new", False, "first")


def test_who_did_not_see_the_newest_change_restores_nothing():
    job = factories.job(description="first")
    created = changes_of(job).get()
    seen = change(job, description="second")
    change(job, description="third")
    with pytest.raises(ChangedMeanwhile):
        restore(job, created, seen_id=seen.pk)
    assert Job.objects.get().description == "third"


def test_an_entry_of_another_job_is_none_of_this_one():
    job, other = factories.job(), factories.job()
    with pytest.raises(AuditEntry.DoesNotExist):
        restore(job, changes_of(other).get())


def test_what_is_not_sound_any_more_is_refused():
    job = factories.job(name="first")
    created = changes_of(job).get()
    change(job, name="second", parameters_schema={"type": "object"})
    schema = {"type": "object", "required": ["day"]}
    factories.schedule(job=job, parameters={"day": "x"})
    third = change(job, parameters_schema=schema)
    change(job, parameters_schema=None)
    update_schedule(schedule_id=Schedule.objects.get().pk, now=NOW, parameters={})
    with pytest.raises(InvalidField, match="does not fit"):
        restore(job, third)
    assert restore(job, created).name == "first"


def test_a_schedule_is_again_what_it_was_and_planned_anew():
    calendar = create_calendar(name="office")
    schedule = factories.schedule(
        kind="cron", cron_expression="0 3 * * *", calendar=calendar, start_time=NOW, parameters={"a": 1}
    )
    created = changes_of(schedule).get()
    update_schedule(
        schedule_id=schedule.pk,
        now=NOW,
        cron_expression="0 4 * * *",
        calendar=None,
        start_time=NOW + timedelta(days=1),
        parameters={},
        status="disabled",
    )
    how = {"entry_id": created.pk, "now": NOW, "by": ANN}
    restored = restore_schedule(schedule_id=schedule.pk, seen_id=newest_id(schedule), **how)
    assert (restored.cron_expression, restored.calendar_id, restored.start_time) == (
        "0 3 * * *",
        calendar.pk,
        NOW,
    )
    assert (restored.parameters, restored.status) == ({"a": 1}, "disabled")


def test_a_schedule_does_not_get_back_a_calendar_that_is_gone():
    calendar = create_calendar(name="office")
    schedule = factories.schedule(calendar=calendar)
    created = changes_of(schedule).get()
    update_schedule(schedule_id=schedule.pk, now=NOW, calendar=None)
    Calendar.objects.all().delete()
    with pytest.raises(InvalidField, match="is gone"):
        restore_schedule(schedule_id=schedule.pk, entry_id=created.pk, seen_id=newest_id(schedule), now=NOW)


def test_what_it_is_already_takes_no_change():
    job = factories.job()
    assert fields_at(job, changes_of(job).get()) == {}
    restore(job, changes_of(job).get())
    assert changes_of(job).count() == 1
