"""From a request to who asks and what they may do."""

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest

from access.actors import Actor, ActorKind
from access.addresses import client_address
from access.authority import EVERYTHING, NOTHING, Authority
from access.models import ApiToken
from access.roles import (
    ALL_PERMISSIONS,
    EVERYWHERE,
    NAMESPACED,
    PERMISSIONS_OF_ROLE,
    PERMISSIONS_OF_SCOPE,
    Role,
    Scope,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

# Asked for every request of whoever is no superuser, hence one statement: the roles of the user's groups, and
# with a null for the namespace the permissions that Django's own tables give the user and those groups.
_HELD: Final = """
WITH groups AS (SELECT group_id FROM auth_user_groups WHERE user_id = %(user_id)s)
SELECT namespace, role FROM access_grant WHERE group_id IN (SELECT group_id FROM groups)
UNION ALL
SELECT NULL, type.app_label || '.' || permission.codename
FROM auth_permission permission JOIN django_content_type type ON type.id = permission.content_type_id
WHERE permission.id IN (
    SELECT permission_id FROM auth_user_user_permissions WHERE user_id = %(user_id)s
    UNION ALL
    SELECT permission_id FROM auth_group_permissions WHERE group_id IN (SELECT group_id FROM groups)
)
"""


def authority_of(user: "User | AnonymousUser", token: ApiToken | None = None) -> Authority:
    """Return what a user may do, with a token only what that permits.

    Superusers may do everything. Others have the roles of their groups, and everywhere what Django's own
    permissions of theirs and of their groups say. At most one statement.
    """
    authority = _authority_of_user(user)
    if token is not None:
        permitted = PERMISSIONS_OF_SCOPE[Scope(token.scope)]
        authority = authority.limited_to(permitted, namespace=token.namespace)
    return authority


def actor_of(request: HttpRequest) -> Actor:
    """Return the logged-in user as the one who does it."""
    user = cast("User", request.user)
    return Actor(kind=ActorKind.USER, name=user.get_username(), address=address_of(request))


def token_actor(token: ApiToken) -> Actor:
    """Return the user of a token as the one who does it, with the token's name."""
    return Actor(kind=ActorKind.TOKEN, name=token.user.get_username(), token=token.name)


def address_of(request: Any) -> str:
    """Return the address that the request came from, before the proxies that are trusted."""
    peer = str(request.META.get("REMOTE_ADDR") or "")
    forwarded_for = str(request.META.get("HTTP_X_FORWARDED_FOR") or "")
    return client_address(peer, forwarded_for, trusted=settings.HETUFLOW_TRUSTED_PROXIES)


def address_of_socket(scope: Mapping[str, Any]) -> str:
    """Return the address that a WebSocket came from, as `address_of` does; `scope` is ASGI's."""
    peer = str((scope.get("client") or ("",))[0])
    forwarded_for = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return client_address(peer, forwarded_for.decode("latin-1"), trusted=settings.HETUFLOW_TRUSTED_PROXIES)


def authority_from(permissions: Set[str], grants: Iterable[tuple[str, str]]) -> Authority:
    """Return what Django's permissions and grants, as (namespace, role), come to."""
    everywhere = set(permissions & ALL_PERMISSIONS)
    within: dict[str, frozenset[str]] = {}
    for namespace, role in grants:
        if namespace == EVERYWHERE:
            everywhere |= PERMISSIONS_OF_ROLE[Role(role)]
        else:
            held = PERMISSIONS_OF_ROLE[Role(role)] & NAMESPACED
            within[namespace] = within.get(namespace, frozenset()) | held
    return Authority(everywhere=frozenset(everywhere), within=within)


def _authority_of_user(user: "User | AnonymousUser") -> Authority:
    if not user.is_active:
        return NOTHING
    if user.is_superuser:
        return EVERYTHING
    with connection.cursor() as cursor:
        cursor.execute(_HELD, {"user_id": user.pk})
        rows = cursor.fetchall()
    permissions = {name for namespace, name in rows if namespace is None}
    return authority_from(permissions, [row for row in rows if row[0] is not None])
