import pytest
from django.contrib.auth.models import Group, Permission, User

from access.delegation import power_of_group, power_of_permission, power_of_role, power_of_user
from tests.people import grant, person, with_role

pytestmark = pytest.mark.django_db


def permission(name):
    app, codename = name.split(".")
    return Permission.objects.select_related("content_type").get(
        content_type__app_label=app, codename=codename
    )


def with_permissions(*names):
    user = person()
    user.user_permissions.add(*(permission(name) for name in names))
    return user


@pytest.mark.parametrize(
    ("role", "namespace", "is_covered"),
    [
        ("editor", "ours", True),
        ("viewer", "ours", True),
        ("admin", "ours", False),
        ("viewer", "theirs", False),
        ("viewer", "*", False),
    ],
)
def test_a_role_can_be_given_by_who_has_it_there(role, namespace, is_covered):
    giver = power_of_user(with_role("editor", "ours"))
    assert giver.covers(power_of_role(namespace, role)) == is_covered


def test_a_role_everywhere_is_one_in_every_namespace():
    giver = power_of_user(with_role("editor", "*"))
    assert giver.covers(power_of_role("ours", "editor"))
    assert not giver.covers(power_of_role("ours", "admin"))


def test_permissions_of_django_are_given_by_who_has_them():
    giver = power_of_user(with_permissions("auth.change_user"))
    assert giver.covers(power_of_permission(permission("auth.change_user")))
    assert not giver.covers(power_of_permission(permission("auth.delete_user")))


def test_a_permission_that_a_role_everywhere_holds_is_covered_by_it():
    adding_jobs = power_of_permission(permission("scheduling.add_job"))
    assert power_of_user(with_role("editor", "*")).covers(adding_jobs)
    assert not power_of_user(with_role("editor", "ours")).covers(adding_jobs)


def test_superusers_reach_everybody_and_only_they_reach_superusers():
    root = power_of_user(person(superuser=True))
    assert root.covers(root)
    assert root.covers(power_of_user(with_role("admin", "*")))
    assert not power_of_user(with_role("admin", "*")).covers(root)


def test_who_is_not_active_counts_as_if_they_were():
    sleeper = with_role("admin", "*")
    User.objects.filter(pk=sleeper.pk).update(is_active=False)
    sleeper.refresh_from_db()
    assert not power_of_user(with_role("editor", "*")).covers(power_of_user(sleeper))


def test_a_group_is_as_powerful_as_what_it_gives():
    group = Group.objects.create(name="cleaners")
    group.permissions.add(permission("auth.delete_user"))
    assert not power_of_user(with_role("admin", "*")).covers(power_of_group(group))
    both = with_permissions("auth.delete_user")
    assert power_of_user(both).covers(power_of_group(group))
    grant(person(), "viewer", "ours")
    group.grants.create(namespace="ours", role="viewer")
    assert not power_of_user(both).covers(power_of_group(group))
