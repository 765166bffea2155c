import pytest
from django.db import connection


@pytest.mark.django_db
def test_the_suite_runs_on_a_postgresql_of_its_own() -> None:
    assert connection.vendor == "postgresql"
    assert "hf-test-" in str(
        connection.settings_dict["OPTIONS"].get("host") or connection.settings_dict["HOST"]
    )
