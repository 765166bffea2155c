"""The OpenAPI document, derived from the view sets' tables and serializers."""

from functools import cache
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from rest.idempotency import HEADER
from rest.querying import QueryTable
from rest.serializers import ErrorResponseSerializer, NoBody, PageInfoSerializer, PageRequestSerializer

_ERRORS = {
    "400": "The request is not valid; one entry for each field at fault.",
    "401": "Not authenticated.",
    "404": "Not found.",
    "409": "The current state forbids it.",
}


class ResourceSchema(AutoSchema):
    """Knows the actions of ResourceViewSet; others are described by `@extend_schema`."""

    view: Any

    def get_operation_id(self) -> str:
        tokens = [token.strip("{}").replace("-", "_") for token in self.path.strip("/").split("/")]
        return "_".join([*tokens[2:], self.method.lower()])

    def get_tags(self) -> list[str]:
        return [self.path.strip("/").split("/")[2]]

    def get_description(self) -> str:  # type: ignore[override]
        action = getattr(self.view, self.view.action or "", None)
        return (getattr(action, "__doc__", None) or "").strip().split("\n")[0]

    def get_request_serializer(self) -> Any:
        view = self.view
        if view.action == "query":
            return _query_request(_entity_name(view), view.table)
        if self.method in ("POST", "PATCH"):
            return view.request_serializers.get(view.action, NoBody)
        return None

    def get_response_serializers(self) -> Any:
        view = self.view
        entity = view.entity_serializer
        answers: dict[int, Any]
        if view.action in ("query", "list"):
            answers = {200: _page_of(entity, _entity_name(view))}
        elif view.action == "create":
            answers = {201: entity}
        elif view.action == "destroy":
            answers = {204: None}
        elif view.action in ("retrieve", "partial_update") or self.method == "POST":
            answers = {200: entity}
        else:
            answers = {200: entity(many=True)}
        return answers

    def get_override_parameters(self) -> list[Any]:
        if self.view.action == "list":
            return list(_list_parameters(self.view.table))
        if self.view.action in ("create", "trigger"):
            return [OpenApiParameter(HEADER, str, OpenApiParameter.HEADER, description="Do it once.")]
        return []

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        for code, description in _ERRORS.items():
            if code not in bodies and not (code in ("404", "409") and "{" not in self.path):
                response = OpenApiResponse(ErrorResponseSerializer, description=description)
                bodies[code] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                    response, code, direction=direction
                )
        return bodies


def _entity_name(view: Any) -> str:
    return str(view.entity_serializer.__name__).removesuffix("Serializer")


@cache
def _query_request(name: str, table: QueryTable) -> Any:
    fields: dict[str, Any] = {
        field: serializers.JSONField(
            required=False,
            help_text=f"{entry.kind.name}, or an object of {', '.join(sorted(entry.operators))}",
        )
        for field, entry in table.fields.items()
    }
    return inline_serializer(
        f"{name}Query",
        {
            "filter": inline_serializer(f"{name}Filter", fields, required=False),
            "page": PageRequestSerializer(required=False),
        },
    )


@cache
def _page_of(entity: Any, name: str) -> Any:
    return inline_serializer(f"{name}Page", {"page": PageInfoSerializer(), "data": entity(many=True)})


def _list_parameters(table: QueryTable) -> Any:
    yield OpenApiParameter("page", int, description="From 1; or give `offset`.")
    yield OpenApiParameter("limit", int, description="1 to 500, 20 where absent.")
    yield OpenApiParameter("offset", int)
    yield OpenApiParameter(
        "order_by", str, description="Comma-separated, `-` for descending: " + ", ".join(table.sort_keys)
    )
    for name, entry in table.fields.items():
        operators = ", ".join(f"`{name}__{operator}`" for operator in sorted(entry.operators))
        yield OpenApiParameter(name, entry.kind.schema, description=f"Also {operators}.")
