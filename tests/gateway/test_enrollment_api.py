"""REST of enrolment: tokens for new machines, and the door at which they are shown."""

import uuid
from datetime import timedelta

import pytest
from django.test import override_settings

from access.models import AuditEntry
from access.throttling import Rate
from agents.api import enrollment
from agents.clock import database_now
from agents.enrollment import create_enrollment_token
from agents.models import Agent, EnrollmentToken
from agents.tokens import authenticate_token
from tests import factories
from tests.gateway.test_agents_api import FIELDS as AGENT_FIELDS

pytestmark = pytest.mark.django_db
URL = "/api/v1/agents/enrollment-tokens"
ENROLL = "/api/v1/agents/enroll"
FIELDS = [
    "id",
    "name",
    "labels",
    "agent_id",
    "state",
    "created_by",
    "created_at",
    "expires_at",
    "used_at",
]


def attrs(response):
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


def create(**fields):
    return create_enrollment_token(now=database_now(), **fields)


@pytest.mark.parametrize("path", [URL, f"{URL}/create"])
def test_an_enrolment_token_is_made_and_shown_once_with_the_command_for_the_machine(api, path):
    begin = database_now()
    response = api.post(path, {"name": "build-7", "labels": {"zone": "a"}})
    created = response.json()
    assert (response.status_code, list(created)) == (201, [*FIELDS, "token", "command"])
    assert (created["name"], created["labels"], created["agent_id"]) == ("build-7", {"zone": "a"}, None)
    assert (created["state"], created["created_by"], created["used_at"]) == ("valid", "ann", None)
    assert created["command"] == (
        f"python -m agents.daemon --server ws://testserver --enroll {created['token']}"
    )
    life = EnrollmentToken.objects.get().expires_at - begin
    assert timedelta(minutes=15) <= life < timedelta(minutes=16)
    shown = {name: created[name] for name in FIELDS}
    assert api.get(f"{URL}/{created['id']}").json() == shown
    assert api.get(URL).json()["data"] == [shown]
    assert api.post(f"{URL}/query", {"filter": {"name": "build-7"}}).json()["data"] == [shown]


def test_a_request_that_is_repeated_with_its_key_does_not_show_the_secret_again(api):
    first, again = (api.post(URL, {}, headers={"Idempotency-Key": "once"}).json() for _ in range(2))
    assert again == first | {"token": None, "command": None}


@pytest.mark.parametrize(("is_secure", "setting"), [(True, False), (False, True)])
def test_behind_tls_the_command_says_so(api, is_secure, setting):
    with override_settings(SESSION_COOKIE_SECURE=setting):
        command = api.post(URL, {}, secure=is_secure).json()["command"]
    assert "--server wss://testserver --enroll hfe_" in command


def test_a_token_may_live_a_week_and_name_an_agent_that_is_there(api):
    agent = factories.agent()
    created = api.post(URL, {"agent_id": str(agent.pk), "expires_in_secs": 7 * 86_400}).json()
    assert created["agent_id"] == str(agent.pk)
    stored = EnrollmentToken.objects.get()
    assert stored.expires_at - stored.created_at == timedelta(days=7)


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"name": "x" * 256}, "name"),
        ({"labels": {"zone": 1}}, "labels"),
        ({"agent_id": "x"}, "agent_id"),
        ({"agent_id": str(uuid.UUID(int=1))}, "agent_id"),
        ({"expires_in_secs": 0}, "expires_in_secs"),
        ({"expires_in_secs": 7 * 86_400 + 1}, "expires_in_secs"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
        ({"token": "hfe_x"}, "token"),
        ({"used_at": None}, "used_at"),
    ],
)
def test_a_bad_request_for_a_token_is_a_400(api, body, attr):
    response = api.post(URL, body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])
    assert not EnrollmentToken.objects.exists()


def test_an_agent_that_is_there_keeps_its_name_and_labels(api):
    body = {"agent_id": str(factories.agent().pk), "name": "x", "labels": {"zone": "a"}}
    response = api.post(URL, body)
    assert (response.status_code, set(attrs(response))) == (400, {"name", "labels"})


def test_an_unused_token_is_revoked_and_a_used_one_is_not(api, anonymous):
    unused, used = create(), create()
    assert api.delete(f"{URL}/{unused.row.pk}").status_code == 204
    assert api.get(f"{URL}/{unused.row.pk}").status_code == 404
    assert anonymous.post(ENROLL, {"token": unused.secret}).status_code == 401
    anonymous.post(ENROLL, {"token": used.secret})
    response = api.delete(f"{URL}/{used.row.pk}")
    assert (response.status_code, attrs(response)) == (409, {None: "already_used"})


