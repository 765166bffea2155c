import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from access import tokens
from access.models import ApiToken
from tests.admin_client import client_of

pytestmark = pytest.mark.django_db
ADD = reverse("admin:access_apitoken_add")


def posted(user):
    return {"user": user.pk, "name": "ci", "scope": "write", "expires_at_0": "", "expires_at_1": ""}


def test_an_api_token_is_shown_once_and_works(client):
    browser = client_of(superuser=True)
    user = User.objects.get()
    response = browser.post(ADD, posted(user))
    token = response.context["token"]
    assert token.encode() in response.content
    assert "no-store" in response["Cache-Control"]
    assert client.get("/api/v1/jobs", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert token.encode() not in browser.get(reverse("admin:access_apitoken_changelist")).content


def test_a_token_can_expire(client):
    browser = client_of(superuser=True)
    values = posted(User.objects.get()) | {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    token = browser.post(ADD, values).context["token"]
    assert ApiToken.objects.get().expires_at < timezone.now()
    assert client.get("/api/v1/jobs", headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_who_does_not_administer_users_makes_and_sees_tokens_of_their_own_only():
    stranger = User.objects.create(username="stranger")
    tokens.issue(user=stranger, name="theirs")
    browser = client_of("scheduling.view_job")
    response = browser.post(ADD, posted(stranger))
    assert response.context["adminform"].form.errors["user"]
    listed = browser.get(reverse("admin:access_apitoken_changelist"))
    assert listed.context["cl"].result_count == 0
    assert browser.post(ADD, posted(User.objects.get(username="staff"))).context["token"]


@pytest.mark.parametrize("name", ["auth_user", "auth_group", "access_apitoken"])
def test_lists_and_forms_open(name):
    browser = client_of(superuser=True)
    assert browser.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert browser.get(reverse(f"admin:{name}_add")).status_code == 200


def test_a_user_is_created_with_a_password():
    browser = client_of(superuser=True)
    values = {
        "username": "ada",
        "usable_password": "true",
        "password1": "Xk2-lovelace",
        "password2": "Xk2-lovelace",
    }
    assert browser.post(reverse("admin:auth_user_add"), values).status_code == 302
    assert User.objects.get(username="ada").check_password("Xk2-lovelace")


def test_who_has_not_logged_in_is_sent_to_the_login(client):
    for name in ("index", "scheduling_job_changelist", "agents_agent_changelist"):
        response = client.get(reverse(f"admin:{name}"))
        assert response["Location"].startswith(reverse("admin:login"))
