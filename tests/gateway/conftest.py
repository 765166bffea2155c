import pytest
from django.contrib.auth import get_user_model

from access import tokens
from agents.tokens import issue_token
from gateway import system
from gateway.runtime import Runtime
from tests import factories, processes


@pytest.fixture
def credentials():
    """An agent's id and a token of it."""
    return new_credentials()


@pytest.fixture
def port(credentials):
    """The port of a server that runs for the test."""
    with processes.server() as port:
        yield port


def new_credentials(**fields):
    agent = factories.agent(**fields)
    return {"agent_id": str(agent.id), "token": issue_token(agent=agent).secret}


@pytest.fixture
def token(db):
    """The header of a person with an API token."""
    _stored, token = tokens.issue(user=get_user_model().objects.create_superuser("ben"), name="ben's")
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def runtime(monkeypatch):
    """A gateway of this process, whose loops do not run."""
    runtime = Runtime()
    monkeypatch.setattr(system, "runtime_of_process", lambda: runtime)
    return runtime
