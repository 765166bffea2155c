"""Which pages the admin has, and where, with an object of ours on each."""

import re
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import URLPattern, get_resolver

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
# Of these, the admin's own page for a plain address: it only leads on to `change/`.
_REDIRECT = "<path:object_id>/"


def models() -> list[str]:
    """Return the kinds of objects of the admin, as app.model."""
    return sorted(model._meta.label_lower for model in admin.site._registry)


def paths_of(label: str) -> Iterator[str]:
    """Yield the addresses below a kind of object, with the newest one in those of one object."""
    model, pages = next(each for each in admin.site._registry.items() if each[0]._meta.label_lower == label)
    found = newest(model)
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    for route in _routes(pages.get_urls()):
        if route != _REDIRECT:
            yield base + _PARAMETER.sub(str(found.pk), route)


def other_routes() -> list[str]:
    """Return all routes of the server but those below a kind of object: of pages, and of what is none."""
    below = tuple(f"admin/{label.replace('.', '/')}/" for label in models())
    return [route for route in _routes(get_resolver().url_patterns) if not route.startswith(below)]


def newest(model: type[Model], **which: Any) -> Any:
    """Return the newest object of a kind."""
    found = model._default_manager.filter(**which).order_by("pk").last()
    assert found is not None, (
        f"make a {model.__name__} in tests/browser/world.py, so that its pages are looked at"
    )
    return found


def _routes(patterns: list[Any], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from _routes(pattern.url_patterns, route)
