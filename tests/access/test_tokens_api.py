from datetime import timedelta

import pytest

from access import tokens
from access.models import ApiToken, AuditEntry
from scheduling.clock import database_now
from tests import people

pytestmark = pytest.mark.django_db
TOKENS = "/api/v1/tokens"


@pytest.fixture
def ann():
    return people.with_role("editor", "a")


def names(client, path=TOKENS):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json()["page"]["total"] == len(answer.json()["data"])
    return {token["name"] for token in answer.json()["data"]}


def test_whoever_is_logged_in_makes_tokens_which_work(ann):
    made = people.session_of(ann).post(TOKENS, {"name": "ci", "scope": "write", "namespace": "a"})
    assert made.status_code == 201
    answer = made.json()
    assert (answer["name"], answer["user"], answer["scope"], answer["namespace"]) == (
        "ci",
        ann.username,
        "write",
        "a",
    )
    assert people.bearer(answer["token"]).get("/api/v1/whoami").json() == {
        "user": ann.username,
        "token": "ci",
        "scope": "write",
        "roles": {"a": "editor"},
    }
    assert ann.api_tokens.get().digest not in made.content.decode()


def test_no_answer_but_the_first_holds_the_secret(ann):
    browser = people.session_of(ann)
    made = browser.post(TOKENS, {"name": "ci"}).json()
    for answer in (
        browser.get(TOKENS),
        browser.get(f"{TOKENS}/{made['id']}"),
        browser.post(f"{TOKENS}/query", {}),
    ):
        assert answer.status_code == 200
        assert made["token"] not in answer.content.decode()
        assert '"token"' not in answer.content.decode()


def test_a_token_is_for_reading_unless_more_is_asked_for(ann):
    assert people.session_of(ann).post(TOKENS, {"name": "ci"}).json()["scope"] == "read"


def test_one_sees_and_revokes_tokens_of_ones_own_only(ann):
    stored, _ = tokens.issue(user=people.person(), name="theirs")
    browser = people.session_of(ann)
    tokens.issue(user=ann, name="mine")
    assert names(browser) == {"mine"}
    assert browser.get(f"{TOKENS}/{stored.pk}").status_code == 404
    assert browser.delete(f"{TOKENS}/{stored.pk}").status_code == 404
    assert browser.get(f"{TOKENS}?user={stored.user.username}").json()["page"]["total"] == 0


def test_who_administers_users_sees_and_revokes_all():
    stored, secret = tokens.issue(user=people.person(), name="theirs")
    browser = people.session_of(people.person(superuser=True))
    assert names(browser) == {"theirs"}
    assert browser.delete(f"{TOKENS}/{stored.pk}").status_code == 204
    assert people.bearer(secret).get("/api/v1/whoami").status_code == 401


@pytest.mark.parametrize(
    "limits", [{"scope": "read"}, {"scope": "operate"}, {"scope": "write"}, {"namespace": "a"}], ids=str
)
@pytest.mark.parametrize("superuser", [False, True])
def test_a_limited_token_sees_itself_alone_and_manages_none(limits, superuser):
    user = people.person(superuser=True) if superuser else people.with_role("admin")
    other, _ = tokens.issue(user=user, name="other")
    shown, secret = tokens.issue(user=user, name="shown", **limits)
    client = people.bearer(secret)
    assert names(client) == {"shown"}
    before = list(ApiToken.objects.values())
    assert client.delete(f"{TOKENS}/{other.pk}").status_code == 404
    assert client.delete(f"{TOKENS}/{shown.pk}").status_code == 403
    assert client.post(TOKENS, {"name": "more", "scope": "read"}).status_code == 403
    assert list(ApiToken.objects.values()) == before


def test_a_token_for_everything_manages_others_but_none_outlives_it(ann):
    ends_at = database_now() + timedelta(hours=1)
    client = people.token_of(ann, expires_at=ends_at)
    for wish in ({}, {"expires_at": "2999-01-01T00:00:00Z"}, {"expires_at": None}):
        made = client.post(TOKENS, {"name": f"made {wish}", **wish})
        assert made.status_code == 201
        assert ApiToken.objects.get(pk=made.json()["id"]).expires_at == ends_at
    assert client.delete(f"{TOKENS}/{made.json()['id']}").status_code == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": ""}, "name"),
        ({}, "name"),
        ({"name": "x", "scope": "root"}, "scope"),
        ({"name": "x", "user": "root"}, "user"),
        ({"name": "x", "digest": "0" * 64}, "digest"),
        ({"name": "x", "revoked_at": None}, "revoked_at"),
    ],
    ids=str,
)
def test_a_bad_wish_is_a_400_and_makes_nothing(ann, body, field):
    answer = people.session_of(ann).post(TOKENS, body)
    assert answer.status_code == 400
    assert [error["attr"] for error in answer.json()["errors"]] == [field]
    assert not ApiToken.objects.exists()


def test_a_name_that_is_taken_is_a_409(ann):
    browser = people.session_of(ann)
    assert browser.post(TOKENS, {"name": "ci"}).status_code == 201
    answer = browser.post(TOKENS, {"name": "ci"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "already_exists")


def test_a_token_is_good_for_no_more_than_its_user_may_do():
    user = people.with_role("viewer", "a")
    client = people.token_of(user, scope="admin", namespace="b")
    assert client.get("/api/v1/jobs").status_code == 403
    assert client.get("/api/v1/whoami").json()["roles"] == {}


@pytest.mark.parametrize(
    ("scope", "namespace", "roles"),
    [
        ("admin", "", {"*": "viewer", "a": "editor"}),
        ("operate", "", {"*": "viewer", "a": "operator"}),
        ("admin", "a", {"a": "editor"}),
        ("admin", "b", {"b": "viewer"}),
        ("read", "a", {"a": "viewer"}),
    ],
)
def test_whoami_tells_what_is_left_of_the_roles(scope, namespace, roles):
    client = people.token_of(
        people.with_role("editor", "a", ("viewer", "*")), scope=scope, namespace=namespace
    )
    assert client.get("/api/v1/whoami").json()["roles"] == roles


def test_what_one_did_with_a_token_stays_under_its_name(ann):
    client = people.token_of(ann)
    client.post("/api/v1/jobs", {"namespace": "a", "name": "n", "config": {"cmd": "bash"}})
    entry = AuditEntry.objects.get(action="job.create")
    assert (entry.actor_kind, entry.actor, entry.token, entry.address) == (
        "token",
        ann.username,
        ann.api_tokens.get().name,
        "127.0.0.1",
    )
