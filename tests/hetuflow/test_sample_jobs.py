import pytest

from hetuflow import sample_jobs
from hetuflow.data_folder import DataFolder
from scheduling.models import Job, Schedule, Task
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path)


def test_a_new_installation_gets_samples_once_and_sees_one_fail_at_once(folder):
    assert sample_jobs.load_once(folder, now=NOW)
    assert not sample_jobs.load_once(folder, now=NOW)
    assert (Job.objects.count(), Schedule.objects.count()) == (4, 4)
    assert [task.job.name for task in Task.objects.all()] == ["always-fails"]


def test_an_installation_with_jobs_gets_no_samples(folder):
    factories.job(name="mine")
    assert not sample_jobs.load_once(folder, now=NOW)
    assert [job.name for job in Job.objects.all()] == ["mine"]


def test_the_icon_that_browsers_ask_for_is_there(client):
    response = client.get("/favicon.ico", follow=True)
    assert b"<svg" in b"".join(response)
    response.close()
    assert (response.status_code, response["content-type"]) == (200, "image/svg+xml")
