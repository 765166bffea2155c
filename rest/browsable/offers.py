"""What one can do from a page of the browsable API: forms that send JSON, and links that lead on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.urls import reverse
from rest_framework import exceptions, serializers
from rest_framework.request import Request

from rest.browsable.routes import Route, routes
from rest.controls import printable_json
from rest.openapi.documentation import EMPTY, Documentation
from rest.openapi.naming import summary, without_marks

# The other spellings of what the page offers anyway.
_TWINS: Final = frozenset({"create", "update"})
_WORDS: Final[Mapping[type, str]] = {
    serializers.BooleanField: "true or false",
    serializers.IntegerField: "integer",
    serializers.FloatField: "number",
    serializers.DateTimeField: "time, such as 2026-01-02T03:04:05Z",
    serializers.UUIDField: "UUID",
    serializers.CharField: "string",
    serializers.ListField: "list",
    serializers.Serializer: "object",
}


@dataclass(frozen=True, slots=True)
class FormField:
    """One field that a body may hold."""

    name: str
    is_required: bool
    kind: str
    help_text: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One operation; `bodies` are JSON texts by title, empty where it takes none."""

    method: str
    url: str
    summary: str
    bodies: Mapping[str, str]
    fields: tuple[FormField, ...]
    documentation: str

    @property
    def first_body(self) -> str:
        return next(iter(self.bodies.values()), "")

    @property
    def name(self) -> str:
        return self.url.rstrip("/").rsplit("/", 1)[-1]


def offers_at(route: Route, view: Any, request: Request, entity: Any) -> Iterator[Offer]:
    """Yield the operations of the page's own path, then those below it; `entity` is what the page shows."""
    own = [(route, method) for method in route.actions if method != "GET"]
    below = [
        (other, method)
        for other in routes()
        for method in other.actions
        if method != "GET" and (end := other.below(route)) and end not in _TWINS and not {*"</"} & {*end}
    ]
    for other, method in (*own, *below):
        if may(other, method, view.kwargs, request):
            yield _offer(other, method, view.kwargs, entity)


def links_at(route: Route, view: Any, request: Request, entity: Any) -> Iterator[str]:
    """Yield the paths that can be read from here: below this one, and those of other resources about it."""
    for other in routes():
        if "GET" in other.actions and other is not route:
            for values in _values_for(other, route, view, entity):
                if may(other, "GET", values, request):
                    yield other.url(values)


def may(route: Route, method: str, values: Mapping[str, Any], request: Request) -> bool:
    """Whether the caller may do it, as far as can be told before the body is known."""
    view = route.view_class(**route.options)
    view.request, view.args, view.kwargs, view.format_kwarg = request, (), dict(values), None
    view.action_map = {name.lower(): action for name, action in route.actions.items()}
    view.action = route.actions[method]
    try:
        view.check_permissions(request)
    except exceptions.APIException:
        return False
    return True


def _values_for(other: Route, route: Route, view: Any, entity: Any) -> Iterator[dict[str, Any]]:
    """Yield the parameters with which `other` says more about the page of `route`."""
    below = other.below(route)
    if below and not {*"</"} & {*below}:
        yield dict(view.kwargs)
    if len(other.parameters) != 1 or other.parameters == ("pk",):
        return
    (name,) = other.parameters
    if "pk" in view.kwargs:
        if name == f"{route.resource.removesuffix('s').replace('-', '_')}_id":
            yield {name: view.kwargs["pk"]}
        elif other.resource == route.resource and isinstance(entity, dict) and entity.get(name) is not None:
            yield {name: entity[name]}
    elif below:
        table = getattr(view, "table", None)
        field = table.fields.get(name) if table is not None else None
        for choice in field.kind.schema.get("enum", ()) if field else ():
            yield {name: choice}


def _offer(route: Route, method: str, values: Mapping[str, Any], entity: Any) -> Offer:
    action = route.actions[method]
    documentation: Documentation = getattr(route.view_class, "documentation", EMPTY)
    reader = _reader(route.view_class, action)
    bodies: dict[str, Any] = {}
    if action == "partial_update" and isinstance(entity, dict):
        bodies["As it is now"] = {name: entity[name] for name in reader().fields if name in entity}
    bodies |= documentation.of(action).requests
    if not bodies and reader is not None and reader().fields:
        bodies["Empty"] = {}
    return Offer(
        method=method,
        url=route.url(values),
        summary=without_marks(summary(f"/{route.template}", action, getattr(route.view_class, action))),
        bodies={title: printable_json(body, indent=2) for title, body in bodies.items()},
        fields=tuple(_fields(reader)) if reader is not None else (),
        documentation=reverse("redoc") + route.anchor(method),
    )


def _reader(view_class: Any, action: str) -> Any:
    """Return the serializer class that reads the body of an action, None where the view names none."""
    readers = getattr(view_class, "request_serializers", None)
    if readers is not None:
        return readers.get(action)
    return getattr(view_class, "serializer_class", None)


def _fields(reader: Any) -> Iterator[FormField]:
    for name, field in reader().fields.items():
        if isinstance(field, serializers.ChoiceField):
            kind = "one of " + ", ".join(map(str, field.choices))
        else:
            kind = next((words for base, words in _WORDS.items() if isinstance(field, base)), "object")
        yield FormField(name, bool(field.required), kind, str(field.help_text or ""))
