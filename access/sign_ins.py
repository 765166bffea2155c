"""Who logged in and out, and who tried in vain: Django tells by signals, the audit log keeps it."""

from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from access import audit
from access.actors import Actor, ActorKind
from access.callers import address_of

# As long as names of users can be.
_MAX_NAME_CHARS: Final = 150


@receiver(user_logged_in, dispatch_uid="audit of sign-ins")
def record_login(request: HttpRequest | None, user: User, **_signal: Any) -> None:
    """Note that a user logged in with the right password."""
    audit.record(by=_person(user.get_username(), request), action="user.login", subject=user)


@receiver(user_logged_out, dispatch_uid="audit of sign-ins")
def record_logout(request: HttpRequest | None, user: User | None, **_signal: Any) -> None:
    """Note that a user logged out; a session that had ended already is nobody's."""
    if isinstance(user, User):
        audit.record(by=_person(user.get_username(), request), action="user.logout", subject=user)


@receiver(user_login_failed, dispatch_uid="audit of sign-ins")
def record_failed_login(
    credentials: Mapping[str, Any], request: HttpRequest | None = None, **_signal: Any
) -> None:
    """Note under which name somebody tried; whether there is such a user is not looked up."""
    name = str(credentials.get("username") or "")[:_MAX_NAME_CHARS]
    audit.record(by=_person(name, request), action="user.login_failed", subject=name)


def record_refused_login(request: HttpRequest | None, user: User, reason: str) -> None:
    """Note that somebody who gave the right password was not let in, and why."""
    audit.record(
        by=_person(user.get_username(), request),
        action="user.login_failed",
        subject=user,
        after={"reason": reason},
    )


def _person(name: str, request: HttpRequest | None) -> Actor:
    return Actor(kind=ActorKind.USER, name=name, address="" if request is None else address_of(request))
