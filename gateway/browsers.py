"""Who a browser's socket speaks for: the session of its cookie, as long as that may see the attempt."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User

from access.callers import authority_of
from access.sessions import users_of_cookies
from scheduling.models import TaskInstance

PERMISSION: Final = "scheduling.view_taskinstance"


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser that was let in to watch an attempt."""

    cookie: str
    user_id: int
    instance_id: uuid.UUID
    namespace: str


def admit(scope: dict[str, Any], instance_id: uuid.UUID) -> Visit | None:
    """Return who opened a socket to watch an attempt, None where they may not or there is none."""
    cookie = _session_cookie(scope)
    user = users_of_cookies([cookie]).get(cookie)
    attempt = TaskInstance.objects.filter(pk=instance_id).only("namespace").first()
    if user is None or attempt is None:
        return None
    visit = Visit(cookie=cookie, user_id=user.pk, instance_id=instance_id, namespace=attempt.namespace)
    return visit if visit not in _not_permitted([visit], [user]) else None


def ended_visits(visits: Collection[Visit]) -> set[Visit]:
    """Return those whose session is over, or whose user may no longer see what they watch.

    Two statements, and one for each user who is no superuser.
    """
    users = users_of_cookies({visit.cookie for visit in visits})
    logged_out = {visit for visit in visits if visit.cookie not in users}
    return logged_out | _not_permitted(set(visits) - logged_out, users.values())


def _not_permitted(visits: Collection[Visit], users: Collection[User]) -> set[Visit]:
    staff = {user.pk: user for user in users if user.is_active and user.is_staff}
    authorities = {user_id: authority_of(user) for user_id, user in staff.items()}
    return {
        visit
        for visit in visits
        if visit.user_id not in authorities
        or not authorities[visit.user_id].may_in(visit.namespace, PERMISSION)
    }


def _session_cookie(scope: dict[str, Any]) -> str:
    """Return the cookie of the session; an empty one, which nobody has, where there is none."""
    text = b"; ".join(value for name, value in scope["headers"] if name == b"cookie").decode("latin-1")
    try:
        found = SimpleCookie(text).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return found.value if found else ""
