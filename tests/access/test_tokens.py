import hashlib
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from access import tokens
from access.errors import BadToken, NameTaken
from access.models import ApiToken, AuditEntry
from scheduling.clock import database_now
from tests import people

pytestmark = pytest.mark.django_db


def issue(**fields):
    return tokens.issue(**{"user": people.person(), "name": "ci", **fields})


def test_a_token_has_256_random_bits_of_which_the_digest_is_stored():
    (stored, secret), (_, other) = issue(), issue()
    prefix, _, random = secret.partition("_")
    assert prefix == "hfu"
    assert len(random) >= 43  # of 6 bits each
    assert secret != other
    assert stored.digest == hashlib.sha256(secret.encode()).hexdigest()


def test_a_token_is_found_by_its_secret_alone():
    stored, secret = issue()
    assert tokens.find(secret) == stored
    for wrong in ("", secret[:-1], secret + "x", secret.upper(), stored.digest, "hfu_", "x" * 100_000):
        with pytest.raises(BadToken):
            tokens.find(wrong)


def test_a_token_that_expired_is_not_found():
    _, expired = issue(expires_at=database_now() - timedelta(microseconds=1))
    _, lasting = issue(expires_at=database_now() + timedelta(minutes=1))
    with pytest.raises(BadToken):
        tokens.find(expired)
    assert tokens.find(lasting)


@pytest.mark.parametrize("hours", [-25, 25])
def test_a_wrong_clock_of_the_server_neither_ends_nor_revives_a_token(hours):
    _, expired = issue(expires_at=database_now() - timedelta(minutes=1))
    _, lasting = issue(expires_at=database_now() + timedelta(minutes=1))
    with time_machine.travel(timezone.now() + timedelta(hours=hours)):
        assert tokens.find(lasting)
        with pytest.raises(BadToken):
            tokens.find(expired)


def test_the_tokens_of_a_user_who_was_disabled_are_not_found():
    stored, secret = issue()
    stored.user.is_active = False
    stored.user.save()
    with pytest.raises(BadToken):
        tokens.find(secret)


def test_a_revoked_token_is_not_found_and_its_name_is_free_again():
    stored, secret = issue()
    now = database_now()
    assert tokens.revoke(token_id=stored.pk, now=now).revoked_at == now
    with pytest.raises(BadToken):
        tokens.find(secret)
    assert issue(user=stored.user)


def test_revoking_twice_is_revoking_once():
    stored, _ = issue()
    now = database_now()
    tokens.revoke(token_id=stored.pk, now=now)
    tokens.revoke(token_id=stored.pk, now=now + timedelta(hours=1))
    assert ApiToken.objects.get().revoked_at == now
    assert AuditEntry.objects.filter(action="api_token.revoke").count() == 1


def test_the_names_of_a_users_tokens_are_different():
    stored, _ = issue()
    with pytest.raises(NameTaken):
        issue(user=stored.user)
    assert ApiToken.objects.count() == AuditEntry.objects.count() == 1


def test_a_token_for_every_namespace_is_one_without_a_namespace():
    assert issue(namespace="*")[0].namespace == ""


def test_of_making_and_revoking_there_is_an_entry_without_the_secret_and_its_digest():
    stored, secret = issue(scope="read", namespace="prod")
    tokens.revoke(token_id=stored.pk, now=database_now())
    made, revoked = AuditEntry.objects.order_by("id")
    described = {
        "user": stored.user.username,
        "name": "ci",
        "scope": "read",
        "namespace": "prod",
        "expires_at": None,
    }
    assert (made.action, made.before, made.after) == ("api_token.create", None, described)
    assert (revoked.action, revoked.before, revoked.after) == ("api_token.revoke", described, None)
    for entry in (made, revoked):
        assert secret not in str(vars(entry))
        assert stored.digest not in str(vars(entry))
