"""The routes of the API as the browsable API links them: which ones lead on from a page, and what they do."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from django.urls import URLPattern, get_resolver, get_script_prefix

from rest.openapi.naming import operation_id, tag

ROOT: Final = "api/v1"
_METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
_PARAMETER: Final = re.compile(r"<(?:(\w+):)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """One path: a template such as `api/v1/jobs/<int:pk>/enable`, and the view methods by HTTP method."""

    template: str
    view_class: Any
    actions: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(name for _converter, name in _PARAMETER.findall(self.template))

    @property
    def resource(self) -> str:
        """The first part below the version, such as jobs."""
        return self.template.removeprefix(f"{ROOT}/").split("/", 1)[0]

    def url(self, values: Mapping[str, Any]) -> str:
        """Return the path with its parameters filled in."""
        filled = _PARAMETER.sub(lambda found: str(values[found[2]]), self.template)
        return get_script_prefix() + filled

    def list_template(self, action: str) -> str:
        """Return the template of the list that what an action answers is one of."""
        if action in ("list", "query", "create"):
            return re.sub("/(query|create)$", "", self.template)
        if action in ("retrieve", "partial_update", "destroy"):
            return self.template.rpartition("/<")[0]
        return f"{ROOT}/{self.resource}"

    def below(self, other: "Route") -> str:
        """Return what this route's template has beyond that of `other`, empty where it is not below it."""
        start = f"{other.template}/"
        return self.template.removeprefix(start) if self.template.startswith(start) else ""

    def anchor(self, method: str) -> str:
        """Return where the documentation describes an operation."""
        path = "/" + _PARAMETER.sub(lambda found: f"{{{found[2].replace('pk', 'id')}}}", self.template)
        return f"#tag/{tag(path)}/operation/{operation_id(path, method, self.actions[method])}"


@cache
def routes() -> tuple[Route, ...]:
    """Return all routes of the API, in the order of the URL configuration."""
    return tuple(_walk(get_resolver().url_patterns, ""))


def route_of(template: str) -> Route | None:
    """Return the route that a request was resolved to."""
    return next((route for route in routes() if route.template == template), None)


def entry_route(list_template: str) -> Route | None:
    """Return the route of one entry of a list, such as `api/v1/jobs/<int:pk>`."""
    for route in routes():
        end = route.template.removeprefix(f"{list_template}/")
        if end != route.template and _PARAMETER.fullmatch(end):
            return route
    return None


def _walk(patterns: Any, prefix: str) -> Iterator[Route]:
    for pattern in patterns:
        template = prefix + str(pattern.pattern)
        if not isinstance(pattern, URLPattern):
            yield from _walk(pattern.url_patterns, template)
            continue
        view_class = getattr(pattern.callback, "cls", None)
        if view_class is not None and (template == ROOT or template.startswith(f"{ROOT}/")):
            options = getattr(pattern.callback, "initkwargs", {})
            yield Route(template, view_class, _actions(pattern.callback), options)


def _actions(callback: Any) -> dict[str, str]:
    actions = getattr(callback, "actions", None)
    if actions is None:
        return {method: method.lower() for method in _METHODS if hasattr(callback.cls, method.lower())}
    return {method: actions[method.lower()] for method in _METHODS if method.lower() in actions}