def test_a_machine_gets_the_agent_that_it_is_and_a_token_and_no_other_secret(anonymous):
    created = create(name="build-7", labels={"zone": "a"}, by=factories.ANN)
    agent_id = str(uuid.uuid4())
    body = {"token": created.secret, "id": agent_id, "name": "mine", "hostname": "box"}
    response = anonymous.post(ENROLL, body)
    answer = response.json()
    assert (response.status_code, list(answer)) == (201, [*AGENT_FIELDS, "token"])
    assert (answer["id"], answer["name"], answer["labels"]) == (agent_id, "build-7", {"zone": "a"})
    assert authenticate_token(secret=answer["token"], now=database_now()).agent.hostname == "box"
    assert created.secret not in response.content.decode()
    assert AuditEntry.objects.get(action="enrollment_token.use").address == "127.0.0.1"


@pytest.mark.parametrize("why", ["unknown", "malformed", "empty", "used", "expired"])
def test_a_refused_token_is_a_401_that_tells_no_cause(anonymous, why):
    created = create()
    secret = {"unknown": "hfe_" + "x" * 43, "malformed": "\u2603", "empty": " "}.get(why, created.secret)
    if why == "used":
        anonymous.post(ENROLL, {"token": secret})
    elif why == "expired":
        EnrollmentToken.objects.update(
            created_at=database_now() - timedelta(days=1), expires_at=database_now()
        )
    agents = Agent.objects.count()
    response = anonymous.post(ENROLL, {"token": secret})
    assert response.json() == {
        "type": "client_error",
        "errors": [
            {
                "code": "authentication_failed",
                "detail": "The token is unknown, used, expired or revoked.",
                "attr": None,
            }
        ],
    }
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="hetuflow"')
    assert Agent.objects.count() == agents


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "token"),
        ({"token": 7}, "token"),
        ({"token": "x" * 513}, "token"),
        ({"id": "x"}, "id"),
        ({"name": "x" * 256}, "name"),
        ({"hostname": "x" * 256}, "hostname"),
        ({"labels": {}}, "labels"),
    ],
)
def test_a_bad_enrolment_is_a_400_and_the_token_stays_good(anonymous, body, attr):
    created = create()
    response = anonymous.post(ENROLL, {"token": created.secret, **body} if body else {})
    assert (response.status_code, list(attrs(response))) == (400, [attr])
    assert anonymous.post(ENROLL, {"token": created.secret}).status_code == 201


def test_a_name_that_is_taken_is_a_409_and_the_token_stays_good(anonymous):
    created, other = create(), factories.agent()
    response = anonymous.post(ENROLL, {"token": created.secret, "hostname": other.name})
    assert (response.status_code, attrs(response)) == (409, {None: "already_exists"})
    response = anonymous.post(ENROLL, {"token": created.secret, "name": "free", "hostname": other.name})
    assert (response.status_code, response.json()["name"]) == (201, "free")


def test_a_token_for_another_agent_is_a_409_and_stays_good(anonymous):
    agent = factories.agent()
    created = create(agent=agent)
    response = anonymous.post(ENROLL, {"token": created.secret, "id": str(uuid.uuid4())})
    assert (response.status_code, attrs(response)) == (409, {None: "wrong_agent"})
    assert anonymous.post(ENROLL, {"token": created.secret}).json()["id"] == str(agent.pk)


def test_a_session_or_another_token_makes_no_difference_at_the_door(api, anonymous):
    assert api.post(ENROLL, {"token": "hfe_x"}).status_code == 401
    headers = {"authorization": "Bearer nonsense"}
    assert anonymous.post(ENROLL, {"token": create().secret}, headers=headers).status_code == 201


def test_the_door_takes_posts_alone(anonymous):
    assert [anonymous.get(ENROLL).status_code, anonymous.delete(ENROLL).status_code] == [405, 405]


def test_who_tries_too_often_is_put_off(anonymous, monkeypatch):
    monkeypatch.setattr(enrollment.Enrolling, "rate", Rate("enroll", times=3, period=timedelta(hours=1)))
    responses = [anonymous.post(ENROLL, {"token": "hfe_x"}) for _ in range(4)]
    assert [response.status_code for response in responses] == [401, 401, 401, 429]
    assert 0 < int(responses[-1]["Retry-After"]) <= 3600
    elsewhere = anonymous.post(ENROLL, {"token": create().secret}, REMOTE_ADDR="10.0.0.7")
    assert elsewhere.status_code == 201
