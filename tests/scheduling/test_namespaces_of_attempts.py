import importlib
from types import SimpleNamespace

from django.db import connection

from scheduling.models import TaskInstance
from scheduling.services.claiming import claim
from scheduling.services.definitions import update_job
from tests import factories
from tests.factories import NOW


def test_an_attempt_is_in_its_tasks_namespace_wherever_the_job_went(db):
    job, agent = factories.job(namespace="ops"), factories.agent()
    task = factories.task(job=job)
    update_job(job_id=job.pk, now=NOW, namespace="elsewhere")
    claim(slots={agent.pk: 1}, now=NOW, lead_secs=2, lease_secs=30)
    assert TaskInstance.objects.get(task=task).namespace == "ops"


def test_attempts_of_an_earlier_version_get_their_tasks_namespaces(db):
    agent = factories.agent()
    for namespace in ("ops", "biz"):
        factories.task(job=factories.job(namespace=namespace))
    claim(slots={agent.pk: 2}, now=NOW, lead_secs=2, lease_secs=30)
    TaskInstance.objects.update(namespace="")
    migration = importlib.import_module("scheduling.migrations.0009_list_indexes")
    migration.fill(None, SimpleNamespace(connection=connection))
    found = TaskInstance.objects.values_list("task__namespace", "namespace")
    assert sorted(found) == [("biz", "biz"), ("ops", "ops")]


def test_an_attempt_that_an_earlier_version_begins_gets_its_tasks_namespace(db):
    task = factories.task(job=factories.job(namespace="ops"))
    attempt = TaskInstance.objects.create(task=task, job=task.job, attempt=1, token=1)
    attempt.refresh_from_db()
    assert attempt.namespace == "ops"
