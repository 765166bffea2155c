"""Paths of the REST contract: without trailing slash, both spellings of create and update."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from django.urls import URLPattern, path, register_converter

from rest.views import ResourceViewSet

STANDARD_ACTIONS: Final = ("list", "query", "create", "retrieve", "partial_update", "destroy")


class UUIDConverter:
    """A UUID in either case; Django's own takes lower case only."""

    regex = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

    def to_python(self, value: str) -> str:
        return value.lower()

    def to_url(self, value: object) -> str:
        return str(value)


register_converter(UUIDConverter, "id")


def resource_paths(
    prefix: str,
    view_set: type[ResourceViewSet],
    *,
    key: str = "int",
    actions: Mapping[str, Mapping[str, str]] | None = None,
    only: Collection[str] = STANDARD_ACTIONS,
) -> list[URLPattern]:
    """Return the routes of one resource.

    `key` is the path converter of its ids. `actions` maps paths below the prefix, such as
    `<pk>/enable`, to methods and names of view set methods. `only` names the standard actions it has.
    """
    standard: dict[str, dict[str, str]] = {
        "": {"get": "list", "post": "create"},
        "/query": {"post": "query"},
        "/create": {"post": "create"},
        f"/<{key}:pk>": {"get": "retrieve", "patch": "partial_update", "delete": "destroy"},
        f"/<{key}:pk>/update": {"post": "partial_update"},
    }
    routes: dict[str, dict[str, Any]] = {
        below: {method: name for method, name in methods.items() if name in only}
        for below, methods in standard.items()
    }
    for below, methods in (actions or {}).items():
        routes["/" + re.sub("<pk>", f"<{key}:pk>", below)] = dict(methods)
    return [path(prefix + below, view_set.as_view(methods)) for below, methods in routes.items() if methods]
