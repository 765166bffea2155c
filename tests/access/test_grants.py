import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from access.models import AuditEntry, Grant
from tests import people

pytestmark = pytest.mark.django_db


def roles(user):
    return people.token_of(user).get("/api/v1/whoami").json()["roles"]


def test_a_group_is_given_a_role_and_members():
    ann, bob = people.person("ann"), people.person("bob")
    call_command("grant", "operator", "--group", "ops", "--namespace", "a", "--user", "ann", "--user", "bob")
    call_command("grant", "viewer", "--group", "ops")
    assert roles(ann) == roles(bob) == {"*": "viewer", "a": "operator"}
    call_command("grant", "editor", "--group", "ops", "--namespace", "a")
    assert roles(ann)["a"] == "editor"
    call_command("grant", "none", "--group", "ops", "--namespace", "a")
    assert roles(ann) == {"*": "viewer"}


def test_each_change_leaves_an_entry_that_says_what_it_was_before():
    people.person("ann")
    call_command("grant", "operator", "--group", "ops", "--namespace", "a", "--user", "ann")
    entries = AuditEntry.objects.order_by("id")
    assert [(entry.action, entry.actor_kind) for entry in entries] == [
        ("group.create", "command"),
        ("user.update", "command"),
        ("group.update", "command"),
    ]
    assert (entries[1].before, entries[1].after) == ({"groups": []}, {"groups": ["ops"]})
    assert (entries[2].before, entries[2].after) == ({"roles": {}}, {"roles": {"a": "operator"}})
    call_command("grant", "operator", "--group", "ops", "--namespace", "a", "--user", "ann")
    assert entries.count() == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["viewer", "--group", "ops", "--user", "nobody"],
        ["viewer", "--group", ""],
        ["viewer", "--group", "x" * 151],
        ["viewer", "--group", "ops", "--namespace", ""],
        ["owner", "--group", "ops"],
        ["viewer"],
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(arguments):
    with pytest.raises(CommandError):
        call_command("grant", *arguments)
    assert not Group.objects.exists()
    assert not Grant.objects.exists()
