from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from access import tokens
from access.models import ApiToken
from tests.admin_client import browser_with, client_of
from tests.people import person

pytestmark = pytest.mark.django_db
ADD = reverse("admin:access_apitoken_add")
LIST = reverse("admin:access_apitoken_changelist")


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


def test_a_token_can_expire():
    browser = client_of(superuser=True)
    values = posted(User.objects.get()) | {"expires_at_0": "2100-01-01", "expires_at_1": "00:00:00"}
    assert browser.post(ADD, values).context["token"]
    assert ApiToken.objects.get().expires_at == datetime(2100, 1, 1, tzinfo=UTC)


def test_a_token_that_would_be_dead_at_birth_is_refused_at_the_field():
    browser = client_of(superuser=True)
    values = posted(User.objects.get()) | {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    assert "in the past" in str(browser.post(ADD, values).context["adminform"].form.errors["expires_at"])
    assert not ApiToken.objects.exists()


def test_a_name_that_is_taken_is_refused_at_the_field():
    browser = client_of(superuser=True)
    values = posted(User.objects.get())
    browser.post(ADD, values)
    assert "has a token" in str(browser.post(ADD, values).context["adminform"].form.errors["name"])
    assert ApiToken.objects.count() == 1


def test_the_form_begins_with_the_least_scope_and_explains_them_all():
    form = client_of(superuser=True).get(ADD).context["adminform"].form
    assert form["scope"].value() == "read"
    for name in ("Read", "Operate", "Write", "Admin"):
        assert f"{name}:" in str(form.fields["scope"].help_text)


def test_revoking_asks_first():
    browser = client_of(superuser=True)
    token, _secret = tokens.issue(user=User.objects.get(), name="ci")
    chosen = {"action": "revoke_selected", "_selected_action": [token.pk]}
    assert b"for good" in browser.post(LIST, chosen).content
    assert ApiToken.objects.get().revoked_at is None
    browser.post(LIST, chosen | {"confirmed": "yes"})
    assert ApiToken.objects.get().revoked_at is not None


def test_a_token_of_who_may_do_more_is_not_made():
    root = person("root", superuser=True)
    response = client_of("auth.view_user", "auth.change_user").post(ADD, posted(root))
    assert "may do more than you" in str(response.context["adminform"].form.errors["user"])
    assert not ApiToken.objects.exists()


def test_only_ones_own_tokens_are_revoked_unless_one_administers_users():
    token, _secret = tokens.issue(user=person("root", superuser=True), name="theirs")
    chosen = {"action": "revoke_selected", "_selected_action": [token.pk], "confirmed": "yes"}
    browser_with(("admin", "*")).post(LIST, chosen)
    assert ApiToken.objects.get().revoked_at is None
    client_of("auth.view_user", "auth.change_user").post(LIST, chosen)
    assert ApiToken.objects.get().revoked_at is not None


def test_the_list_answers_no_question_about_digests():
    browser = client_of(superuser=True)
    token, _secret = tokens.issue(user=User.objects.get(), name="ci")
    assert browser.get(LIST, {"digest__startswith": token.digest[:4]}).status_code == 400


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
