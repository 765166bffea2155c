"""REST of how long history is kept."""

import pytest

from access.roles import Role
from scheduling.models import RetentionRule
from tests import factories, people

pytestmark = pytest.mark.django_db
URL = "/api/v1/retention-rules"


def attrs(response):
    return {error["attr"] for error in response.json()["errors"]}


@pytest.mark.parametrize("path", [URL, f"{URL}/create"])
def test_a_rule_is_made_changed_and_deleted(api, path):
    created = api.post(path, {"namespace": "default", "keep_days": 30})
    assert created.status_code == 201
    rule = created.json()
    assert (rule["namespace"], rule["job_id"]) == ("default", None)
    assert (rule["keep_days"], rule["keep_last"]) == (30, None)
    changed = api.patch(f"{URL}/{rule['id']}", {"keep_last": 10})
    assert (changed.status_code, changed.json()["keep_last"], changed.json()["keep_days"]) == (200, 10, 30)
    assert api.delete(f"{URL}/{rule['id']}").status_code == 204
    assert api.get(URL).json()["data"] == []


def test_a_rule_for_a_job_is_in_the_jobs_namespace(api):
    job = factories.job(namespace="shop")
    rule = api.post(URL, {"job_id": job.pk, "keep_last": 5}).json()
    assert (rule["namespace"], rule["job_id"]) == ("shop", job.pk)
    assert api.post(URL, {"job_id": job.pk, "keep_last": 6}).status_code == 409


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"keep_days": 1}, {"namespace"}),
        ({"namespace": "default"}, {"keep_days"}),
        ({"namespace": "default", "keep_days": -1}, {"keep_days"}),
        ({"namespace": "default", "keep_days": True}, {"keep_days"}),
        ({"namespace": "default", "keep_last": 100_001}, {"keep_last"}),
        ({"job_id": 2**40, "keep_days": 1}, {"job_id"}),
        ({"namespace": "default", "keep_days": 1, "id": 5}, {"id"}),
    ],
)
def test_a_bad_rule_is_a_400_by_field(api, body, fields):
    response = api.post(URL, body)
    assert (response.status_code, attrs(response)) == (400, fields)
    assert not RetentionRule.objects.exists()


def test_a_job_of_another_namespace_than_the_rule_is_refused(api):
    job = factories.job(namespace="shop")
    response = api.post(URL, {"job_id": job.pk, "namespace": "default", "keep_days": 1})
    assert (response.status_code, attrs(response)) == (400, {"namespace"})


def test_the_rule_for_all_takes_an_admin_of_all():
    admin = people.session_of(people.with_role(Role.ADMIN, "shop"))
    assert admin.post(URL, {"namespace": "shop", "keep_days": 1}).status_code == 201
    assert admin.post(URL, {"namespace": "*", "keep_days": 1}).status_code == 403
    of_all = people.session_of(people.with_role(Role.ADMIN))
    assert of_all.post(URL, {"namespace": "*", "keep_days": 1}).status_code == 201
    editor = people.session_of(people.with_role(Role.EDITOR, "shop"))
    assert editor.post(URL, {"namespace": "shop", "keep_days": 1}).status_code == 403
