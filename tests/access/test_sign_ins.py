import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.urls import reverse

from access.models import AuditEntry

pytestmark = pytest.mark.django_db
LOGIN = reverse("admin:login")
PASSWORD = "Xk2-lovelace"


@pytest.fixture
def ada():
    return User.objects.create_superuser("ada", password=PASSWORD)


def entries():
    return list(AuditEntry.objects.order_by("pk").values_list("action", "actor", "subject", "address"))


def test_a_login_and_a_logout_are_written_down_with_the_address(client, ada):
    client.post(LOGIN, {"username": "ada", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7")
    client.post(reverse("admin:logout"), REMOTE_ADDR="192.0.2.7")
    assert entries() == [
        ("user.login", "ada", "ada", "192.0.2.7"),
        ("user.logout", "ada", "ada", "192.0.2.7"),
    ]
    assert set(AuditEntry.objects.values_list("subject_id", flat=True)) == {str(ada.pk)}


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_a_failed_login_is_written_down_alike_whether_there_is_such_a_user(client, ada, name):
    response = client.post(LOGIN, {"username": name, "password": "wrong"})
    assert response.status_code == 200
    assert entries() == [("user.login_failed", name, name, "127.0.0.1")]
    entry = AuditEntry.objects.get()
    assert (entry.subject_type, entry.subject_id, entry.before, entry.after) == ("user", "", None, None)


def test_who_has_no_staff_status_is_not_let_in_and_that_is_written_down_with_the_reason(client):
    bob = User.objects.create_user("bob", password=PASSWORD)
    response = client.post(LOGIN, {"username": "bob", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7")
    assert response.status_code == 200
    assert "sessionid" not in client.cookies
    assert entries() == [("user.login_failed", "bob", "bob", "192.0.2.7")]
    entry = AuditEntry.objects.get()
    assert (entry.subject_id, entry.after) == (str(bob.pk), {"reason": "no staff status"})


def test_no_password_is_written_down(client, ada):
    client.post(LOGIN, {"username": "ada", "password": "open sesame"})
    client.post(LOGIN, {"username": "ada", "password": PASSWORD})
    stored = str(list(AuditEntry.objects.values()))
    assert "sesame" not in stored
    assert PASSWORD not in stored


def test_a_name_is_cut_to_the_length_that_names_have(ada):
    authenticate(username="x" * 1000, password="wrong")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.address) == ("x" * 150, "")


def test_a_name_that_no_column_could_hold_is_no_server_error(client, ada):
    assert client.post(LOGIN, {"username": "a\x00", "password": "wrong"}).status_code == 200
    assert entries() == []


def test_who_is_not_logged_in_does_not_log_out(client):
    client.post(reverse("admin:logout"))
    assert entries() == []
