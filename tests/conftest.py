import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient


@pytest.fixture
def api(db):
    """A REST client of the user ann, who is logged in."""
    client = APIClient()
    client.force_authenticate(get_user_model().objects.create_superuser("ann"))
    client.default_format = "json"
    return client


@pytest.fixture
def anonymous(db):
    client = APIClient()
    client.default_format = "json"
    return client
