"""Roles of groups, and what the audit trail says of groups and their members."""

from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction

from access import audit
from access.actors import SYSTEM, Actor
from access.models import Grant


def set_role(*, group: Group, namespace: str, role: str | None, by: Actor = SYSTEM) -> None:
    """Give the members of a group this one role in a namespace, or None, in place of what they had there."""
    with transaction.atomic():
        Group.objects.select_for_update().get(pk=group.pk)
        before = describe_group(group)
        if role is None:
            Grant.objects.filter(group=group, namespace=namespace).delete()
        else:
            Grant.objects.update_or_create(group=group, namespace=namespace, defaults={"role": role})
        audit.record(by=by, action="group.update", subject=group, before=before, after=describe_group(group))


def add_member(*, group: Group, user: User, by: Actor = SYSTEM) -> None:
    """Put a user into a group."""
    with transaction.atomic():
        before = describe_user(user)
        user.groups.add(group)
        audit.record(by=by, action="user.update", subject=user, before=before, after=describe_user(user))


def get_or_create_group(*, name: str, by: Actor = SYSTEM) -> Group:
    """Return the group of that name, made where it is missing."""
    with transaction.atomic():
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            audit.record(by=by, action="group.create", subject=group, after=describe_group(group))
        return group


def describe_group(group: Group) -> dict[str, Any]:
    """Return what a group lets its members do, as it is stored."""
    return {
        "name": group.name,
        "roles": dict(
            Grant.objects.filter(group=group).order_by("namespace").values_list("namespace", "role")
        ),
        "permissions": _permissions(group.permissions),
    }


def describe_user(user: User) -> dict[str, Any]:
    """Return who a user is and what lets them do what, as it is stored; never the password."""
    fields = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser")
    return {
        **audit.snapshot(user, fields),
        "groups": list(user.groups.order_by("name").values_list("name", flat=True)),
        "permissions": _permissions(user.user_permissions),
    }


def _permissions(held: Any) -> list[str]:
    rows = held.values_list("content_type__app_label", "codename")
    return sorted(f"{app}.{codename}" for app, codename in rows)
