"""REST of agents' tokens: who may issue, see, rotate and revoke them, and what is answered."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from access import tokens as api_tokens
from access.models import AuditEntry, Grant
from agents.clock import database_now
from agents.errors import TokenRefused
from agents.models import AgentToken
from agents.tokens import authenticate_token, issue_token, revoke_token
from tests import factories

pytestmark = pytest.mark.django_db
FIELDS = ["id", "name", "state", "created_by", "created_at", "last_used_at", "expires_at", "revoked_at"]


def url(agent, below=""):
    return f"/api/v1/agents/{agent.pk}/tokens{below}"


def attrs(response):
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


def is_good(secret, *, now=None):
    try:
        authenticate_token(secret=secret, now=now or database_now())
    except TokenRefused:
        return False
    return True


def client_with(role, namespace="*", scope=None):
    """Return a client of somebody with a role, by session or by a token of a scope."""
    user, group = User.objects.create_user(f"u{uuid.uuid4().hex}"), Group.objects.create(name=uuid.uuid4())
    user.groups.add(group)
    Grant.objects.create(group=group, namespace=namespace, role=role)
    client = APIClient()
    client.default_format = "json"
    if scope is None:
        client.force_login(user)
    else:
        _token, secret = api_tokens.issue(user=user, name="t", scope=scope)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def client_of_agent(agent):
    client = APIClient()
    client.default_format = "json"
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issue_token(agent=agent).secret}")
    return client


def test_a_token_is_issued_with_its_secret_shown_once(api):
    agent = factories.agent()
    expires_at = database_now() + timedelta(days=1)
    response = api.post(url(agent), {"name": "laptop", "expires_at": expires_at.isoformat()})
    created = response.json()
    assert (response.status_code, list(created)) == (201, [*FIELDS, "token"])
    assert (created["name"], created["state"], created["created_by"]) == ("laptop", "valid", "ann")
    assert is_good(created.pop("token"))
    listed = api.get(url(agent)).json()
    assert listed == {"page": {"total": 1, "page": 1, "limit": 20, "has_more": False}, "data": [created]}


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"name": 7}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"digest": "x"}, "digest"),
        ({"created_by": "root"}, "created_by"),
        ({"token": "hfa_x"}, "token"),
    ],
)
def test_a_bad_token_is_a_400_and_none_is_issued(api, body, attr):
    response = api.post(url(factories.agent()), body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])
    assert not AgentToken.objects.exists()


def test_an_issue_that_is_repeated_with_its_key_does_not_show_the_secret_again(api):
    agent, headers = factories.agent(), {"Idempotency-Key": "once"}
    first = api.post(url(agent), {"name": "laptop"}, headers=headers).json()
    again = api.post(url(agent), {"name": "laptop"}, headers=headers).json()
    assert again == first | {"token": None}
    assert AgentToken.objects.count() == 1


def test_tokens_that_ended_are_listed_with_their_state(api):
    agent, now = factories.agent(), database_now()
    issue_token(agent=agent, name="old", expires_at=now - timedelta(seconds=1))
    revoke_token(token_id=issue_token(agent=agent, name="lost").row.pk, now=now)
    issue_token(agent=agent, name="good")
    issue_token(agent=factories.agent(), name="of another agent")
    listed = api.get(url(agent) + "?order_by=id").json()["data"]
    assert [(token["name"], token["state"]) for token in listed] == [
        ("old", "expired"),
        ("lost", "revoked"),
        ("good", "valid"),
    ]
    assert [token["name"] for token in api.get(url(agent) + "?name=good").json()["data"]] == ["good"]


def test_a_list_of_tokens_takes_one_statement_for_the_rows(api, django_assert_num_queries):
    agent = factories.agent()
    for _ in range(20):
        issue_token(agent=agent)
    # May the caller see the agent; the agent; its tokens; the time.
    with django_assert_num_queries(4):
        assert len(api.get(url(agent) + "?limit=50").json()["data"]) == 20


@pytest.mark.parametrize(("body", "overlap"), [({}, timedelta(days=1)), ({"overlap_secs": 0}, timedelta(0))])
def test_a_rotation_answers_the_new_token_and_ends_the_others(api, body, overlap):
    agent = factories.agent()
    old = issue_token(agent=agent, name="enrolment")
    begin = database_now()
    response = api.post(url(agent, "/rotate"), body)
    fresh = response.json()
    assert (response.status_code, list(fresh)) == (201, [*FIELDS, "token"])
    assert (fresh["name"], fresh["expires_at"], fresh["created_by"]) == ("enrolment", None, "ann")
    assert is_good(fresh["token"])
    old.row.refresh_from_db()
    assert begin + overlap <= old.row.expires_at <= database_now() + overlap


@pytest.mark.parametrize("overlap", [-1, 30 * 86_400 + 1, "60", 0.5])
def test_a_bad_overlap_is_a_400_and_changes_nothing(api, overlap):
    agent = factories.agent()
    old = issue_token(agent=agent)
    response = api.post(url(agent, "/rotate"), {"overlap_secs": overlap})
    assert (response.status_code, list(attrs(response))) == (400, ["overlap_secs"])
    assert list(AgentToken.objects.values_list("pk", "expires_at")) == [(old.row.pk, None)]


def test_a_revoked_token_is_good_for_nothing_and_may_be_revoked_again(api):
    agent = factories.agent()
    issued = issue_token(agent=agent)
    for _ in range(2):
        assert api.delete(url(agent, f"/{issued.row.pk}")).status_code == 204
    assert not is_good(issued.secret)


def test_a_token_is_found_below_its_own_agent_only(api):
    agent, other = factories.agent(), factories.agent()
    issued = issue_token(agent=other)
    for below in (f"/{issued.row.pk}", "/123456", "/99999999999999999999"):
        assert api.delete(url(agent, below)).status_code == 404
    assert is_good(issued.secret)


def test_an_agent_that_is_not_there_has_no_tokens(api):
    gone = factories.agent()
    api.delete(f"/api/v1/agents/{gone.pk}")
    assert [
        api.get(url(gone)).status_code,
        api.post(url(gone), {}).status_code,
        api.post(url(gone, "/rotate"), {}).status_code,
        api.delete(url(gone, "/1")).status_code,
    ] == [404] * 4


def test_an_agent_may_rotate_its_own_token_and_nothing_else(db):
    agent, other = factories.agent(), factories.agent()
    client = client_of_agent(agent)
    fresh = client.post(url(agent, "/rotate"), {}).json()
    assert is_good(fresh["token"])
    assert (fresh["created_by"], AgentToken.objects.get(pk=fresh["id"]).agent) == (agent.name, agent)
    assert client.post(url(other, "/rotate"), {}).status_code == 404
    assert [
        client.get(url(agent)).status_code,
        client.post(url(agent), {}).status_code,
        client.delete(url(agent, f"/{fresh['id']}")).status_code,
        client.get("/api/v1/agents/enrollment-tokens").status_code,
        client.post("/api/v1/agents/enrollment-tokens", {}).status_code,
    ] == [403] * 5
    entry = AuditEntry.objects.get(action="agent_token.rotate")
    assert (entry.actor_kind, entry.actor, entry.subject_id) == ("agent", agent.name, str(fresh["id"]))


CALLERS = {
    "viewer": (lambda: client_with("viewer"), 403),
    "operator": (lambda: client_with("operator"), 403),
    "editor": (lambda: client_with("editor"), 403),
    "admin of one namespace": (lambda: client_with("admin", namespace="team"), 403),
    "admin": (lambda: client_with("admin"), 200),
    "admin with a token to write": (lambda: client_with("admin", scope="write"), 403),
    "admin with a token for everything": (lambda: client_with("admin", scope="admin"), 200),
    "nobody": (APIClient, 401),
}


@pytest.mark.parametrize("caller", CALLERS)
def test_only_admins_of_everything_have_to_do_with_tokens(caller, db):
    make, expected = CALLERS[caller]
    client, agent = make(), factories.agent()
    issued = issue_token(agent=agent)
    statuses = [
        client.get(url(agent)).status_code,
        client.post(url(agent), {}, format="json").status_code,
        client.post(url(agent, "/rotate"), {}, format="json").status_code,
        client.delete(url(agent, f"/{issued.row.pk}")).status_code,
        client.get("/api/v1/agents/enrollment-tokens").status_code,
        client.post("/api/v1/agents/enrollment-tokens", {}, format="json").status_code,
    ]
    done = [200, 201, 201, 204, 200, 201]
    assert statuses == (done if expected == 200 else [expected] * 6)
