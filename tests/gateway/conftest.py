import pytest

from agents.tokens import issue_token
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
