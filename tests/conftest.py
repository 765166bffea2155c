import pytest
from django.contrib.auth import get_user_model

from scheduling.admin import overview
from tests.openapi import CheckedClient


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Let no test see the figures of the one before."""
    overview.forget()


@pytest.fixture
def api(db):
    """A REST client of the user ann, who is logged in; answers must be as the OpenAPI document says."""
    client = CheckedClient()
    client.force_authenticate(get_user_model().objects.create_superuser("ann"))
    return client


@pytest.fixture
def anonymous(db):
    return CheckedClient()
