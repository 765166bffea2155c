"""Whoever reads the whole database finds no secret in it, nor a piece of one: of each only its SHA-256."""

import hashlib
import io
import re

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from access.models import ApiToken
from agents.models import AgentToken, EnrollmentToken
from rest.models import IdempotencyKey
from tests import factories, people
from tests.database import dump

pytestmark = pytest.mark.django_db
PASSWORD = "Xk2-lovelace-and-babbage"
PIECE_CHARS = 16
SECRET = re.compile(r"hf[uae]_[\w-]{43,}")
MODELS = {"hfu": ApiToken, "hfa": AgentToken, "hfe": EnrollmentToken}


def secret_in(text: str) -> str:
    (secret,) = set(SECRET.findall(text))
    return secret


def made_by_rest(agent, enrolment: str) -> list[str]:
    """Make one of each by every path that answers a secret; with an idempotency key also ask again."""
    client = people.session_of(User.objects.get())
    secrets = []
    for number, (path, body) in enumerate(
        {
            "tokens": {"name": "ci"},
            "tokens/create": {"name": "ci-2", "scope": "write"},
            "agents": {"name": "worker"},
            "agents/create": {"name": "worker-2"},
            f"agents/{agent.pk}/tokens": {"name": "spare"},
            f"agents/{agent.pk}/tokens/rotate": {"overlap_secs": 60},
            "agents/enrollment-tokens": {"name": "build-7"},
            "agents/enrollment-tokens/create": {"agent_id": str(agent.pk)},
        }.items()
    ):
        key = {"HTTP_IDEMPOTENCY_KEY": f"key-{number}"}
        first = client.post(f"/api/v1/{path}", body, **key)
        assert first.status_code in (200, 201), first.content
        secrets.append(secret_in(first.content.decode()))
        again = client.post(f"/api/v1/{path}", body, **key)
        assert (again.status_code, again.json()["token"]) == (first.status_code, None)
    machine = people.anonymous()
    enrolled = machine.post("/api/v1/agents/enroll", {"token": enrolment, "hostname": "box"})
    secrets.append(secret_in(enrolled.content.decode()))
    rotated = people.bearer(secrets[-1]).post(f"/api/v1/agents/{enrolled.json()['id']}/tokens/rotate", {})
    return [*secrets, secret_in(rotated.content.decode())]


def made_by_the_admin(agent) -> list[str]:
    browser, root = Client(), User.objects.get()
    browser.post(reverse("admin:login"), {"username": "root", "password": "not-the-right-one-at-all"})
    answer = browser.post(reverse("admin:login"), {"username": "root", "password": PASSWORD})
    assert answer.status_code == 302
    token = {"user": root.pk, "name": "admin's", "scope": "read", "expires_at_0": "", "expires_at_1": ""}
    pages = [
        browser.post(reverse("admin:access_apitoken_add"), token),
        browser.post(reverse("admin:agents_agent_issue_token", args=[agent.pk]), {"name": "n"}, follow=True),
        browser.post(reverse("admin:agents_agent_rotate_tokens", args=[agent.pk]), follow=True),
        browser.post(reverse("admin:agents_agent_enrol"), {"name": "x", "labels": "", "life": "3600"}),
    ]
    return [browser.cookies["sessionid"].value, *(secret_in(page.content.decode()) for page in pages)]


def made_by_command() -> list[str]:
    said = []
    for arguments in (
        ("api_token", "root"),
        ("api_token", "root", "--name", "days", "--days", "3"),
        ("agent_token", "by-command"),
        ("agent_token", "by-command"),
    ):
        out = io.StringIO()
        call_command(*arguments, stdout=out)
        said.append(secret_in(out.getvalue()))
    return said


def used(secrets: list[str]) -> None:
    """Show each secret at doors that take it, and at such that do not."""
    for secret in secrets:
        people.bearer(secret).get("/api/v1/whoami")
        people.bearer(secret).post("/api/v1/jobs", {"name": secret[4:8], "config": {"cmd": "bash"}})
        people.anonymous().post("/api/v1/agents/enroll", {"token": secret[:-1]})


@pytest.fixture
def secrets(settings):
    """All secrets that were made, in every way there is, by people who logged in and used them.

    The first one is the cookie of a session.
    """
    settings.HETUFLOW_API_RATE = 10_000
    person = people.person("root", superuser=True, is_staff=True)
    person.set_password(PASSWORD)
    person.save()
    agent = factories.agent()
    by_admin = made_by_the_admin(agent)
    made = [*by_admin, *made_by_rest(agent, by_admin[-1]), *made_by_command()]
    used(made[1:])
    return made


def test_every_kind_of_secret_is_made_in_every_way(secrets):
    assert len(secrets) == len(set(secrets)) == 1 + 4 + 8 + 2 + 4
    for prefix, model in MODELS.items():
        of_kind = [secret for secret in secrets if secret.startswith(prefix)]
        assert len(of_kind) == model.objects.count() >= 3
    assert IdempotencyKey.objects.count() == 8


def test_no_table_holds_a_secret_or_a_piece_of_one(secrets):
    tables = dump()
    text = "\n".join(tables.values())
    for written in ("access_auditentry", "access_throttle", "django_session", "rest_idempotencykey"):
        assert tables[written], written
    pieces = {
        secret[begin : begin + PIECE_CHARS]
        for secret in [*secrets, PASSWORD, "not-the-right-one-at-all"]
        for begin in range(len(secret) - PIECE_CHARS + 1)
    }
    # As text, and as bytes are shown.
    found = {piece for piece in pieces if piece in text or piece.encode().hex() in text}
    assert found == set()


def test_what_is_stored_of_a_secret_is_its_sha_256_and_nothing_else(secrets):
    for prefix, model in MODELS.items():
        digests = {
            hashlib.sha256(secret.encode()).hexdigest() for secret in secrets if secret.startswith(prefix)
        }
        assert set(model.objects.values_list("digest", flat=True)) == digests


def test_the_search_would_find_a_piece(secrets):
    """A search that finds nothing at all proves nothing."""
    agent = factories.agent()
    agent.hostname = secrets[0][5 : 5 + PIECE_CHARS]
    agent.save()
    assert secrets[0][5 : 5 + PIECE_CHARS] in "\n".join(dump().values())
