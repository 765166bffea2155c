"""May this caller do this, here? Asked once for every request, before the view's code runs (I14).

What one may not see does not exist: 404. What one sees but may not change: 403, which says what is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from access.actors import Actor, ActorKind
from access.authority import Authority
from access.callers import address_of, authority_of, token_actor
from access.models import ApiToken
from access.roles import LEVEL_OF_ROLE, LEVEL_OF_SCOPE, PERMISSIONS

# For actions that are about the caller, such as their own tokens: whoever is logged in.
ANYBODY: Final = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Objects that a path may name: where they are found, their namespace's ORM path, and who sees them."""

    find: Callable[[], QuerySet[Any]]
    namespace_path: str | None
    view_permission: str

    def refuse_unseen(self, authority: Authority, pk: Any) -> str | None:
        """Return the namespace of the object, None where it has none; raise NotFound where it is not seen."""
        if self.namespace_path is None:
            if not authority.may(self.view_permission) or not self.find().filter(pk=pk).exists():
                raise exceptions.NotFound
            return None
        found = self.find().filter(pk=pk).values_list(self.namespace_path, flat=True).first()
        if found is None or not authority.may_in(found, self.view_permission):
            raise exceptions.NotFound
        return str(found)


class ByRole(BasePermission):
    """Asks the view which permission the action needs, and the caller's authority whether it is held.

    A view with `needs_everywhere` tells of all namespaces at once, so a role in one of them will not do.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated):
            return False
        action = getattr(view, "action", None)
        if request.method == "OPTIONS" or (hasattr(view, "action_map") and action is None):
            return True  # what is not there answers 405
        agent = getattr(request.user, "agent", None)
        if agent is not None:
            return _agent_may(agent, view)
        permission = view.needed_permission
        if permission == ANYBODY:
            return True
        authority = authority_for(request)
        namespace = _refuse_unseen_places(view, authority)
        if getattr(view, "needs_everywhere", False):
            may = permission in authority.everywhere
        elif namespace is None:
            may = authority.may(permission)
        else:
            may = authority.may_in(namespace, permission)
        if not may:
            refuse(permission, namespace)
        return True


def authority_for(request: Request) -> Authority:
    """Return what the caller of a request may do, found out once."""
    cached: Authority | None = getattr(request, "_authority", None)
    if cached is None:
        token = request.auth if isinstance(request.auth, ApiToken) else None
        cached = authority_of(request.user, token)
        request._authority = cached  # type: ignore[attr-defined]
    return cached


def caller_key(request: Request) -> str:
    """Return what tells the caller of a request from all others, whatever they are called.

    A token is a caller of its own: another one of the same user's may be permitted less.
    """
    if isinstance(request.auth, ApiToken):
        return f"token {request.auth.pk}"
    agent = getattr(request.user, "agent", None)
    if agent is not None:
        return f"agent {agent.pk}"
    return f"user {request.user.pk}"


def actor_for(request: Request) -> Actor:
    """Return the caller of a request as the one who does it."""
    address = address_of(request)
    if isinstance(request.auth, ApiToken):
        return token_actor(request.auth).at(address)
    agent = getattr(request.user, "agent", None)
    if agent is not None:
        return Actor(kind=ActorKind.AGENT, name=agent.name, address=address)
    return Actor(kind=ActorKind.USER, name=request.user.get_username(), address=address)


def authorize(request: Request, permission: str, namespace: str) -> None:
    """Raise PermissionDenied where the caller lacks `permission` in a namespace that the body names."""
    if not authority_for(request).may_in(namespace, permission):
        refuse(permission, namespace)


def seen(
    rows: QuerySet[Any], *, authority: Authority, permission: str, namespace_path: str | None
) -> QuerySet[Any]:
    """Return the rows that are in a namespace where `permission` is held."""
    if namespace_path is None:
        return rows if authority.may(permission) else rows.none()
    namespaces = authority.namespaces(permission)
    return rows if namespaces is None else rows.filter(**{f"{namespace_path}__in": sorted(namespaces)})


def refuse(permission: str, namespace: str | None) -> NoReturn:
    """Raise PermissionDenied that says which role and scope would do."""
    level = PERMISSIONS[permission]
    role = next(role for role, its_level in LEVEL_OF_ROLE.items() if its_level == level)
    scope = next(scope for scope, its_level in LEVEL_OF_SCOPE.items() if its_level == level)
    where = _("namespace %(namespace)s") % {"namespace": namespace} if namespace else _("every namespace (*)")
    raise exceptions.PermissionDenied(
        _("This needs the role %(role)s in %(where)s, and of a token the scope %(scope)s.")
        % {"role": role.value, "where": where, "scope": scope.value}
    )


def _refuse_unseen_places(view: Any, authority: Authority) -> str | None:
    """Return the namespace that the path leads to, None for none; raise NotFound for what is not seen."""
    namespace: str | None = None
    if "namespace" in view.kwargs:
        namespace = view.kwargs["namespace"]
        if "\x00" in namespace or not authority.may_in(namespace, view.needed_permission):
            raise exceptions.NotFound
    for name, rows in getattr(view, "places", {}).items():
        if name in view.kwargs:
            namespace = rows.refuse_unseen(authority, view.kwargs[name])
    return namespace


def _agent_may(agent: Model, view: Any) -> bool:
    """Whether an agent may do it: to itself, and to its own attempts; what is not its own is not there."""
    if getattr(view, "action", None) not in getattr(view, "agent_actions", ()):
        return False
    if "pk" in view.kwargs and not view.rows_of_agent(agent).filter(pk=view.kwargs["pk"]).exists():
        raise exceptions.NotFound
    return True
