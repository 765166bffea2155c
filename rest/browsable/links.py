"""JSON as HTML in which ids lead to what they name."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from rest.browsable.routes import routes

_INDENT: Final = "  "
_ID: Final = re.compile(r"[0-9]{1,19}|[0-9a-fA-F-]{36}")


def json_html(value: Any, *, resource: str, base: str) -> SafeString:
    """Return JSON with links.

    `resource` is what the `id` of the outermost objects is one of; addresses that begin with `base` lead on.
    """
    return mark_safe("".join(_pieces(value, "", resource, base)))  # noqa: S308 (every piece is escaped)


def _pieces(value: Any, indent: str, resource: str, base: str) -> Iterable[str]:
    inner = indent + _INDENT
    if isinstance(value, dict) and value:
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield f"{',' if number else ''}\n{inner}<b>{escape(json.dumps(key))}</b>: "
            target = target_of(key, item, resource)
            # Nested objects have ids of their own kind, unless they are the entries of a page.
            below = resource if key == "data" else ""
            yield from _linked(item, target) if target else _pieces(item, inner, below, base)
        yield f"\n{indent}}}"
    elif isinstance(value, list) and value:
        yield "["
        for number, item in enumerate(value):
            yield f"{',' if number else ''}\n{inner}"
            yield from _pieces(item, inner, resource, base)
        yield f"\n{indent}]"
    elif isinstance(value, str) and value.startswith(base):
        yield from _linked(value, value)
    else:
        text = escape(json.dumps(value, ensure_ascii=False))
        yield f"<i>{text}</i>" if isinstance(value, str) else text


def _linked(value: Any, target: str) -> Iterable[str]:
    yield f'<a href="{escape(target)}">{escape(json.dumps(value, ensure_ascii=False))}</a>'


def target_of(key: str, value: Any, resource: str) -> str:
    """Return the path of what a value names, empty where it names nothing."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not _ID.fullmatch(str(value)):
        return ""
    if key == "id":
        named = resource
    elif key.endswith("_id"):
        named = key.removesuffix("_id").replace("_", "-") + "s"
    else:
        return ""
    detail = (
        route
        for route in routes()
        if route.resource == named and route.template.endswith("pk>") and "GET" in route.actions
    )
    return next((route.url({"pk": value}) for route in detail), "")
