import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["jobs", "jobs/create"])
def test_options_tell_the_fields_of_the_request_that_a_path_takes(api, path):
    answer = api.options(f"/api/v1/{path}")
    assert answer.status_code == 200
    fields = answer.json()["actions"]["POST"]
    assert fields["name"]["required"]
    assert "created_at" not in fields


def test_options_of_a_path_that_only_asks_are_answered(api):
    assert api.options("/api/v1/audit/query").status_code == 200


def test_options_tell_nothing_that_the_caller_may_not_do(db):
    stranger = APIClient()
    stranger.force_authenticate(get_user_model().objects.create_user("bob"))
    answer = stranger.options("/api/v1/jobs")
    assert answer.status_code == 200
    assert "actions" not in answer.json()
