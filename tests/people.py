"""People with roles, and REST clients of theirs, for tests."""

import itertools
from functools import cache
from typing import Any

from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient, ForceAuthClientHandler

from access import tokens
from access.models import Grant
from agents.models import Agent
from agents.tokens import issue_token

_numbers = itertools.count(1)


def person(name: str | None = None, *, superuser: bool = False, **fields: Any) -> User:
    """Return a user without any role, or a superuser."""
    name = name or f"person-{next(_numbers)}"
    return User.objects.create(username=name, is_superuser=superuser, **fields)


def grant(user: User, role: str, namespace: str = "*") -> Grant:
    """Give a user a role, by a group of its own."""
    group = Group.objects.create(name=f"group-{next(_numbers)}")
    user.groups.add(group)
    return Grant.objects.create(group=group, namespace=namespace, role=role)


def with_role(role: str, namespace: str = "*", *more: tuple[str, str]) -> User:
    """Return a user with a role in a namespace, and more of them given as (role, namespace)."""
    user = person()
    for each in ((role, namespace), *more):
        grant(user, *each)
    return user


def anonymous(*, checks_csrf: bool = False) -> APIClient:
    """Return a client of nobody in particular."""
    client = APIClient()
    client.default_format = "json"
    client.handler = _handler(checks_csrf=checks_csrf)
    return client


@cache
def _handler(*, checks_csrf: bool) -> ForceAuthClientHandler:
    """Return what all clients share: each would look for the static files on its first request."""
    return ForceAuthClientHandler(enforce_csrf_checks=checks_csrf)


def session_of(user: User, *, checks_csrf: bool = False) -> APIClient:
    """Return a browser in which the user is logged in."""
    client = anonymous(checks_csrf=checks_csrf)
    client.force_login(user)
    return client


def bearer(secret: str) -> APIClient:
    """Return a program that shows a token."""
    client = anonymous()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def token_of(user: User, **fields: Any) -> APIClient:
    """Return a program with a new token of the user's."""
    _stored, secret = tokens.issue(user=user, name=f"token-{next(_numbers)}", **fields)
    return bearer(secret)


def agent_client(agent: Agent) -> APIClient:
    """Return a program with a new token of an agent's."""
    return bearer(issue_token(agent=agent).secret)
