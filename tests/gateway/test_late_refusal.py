import uuid

import pytest

from agents.protocol import messages
from agents.tokens import issue_token
from gateway.models import Server
from gateway.services import decline_attempts, open_session
from scheduling.models import TaskInstance
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def server():
    return Server.objects.create(name="s", version="1", started_at=NOW, last_heartbeat_at=NOW)


def register(agent, server, session_id):
    """Begin a session of an agent that holds nothing."""
    return open_session(
        agent_id=agent.id,
        token_id=issue_token(agent=agent).row.pk,
        session_id=session_id,
        server_id=server.pk,
        remote_address="",
        register=messages.Register(
            protocol=1,
            agent_id=agent.id,
            epoch=agent.id,
            name="a",
            version="1",
            hostname="h",
            labels={},
            capabilities=messages.Capabilities(max_concurrent_tasks=2, commands=["bash"]),
        ),
        now=NOW,
        lease_secs=30,
    )


@pytest.mark.parametrize(("reconnects", "status"), [(False, "skipped"), (True, "pending")])
def test_a_refusal_counts_only_while_its_session_lasts(server, reconnects, status):
    agent, session_id = factories.agent(), uuid.uuid4()
    register(agent, server, session_id)
    factories.task()
    (started,) = claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    if reconnects:
        resent = register(agent, server, uuid.uuid4()).resend
        assert [attempt.instance_id for attempt in resent] == [started.instance_id]
    key = AttemptKey(agent_id=agent.id, instance_id=started.instance_id, token=started.token)
    decline_attempts([(session_id, key, "no free slot")], now=NOW)
    assert TaskInstance.objects.get().status == status
