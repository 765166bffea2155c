"""How a machine gets in with a secret that is good once."""

import hashlib
import uuid
from datetime import timedelta

import pytest

from access.models import AuditEntry
from agents import enrollment, tokens
from agents.clock import database_now
from agents.errors import AgentAlreadyExists, TokenRefused, TokenUsed, WrongAgent
from agents.models import Agent, AgentToken, EnrollmentToken
from agents.services import archive_agent
from tests import factories
from tests.races import at_once

pytestmark = pytest.mark.django_db
QUARTER = timedelta(minutes=15)


def create(**fields):
    return enrollment.create_enrollment_token(now=fields.pop("now", None) or database_now(), **fields)


def enroll(secret, **fields):
    return enrollment.enroll(secret=secret, now=fields.pop("now", None) or database_now(), **fields)


def test_of_an_enrolment_token_only_its_digest_is_stored():
    now = database_now()
    created = create(now=now, name="build-7", labels={"zone": "a"}, by=factories.ANN)
    stored = EnrollmentToken.objects.values().get()
    assert stored["digest"] == hashlib.sha256(created.secret.encode()).hexdigest()
    assert created.secret.startswith("hfe_")
    assert len(created.secret.removeprefix("hfe_")) * 6 >= 256
    assert (stored["name"], stored["labels"], stored["created_by"]) == ("build-7", {"zone": "a"}, "ann")
    assert (stored["created_at"], stored["expires_at"]) == (now, now + QUARTER)
    assert created.secret not in str(stored)


def test_a_machine_becomes_the_agent_that_the_operator_described():
    created, now = create(name="build-7", labels={"zone": "a"}, by=factories.ANN), database_now()
    agent, issued = enroll(created.secret, now=now, name="mine", hostname="box.example")
    assert (agent.name, agent.hostname, agent.labels) == ("build-7", "box.example", {"zone": "a"})
    assert tokens.authenticate_token(secret=issued.secret, now=now).agent == agent
    assert (issued.row.name, issued.row.created_by) == ("enrolment", "ann")
    created.row.refresh_from_db()
    assert (created.row.used_at, created.row.agent) == (now, agent)
    assert created.row.state(now=now) == "used"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"name": "mine", "hostname": "box"}, "mine"),
        ({"hostname": "box"}, "box"),
        ({"agent_id": uuid.UUID(int=7)}, "agent-000000000007"),
    ],
)
def test_without_the_operators_word_the_machine_says_what_it_is_called(said, name):
    agent, _issued = enroll(create().secret, **said)
    assert agent.name == name


def test_a_machine_can_bring_its_id():
    agent_id = uuid.uuid4()
    agent, issued = enroll(create().secret, agent_id=agent_id)
    assert agent.pk == agent_id
    assert issued.secret.startswith(f"hfa_{agent_id.hex}_")


def test_a_machine_can_become_an_agent_that_was_registered_before():
    registered = factories.agent()
    created = create(agent=registered)
    with pytest.raises(WrongAgent):
        enroll(created.secret, agent_id=uuid.uuid4())
    agent, issued = enroll(created.secret, agent_id=registered.pk, name="ignored", hostname="box")
    assert (agent, agent.name, agent.hostname) == (registered, registered.name, "box")
    assert tokens.authenticate_token(secret=issued.secret, now=database_now()).agent == registered
    assert Agent.objects.count() == 1


@pytest.mark.parametrize("why", ["unknown", "agent token", "used", "expired", "revoked", "agent is gone"])
def test_every_cause_of_refusal_is_the_same(why):
    registered, now = factories.agent(), database_now()
    created = create(agent=registered, now=now)
    secret = created.secret
    if why == "unknown":
        secret = secret[:-1] + ("x" if secret[-1] != "x" else "y")
    elif why == "agent token":
        secret = tokens.issue_token(agent=registered).secret
    elif why == "used":
        enroll(secret, now=now)
    elif why == "expired":
        now += QUARTER
    elif why == "revoked":
        enrollment.revoke_enrollment_token(token_id=created.row.pk)
    elif why == "agent is gone":
        archive_agent(agent_id=registered.pk, now=now)
    before = AgentToken.objects.count()
    with pytest.raises(TokenRefused) as refusal:
        enroll(secret, now=now)
    assert str(refusal.value) == "The token is unknown, used, expired or revoked."
    assert AgentToken.objects.count() == before


