"""What every path below /api, and /metrics, needs of its caller: read off the resolver, as Markdown.

A path whose view states no permission is an error here, and in a request a refusal.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver

from access.roles import LEVEL_OF_ROLE, LEVEL_OF_SCOPE, NAMESPACED, PERMISSIONS, Level
from rest.permissions import ANYBODY, ByRole

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_OURS: Final = re.compile(r"(?:api|metrics)\b")
# Paths that ask nobody who they are, and why.
OPEN: Final = {
    "/api/schema": "documentation",
    "/api/docs": "documentation",
    "/api/redoc": "documentation",
    "/api/v1/agents/enroll": "a one-time token in the body opens it",
    "/api/v1/health": "for load balancers; details need gateway.view_server",
    "/api/v1/system/health": "for load balancers; details need gateway.view_server",
    "/api/…": "any other path: a 404",
}


class Reach(StrEnum):
    """Where the permission must be held."""

    OPEN = "open to all"
    CALLER = "whoever is logged in"
    OBJECT = "its namespace"
    BODY = "the namespace in the body"
    SEEN = "any namespace; shows what is in those"
    SHARED = "any namespace"
    EVERYWHERE = "`*`"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one method of one path needs; `permission` is empty where no role is asked for."""

    method: str
    path: str
    action: str
    view: str
    permission: str
    reach: Reach
    is_for_agents: bool

    @property
    def level(self) -> Level | None:
        return PERMISSIONS[self.permission] if self.permission else None


def rules() -> list[Rule]:
    """Return the rules of all methods of all paths; raise ImproperlyConfigured where one states none."""
    found = (
        rule
        for route, callback in _routes(get_resolver())
        if _OURS.match(route)
        for rule in _rules_of(f"/{route}", callback)
    )
    return sorted(found, key=lambda rule: (rule.path, rule.method))


def as_markdown() -> str:
    """Return the matrix as a table; what two spellings of a path do alike is one row."""
    rows: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules():
        rows.setdefault((rule.view, rule.action), []).append(rule)
    head = [
        "| request | permission | role | token's scope | where | agents |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *(_row(alike) for alike in rows.values())]) + "\n"


def _row(alike: list[Rule]) -> str:
    first = alike[0]
    requests = "<br>".join(f"`{rule.method} {rule.path}`" for rule in alike)
    permission, role, scope = "", "", ""
    if first.level is not None:
        permission = f"`{first.permission}`"
        role = next(role.value for role, level in LEVEL_OF_ROLE.items() if level == first.level)
        scope = next(scope.value for scope, level in LEVEL_OF_SCOPE.items() if level == first.level)
    where = first.reach.value
    if first.reach is Reach.OPEN:
        where += f": {OPEN[first.path]}"
    agents = "their own" if first.is_for_agents else ""
    return f"| {requests} | {permission} | {role} | {scope} | {where} | {agents} |"


def _routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _routes(entry, route)
        elif isinstance(entry, URLPattern):
            yield route.removeprefix("^"), entry.callback


def _rules_of(route: str, callback: Any) -> Iterator[Rule]:
    view_class = getattr(callback, "cls", None)
    if view_class is None:
        raise ImproperlyConfigured(f"{route} is no view of the REST framework, which asks for permission")
    path = _readable(route)
    for method, action in _actions(callback):
        view = view_class(**callback.initkwargs)
        view.action = action
        permission, reach = _need(view, path, keys=re.findall(r"<\w+:(\w+)>", route))
        yield Rule(
            method=method.upper(),
            path=path,
            action=action,
            view=view_class.__name__,
            permission=permission,
            reach=reach,
            is_for_agents=action in getattr(view, "agent_actions", ()),
        )


def _actions(callback: Any) -> Iterable[tuple[str, str]]:
    """Return the methods that a view answers, each with what it calls it."""
    if hasattr(callback, "actions"):
        return [(method, callback.actions[method]) for method in _METHODS if method in callback.actions]
    methods = [method for method in _METHODS if hasattr(callback.cls, method)]
    return [(method, method) for method in methods] or [("any", "")]


def _need(view: Any, path: str, *, keys: list[str]) -> tuple[str, Reach]:
    """Return the permission that an action needs, and where it must be held."""
    if ByRole not in view.permission_classes:
        if path not in OPEN:
            raise ImproperlyConfigured(f"{path} is open to all and not among the open paths")
        return "", Reach.OPEN
    permission = getattr(view, "needed_permission", None)
    if permission == ANYBODY:
        return "", Reach.CALLER
    if permission not in PERMISSIONS:
        raise ImproperlyConfigured(f"{path}: {type(view).__name__} states no permission for {view.action}")
    if permission not in NAMESPACED or getattr(view, "needs_everywhere", False):
        return permission, Reach.EVERYWHERE
    places = getattr(view, "places", {})
    if "namespace" in keys or any(places[key].namespace_path for key in keys if key in places):
        return permission, Reach.OBJECT
    if getattr(view, "namespace_path", None) is None:
        return permission, Reach.SHARED
    return permission, Reach.BODY if view.action == "create" else Reach.SEEN


def _readable(route: str) -> str:
    """Return a route as people write it, `/api/v1/jobs/{id}`."""
    if "(" in route:
        return "/api/…"
    return re.sub(r"<\w+:(\w+)>", lambda key: "{id}" if key[1] == "pk" else f"{{{key[1]}}}", route)
