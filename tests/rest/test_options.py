import pytest

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["jobs", "jobs/create", "audit/query"])
def test_options_are_answered_and_tell_no_fields_which_the_document_tells(api, path):
    answer = api.options(f"/api/v1/{path}")
    assert answer.status_code == 200
    assert "actions" not in answer.json()