@pytest.mark.parametrize("taken", ["name", "agent_id"])
def test_a_name_or_id_that_is_taken_leaves_the_token_good(taken):
    other = factories.agent()
    said = {"name": other.name} if taken == "name" else {"agent_id": other.pk}
    created = create()
    with pytest.raises(AgentAlreadyExists):
        enroll(created.secret, **said)
    created.row.refresh_from_db()
    assert (created.row.used_at, created.row.agent) == (None, None)
    assert AgentToken.objects.count() == 0
    agent, _issued = enroll(created.secret, name="free")
    assert agent.name == "free"


def test_a_used_token_cannot_be_revoked_and_stays_in_the_list():
    created = create()
    enroll(created.secret)
    with pytest.raises(TokenUsed):
        enrollment.revoke_enrollment_token(token_id=created.row.pk)
    assert EnrollmentToken.objects.filter(pk=created.row.pk).exists()


def test_tokens_that_ended_a_month_ago_are_forgotten():
    now = database_now()
    old, used = create(now=now), create(now=now)
    enroll(used.secret, now=now)
    create(now=now + timedelta(days=30) + QUARTER)
    assert EnrollmentToken.objects.filter(pk__in=[old.row.pk, used.row.pk]).count() == 2
    create(now=now + timedelta(days=31))
    assert not EnrollmentToken.objects.filter(pk__in=[old.row.pk, used.row.pk]).exists()
    assert Agent.objects.count() == 1


def test_whatever_is_done_is_in_the_audit_log_without_a_secret():
    created, withdrawn = (create(name=name, by=factories.ANN) for name in ("build-7", "build-8"))
    enrollment.revoke_enrollment_token(token_id=withdrawn.row.pk, by=factories.ANN)
    agent, issued = enroll(created.secret, address="10.0.0.7")
    entries = list(AuditEntry.objects.order_by("pk"))
    assert [(entry.action, entry.actor, entry.token) for entry in entries] == [
        ("enrollment_token.create", "ann", ""),
        ("enrollment_token.create", "ann", ""),
        ("enrollment_token.revoke", "ann", ""),
        ("agent.create", "ann", f"enrolment {created.row.pk}"),
        ("agent_token.create", "ann", f"enrolment {created.row.pk}"),
        ("enrollment_token.use", "ann", f"enrolment {created.row.pk}"),
    ]
    assert {entry.address for entry in entries[3:]} == {"10.0.0.7"}
    assert entries[-1].after == {"agent": agent.name}
    everything = str(list(AuditEntry.objects.values()))
    assert not any(secret in everything for secret in (created.secret, issued.secret))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_registered", [False, True])
def test_of_two_machines_with_one_token_at_once_exactly_one_gets_in(is_registered):
    registered = factories.agent() if is_registered else None
    agents = Agent.objects.count()
    for _ in range(5):
        created = create(agent=registered)
        before = AgentToken.objects.count()

        def come(number, secret=created.secret):
            try:
                return enroll(secret, hostname=f"box-{number}-{secret[:12]}")
            except TokenRefused:
                return None

        results = at_once(*[lambda number=number, come=come: come(number) for number in range(3)])
        (winner,) = [result for result in results if result is not None]
        created.row.refresh_from_db()
        assert created.row.agent == winner[0]
        assert AgentToken.objects.count() == before + 1
    assert Agent.objects.count() == agents + (0 if is_registered else 5)


@pytest.mark.django_db(transaction=True)
def test_a_machine_and_a_revocation_at_once_do_not_both_succeed():
    for _ in range(5):
        created = create()

        def revoke(token_id=created.row.pk):
            try:
                enrollment.revoke_enrollment_token(token_id=token_id)
            except TokenUsed:
                return False
            return True

        def come(secret=created.secret):
            try:
                enroll(secret)
            except TokenRefused:
                return False
            return True

        assert sorted(at_once(revoke, come)) == [False, True]
