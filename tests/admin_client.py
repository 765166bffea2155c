"""A logged-in browser of the admin, for tests."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.forms import SplitDateTimeField
from django.test import Client

from tests.people import grant, person


def client_of(*permissions: str, superuser: bool = False) -> Client:
    """Return a client of a member of staff with these permissions, given as app.codename."""
    name = "root" if superuser else "staff"
    user = User.objects.create(username=name, is_staff=True, is_superuser=superuser)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


def browser_with(*roles: tuple[str, str]) -> Client:
    """Return a client of a new member of staff with these roles, given as (role, namespace)."""
    user = person(is_staff=True)
    for role, namespace in roles:
        grant(user, role, namespace)
    client = Client()
    client.force_login(user)
    return client


def form_values(response: Any) -> dict[str, Any]:
    """Return what a browser would post from the page's form as it stands."""
    form = response.context["adminform"].form
    values: dict[str, Any] = {}
    for bound in form:
        values |= _posted(bound, bound.html_name)
        if bound.field.show_hidden_initial:
            hidden = _posted(bound, bound.html_initial_name)
            values |= hidden or {bound.html_initial_name: "False"}
    return values


def _posted(bound: Any, name: str) -> dict[str, Any]:
    value = bound.value()
    if isinstance(bound.field, SplitDateTimeField):
        return {f"{name}_0": f"{value:%Y-%m-%d}", f"{name}_1": f"{value:%H:%M:%S}"} if value else {}
    if isinstance(value, bool):
        return {name: str(value)} if value else {}
    return {name: "" if value is None else bound.field.prepare_value(value)}
