"""The parameters of runs fit the schema of their job, whoever asks for the run."""

from datetime import timedelta

import pytest

from scheduling.errors import InvalidField
from scheduling.models import Job, Schedule, Task
from scheduling.services.backfilling import run_once as run_backfills
from scheduling.services.backfills import create_backfill
from scheduling.services.definitions import create_job, update_job, update_schedule
from scheduling.services.manual import update_task
from scheduling.services.planning import run_once
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
SCHEMA = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date"},
        "level": {"type": "integer", "minimum": 1, "default": 3},
    },
    "required": ["day"],
    "additionalProperties": False,
}


def job(**fields):
    return factories.job(parameters_schema=SCHEMA, **fields)


def refused(call, *args, **kwargs):
    with pytest.raises(InvalidField) as caught:
        call(*args, **kwargs)
    return caught.value.errors


def test_a_run_by_hand_gets_the_defaults_of_what_it_does_not_say():
    assert factories.task(job=job(), parameters={"day": "2026-03-02"}).parameters == {
        "day": "2026-03-02",
        "level": 3,
    }


def test_a_run_by_hand_that_does_not_fit_is_refused_at_each_parameter():
    errors = refused(factories.task, job=job(), parameters={"level": 0, "typo": 1})
    assert errors.keys() == {"parameters.day", "parameters.level", "parameters.typo"}
    assert not Task.objects.exists()


def test_a_task_is_changed_to_parameters_that_fit_alone():
    task = factories.task(job=job(), parameters={"day": "2026-03-02"})
    errors = refused(update_task, task_id=task.pk, now=NOW, parameters={"day": "monday"})
    assert errors.keys() == {"parameters.day"}
    changed = update_task(task_id=task.pk, now=NOW, parameters={"day": "2026-03-03"})
    assert changed.parameters == {"day": "2026-03-03", "level": 3}


def test_a_schedule_whose_parameters_do_not_fit_is_refused():
    owner = job()
    assert refused(factories.schedule, job=owner).keys() == {"parameters.day"}
    schedule = factories.schedule(job=owner, parameters={"day": "{{ date }}"})
    errors = refused(update_schedule, schedule_id=schedule.pk, now=NOW, parameters={"day": "{{ date }}!"})
    assert errors.keys() == {"parameters.day"}
    assert Schedule.objects.get().parameters == {"day": "{{ date }}"}


def test_planned_runs_get_the_defaults_and_what_the_schedule_says():
    factories.schedule(job=job(), parameters={"day": "{{ date }}"})
    run_once(now=NOW, horizon_secs=6, catch_up_secs=60)
    assert Task.objects.get().parameters == {"day": "2026-03-02", "level": 3}


def test_runs_of_a_backfill_get_them_too():
    schedule = factories.schedule(job=job(), parameters={"day": "{{ date }}", "level": 7})
    create_backfill(schedule_id=schedule.pk, range_from=NOW - timedelta(seconds=4), range_to=NOW, now=NOW)
    run_backfills(now=NOW)
    assert {str(task.parameters) for task in Task.objects.all()} == {"{'day': '2026-03-02', 'level': 7}"}


def test_a_job_has_no_schema_that_one_of_its_schedules_breaks():
    owner = factories.job()
    factories.schedule(job=owner, name="nightly", parameters={"day": "monday"})
    errors = refused(update_job, job_id=owner.pk, now=NOW, parameters_schema=SCHEMA)
    assert "'nightly'" in errors["parameters_schema"]
    assert "parameters.day" in errors["parameters_schema"]
    assert Job.objects.get().parameters_schema is None


def test_a_schema_that_is_none_is_refused_and_one_that_is_taken_away_is_gone():
    assert refused(
        create_job, name="x", config={"cmd": "sh"}, parameters_schema={"type": "string"}
    ).keys() == {"parameters_schema"}
    owner = update_job(job_id=job().pk, now=NOW, parameters_schema=None)
    assert (owner.parameters_schema, owner.parameter_defaults) == (None, {})
    assert factories.task(job=owner, parameters={"any": 1}).parameters == {"any": 1}
