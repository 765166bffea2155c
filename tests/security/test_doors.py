"""Nobody comes in without credentials, and no other site's page by a browser that is logged in."""

import pytest
from django.urls import reverse

from hetuflow.permission_matrix import Reach, rules
from tests import people
from tests.access.world import HERE, build, send
from tests.database import fingerprint

RULES = [rule for rule in rules() if rule.action]
CLOSED = [rule for rule in RULES if rule.reach is not Reach.OPEN]
UNSAFE = [rule for rule in CLOSED if rule.method != "GET"]
SECRET = "x" * 32
SHOWN = (
    "Bearer",
    "Bearer ",
    "Bearer hfu_unknown",
    "Bearer hfa_unknown",
    "Bearer hfe_unknown",
    "bearer \xff",
    "Bearer " + "x" * 5000,
    "Basic cm9vdDpyb290",
    "Token hfu_unknown",
    "Digest username=root",
)

pytestmark = pytest.mark.django_db


def test_every_path_is_a_401_without_valid_credentials():
    world = build()
    nobody = next(caller for caller in world.callers if caller.is_anonymous)
    before = fingerprint()
    for credentials in ({}, *({"HTTP_AUTHORIZATION": shown} for shown in SHOWN)):
        nobody.client.credentials(**credentials)
        for rule in (
            CLOSED if credentials in ({}, {"HTTP_AUTHORIZATION": "Bearer hfu_unknown"}) else CLOSED[::7]
        ):
            answer = send(nobody, rule, world.places[HERE], world)
            assert answer.status_code == 401, (credentials, rule)
            assert answer["WWW-Authenticate"].startswith("Bearer")
            assert answer.json()["type"] == "client_error"
    assert fingerprint() == before


def test_a_session_that_ended_opens_nothing():
    client = people.session_of(people.person(superuser=True, is_staff=True))
    assert client.get("/api/v1/jobs").status_code == 200
    client.post(reverse("admin:logout"))
    assert client.get("/api/v1/jobs").status_code == 401


def test_a_session_without_csrf_token_writes_nothing_by_any_path():
    world, root = build(), people.person(superuser=True)
    client = people.session_of(root, checks_csrf=True)
    caller = next(caller for caller in world.callers if caller.name == "a superuser")
    caller.client.handler, caller.client.cookies = client.handler, client.cookies
    before = fingerprint()
    for rule in UNSAFE:
        for headers in ({}, {"HTTP_X_CSRFTOKEN": "y" * 32}):
            caller.client.credentials(**headers)
            answer = send(caller, rule, world.places[HERE], world)
            assert answer.status_code == 403, rule
            assert "CSRF" in answer.json()["errors"][0]["detail"]
    assert fingerprint() == before


def test_a_session_with_csrf_token_writes():
    client = people.session_of(people.person(superuser=True), checks_csrf=True)
    client.cookies["csrftoken"] = SECRET
    body = {"name": "n", "config": {"cmd": "bash"}}
    assert client.post("/api/v1/jobs", body, HTTP_X_CSRFTOKEN=SECRET).status_code == 201


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example"])
def test_a_page_of_another_site_writes_nothing_even_with_the_token(origin):
    client = people.session_of(people.person(superuser=True), checks_csrf=True)
    client.cookies["csrftoken"] = SECRET
    body = {"name": "n", "config": {"cmd": "bash"}}
    answer = client.post("/api/v1/jobs", body, HTTP_X_CSRFTOKEN=SECRET, HTTP_ORIGIN=origin)
    assert answer.status_code == 403


def test_the_admin_takes_no_form_without_csrf_token():
    client = people.session_of(people.person(superuser=True, is_staff=True), checks_csrf=True)
    for name in ("scheduling_job_add", "auth_user_add", "access_apitoken_add", "logout"):
        assert client.post(reverse(f"admin:{name}"), {}, format="multipart").status_code == 403


def test_a_token_needs_no_csrf_token_and_a_cookie_beside_it_changes_nothing():
    root, reader = people.person(superuser=True), people.with_role("viewer")
    client = people.session_of(root, checks_csrf=True)
    program = people.token_of(reader)
    client.credentials(**program._credentials)
    assert client.get("/api/v1/whoami").json()["user"] == reader.username
    answer = client.post("/api/v1/jobs", {"name": "n", "config": {"cmd": "bash"}})
    assert answer.status_code == 403
    assert "editor" in answer.json()["errors"][0]["detail"]
