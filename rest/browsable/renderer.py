"""The browsable API: what a browser sees of every path, with forms for all that can be done from there.

DRF loads this module with its settings, so it must import nothing that needs views.
"""

import json
from collections.abc import Iterator
from typing import Any

from django.urls import Resolver404, get_script_prefix, resolve
from rest_framework import status
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer

from rest.browsable.filters import LIMITS, page_links, panel_of
from rest.browsable.links import Linker, json_html
from rest.browsable.offers import links_at, offers_at
from rest.browsable.routes import ROOT, Route, entry_route, route_of
from rest.browsable.tables import table_of
from rest.controls import visible
from rest.openapi.documentation import EMPTY
from rest.openapi.naming import noun, nouns, sentences, summary, without_marks

_SHOWN_HEADERS = ("Allow", "Idempotent-Replayed", "Retry-After", "X-Total-Count")


class BrowsableRenderer(BrowsableAPIRenderer):
    """Renders one page; its forms send JSON by a script and show the answer below themselves."""

    def get_context(self, data: Any, accepted_media_type: Any, renderer_context: Any) -> dict[str, Any]:
        view, request = renderer_context["view"], renderer_context["request"]
        response = renderer_context["response"]
        route = _route(request)
        linker = _linker(route, view, request)
        plain = json.loads(JSONRenderer().render(data) or b"null")
        is_refusal = response.status_code >= status.HTTP_400_BAD_REQUEST
        is_dead_end = response.status_code == status.HTTP_405_METHOD_NOT_ALLOWED and request.method == "GET"
        context = {
            "request": request,
            "response": response,
            "headers": [(name, response[name]) for name in _SHOWN_HEADERS if name in response],
            "user": request.user,
            "name": _title(route, view),
            "description": _description(route, view),
            "crumbs": list(_crumbs(request)),
            "text": visible(plain) if isinstance(plain, str) else None,
            "answer": json_html(plain, linker),
            "is_refusal": is_refusal and not is_dead_end,
            "is_dead_end": is_dead_end,
            "errors": plain.get("errors", []) if is_refusal and isinstance(plain, dict) else [],
            "asks_for_login": not request.user.is_authenticated and bool(view.get_authenticators()),
        }
        if route is not None and request.method == "GET" and (is_dead_end or not is_refusal):
            context |= _ways_on(route, view, request, None if is_refusal else plain)
        is_list = getattr(view, "action", None) == "list"
        if is_list:
            context |= {"panel": panel_of(view.table, request.query_params), "limits": LIMITS}
        if is_list and not is_refusal:
            context |= {"page": plain["page"], "pages": page_links(request.query_params, plain["page"])}
        if route is not None and not is_refusal:
            context["table"] = table_of(
                plain["data"] if isinstance(plain, dict) and isinstance(plain.get("data"), list) else plain,
                linker=linker,
                params=request.query_params,
                sort_keys=view.table.sort_keys if is_list else (),
            )
        return context


def _ways_on(route: Route, view: Any, request: Any, shown: Any) -> dict[str, Any]:
    """Return what leads on from a page: other formats, links, and forms unless it is the root."""
    formats = []
    for renderer in view.renderer_classes if shown is not None else ():
        if not issubclass(renderer, BrowsableAPIRenderer):
            params = request.query_params.copy()
            params["format"] = renderer.format
            formats.append((renderer.format, f"?{params.urlencode()}"))
    return {
        "formats": formats,
        "links": list(links_at(route, view, request, shown)) if shown is not None else [],
        "offers": list(offers_at(route, view, request, shown)) if route.template != ROOT else [],
    }


def _route(request: Any) -> Route | None:
    return route_of(request.resolver_match.route) if request.resolver_match else None


def _action(route: Route, view: Any) -> str:
    """Return the view method that the page is about: the current one, or what a form of it does."""
    action = getattr(view, "action", None)
    return action if action not in (None, "metadata") else next(iter(route.actions.values()))


def _title(route: Route | None, view: Any) -> str:
    if route is None:
        return "Not found"
    if route.template == ROOT:
        return "Hetuflow API"
    path, action = f"/{route.template}", _action(route, view)
    match action:
        case "list":
            return nouns(path, action).capitalize()
        case "retrieve" | "partial_update" | "destroy":
            return f"{noun(path, action).capitalize()} {view.kwargs['pk']}"
    return without_marks(summary(path, action, getattr(view, action)))


def _description(route: Route | None, view: Any) -> str:
    if route is None:
        return ""
    action = _action(route, view)
    if action == "list":
        return sentences(type(view))[0]
    more = sentences(getattr(view, action))[1:]
    return without_marks(" ".join([*more, getattr(view, "documentation", EMPTY).of(action).notes]).strip())


def _linker(route: Route | None, view: Any, request: Any) -> Linker:
    base = request.build_absolute_uri(f"/{ROOT}/")
    if route is None:
        return Linker(own="", base=base)
    action = _action(route, view)
    resource = getattr(view, "documentation", EMPTY).of(action).resource
    template = f"{ROOT}/{resource}" if resource else route.list_template(action)
    entries = route_of(template)
    has_pages = entries is not None and entry_route(template) is not None
    return Linker(own=entries.url(view.kwargs) if entries and has_pages else "", base=base)


def _crumbs(request: Any) -> Iterator[tuple[str, str]]:
    """Yield the parts of the path from the API's root on, with the paths that they lead to."""
    prefix = get_script_prefix()
    path = request.path.removeprefix(prefix).removeprefix(ROOT).strip("/")
    yield "API", f"{prefix}{ROOT}"
    parts = path.split("/") if path else []
    for number, part in enumerate(parts, start=1):
        url = f"{prefix}{ROOT}/{'/'.join(parts[:number])}"
        yield part, url if _leads_somewhere(url) else ""


def _leads_somewhere(url: str) -> bool:
    try:
        return route_of(resolve(url).route) is not None
    except Resolver404:
        return False
