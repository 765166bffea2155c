"""The bodies of queries in the OpenAPI document, derived from the tables that read them."""

from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar, Final

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from rest import kinds
from rest.kinds import Kind
from rest.openapi.components import refer
from rest.openapi.enums import enum_name, enum_ref
from rest.querying import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, MAX_ORDER_KEYS, Field, QueryTable

Schema = dict[str, Any]
_MEANINGS: Final = {
    "eq": "Equal; null: has none.",
    "ne": "Not equal; null: has some.",
    "in": "One of these.",
    "not_in": "None of these.",
    "gt": "Greater, or later.",
    "gte": "Greater, later or equal.",
    "lt": "Less, or earlier.",
    "lte": "Less, earlier or equal.",
    "contains": "Contains this text.",
    "icontains": "Contains this text in whatever case.",
    "startswith": "Starts with this text.",
    "endswith": "Ends with this text.",
    "is_null": "Whether it has none.",
}
_LABELS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": kinds.MAX_TEXT_CHARS},
    "maxProperties": kinds.MAX_LIST_ITEMS,
    "description": "The row carries at least these labels.",
    "examples": [{"env": "prod"}],
}
_TAG: Final[Schema] = {"type": "string", "maxLength": kinds.MAX_TEXT_CHARS}
_TAGS: Final[list[Schema]] = [_TAG, {"type": "array", "items": _TAG, "maxItems": kinds.MAX_LIST_ITEMS}]


class QueryBody(serializers.Serializer[Any]):
    """The body of a query; made by `query_body`."""

    resource: ClassVar[str]
    table: ClassVar[QueryTable]


@cache
def query_body(resource: str, table: QueryTable) -> type[QueryBody]:
    """Return the class that stands for the body of queries of `resource`, such as Job."""
    return type(f"{resource}Query", (QueryBody,), {"resource": resource, "table": table, "__doc__": ""})


class QueryBodyExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes a QueryBody by its table."""

    target_class = "rest.openapi.queries.QueryBody"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Schema:
        body: QueryBody = self.target
        registry = auto_schema.registry
        return {
            "type": "object",
            "properties": {
                "filter": _nullable(refer(f"{body.resource}Filter", _filter(body.table, registry), registry)),
                "page": _nullable(refer(f"{body.resource}PageRequest", _page_request(body.table), registry)),
            },
            "additionalProperties": False,
        }


def list_parameters(table: QueryTable, registry: Any) -> Iterator[OpenApiParameter]:
    """Yield the parameters of a GET list, which say what the body of a query says."""
    for name, schema in _page(table).items():
        if name != "order_bys":
            schema["type"] = "integer"
            yield OpenApiParameter(name, schema, description=schema.pop("description"))
    keys = ", ".join(f"`{key}`" for key in table.sort_keys)
    key = _order_key(table)
    pattern = f"^({key}(,{key}){{0,{MAX_ORDER_KEYS - 1}}})?$"
    yield OpenApiParameter(
        "order_by",
        {"type": "string", "pattern": pattern, "examples": [f"-{table.sort_keys[-1]}"]},
        description=f"Comma-separated keys, descending with `-`: {keys}.",
    )
    for name, entry in table.fields.items():
        yield OpenApiParameter(name, _parameter(entry, registry), description=_parameter_text(name, entry))


def _filter(table: QueryTable, registry: Any) -> Schema:
    properties = {name: _field(entry, registry) for name, entry in table.fields.items()}
    return {
        "type": "object",
        "description": "Conditions, all of which must be true.",
        "properties": properties,
        "additionalProperties": False,
    }


def _field(entry: Field, registry: Any) -> Schema:
    """Return what a filter may say about one field: a value, or an object of operators."""
    kind = entry.kind
    if kind is kinds.LABELS:
        return _LABELS
    if kind is kinds.TAGS:
        operators = _object({"contains": {"oneOf": _TAGS}})
        return refer("TagsFilter", {"oneOf": [*_TAGS, operators]}, registry)
    value = _value(kind, registry)
    if entry.lookup:
        return value
    name = _kind_name(kind)
    operators = refer(f"{name}Operators", _operators(kind, value), registry)
    nullable = _nullable(value)
    values = nullable.get("oneOf", [nullable])
    described = {"oneOf": [*values, operators], "description": "A value, or an object of operators."}
    return refer(f"{name}Filter", described, registry)


def _operators(kind: Kind, value: Schema) -> Schema:
    properties: dict[str, Schema] = {}
    for operator, meaning in _MEANINGS.items():
        if operator not in kind.operators:
            continue
        match operator:
            case "eq" | "ne":
                schema = _nullable(value)
            case "in" | "not_in":
                schema = {"type": "array", "items": value, "maxItems": kinds.MAX_LIST_ITEMS}
            case "is_null":
                schema = {"type": "boolean"}
            case "contains" | "icontains" | "startswith" | "endswith":
                schema = {"type": "string", "maxLength": kinds.MAX_TEXT_CHARS}
            case _:
                schema = value
        properties[operator] = {**schema, "description": meaning}
    return {
        **_object(properties),
        "description": "Operators, all of which must hold.",
    }


def _value(kind: Kind, registry: Any) -> Schema:
    return enum_ref(kind.schema["enum"], registry) if "enum" in kind.schema else dict(kind.schema)


def _kind_name(kind: Kind) -> str:
    """Return the name that the components of a kind begin with, such as Text or TaskStatus."""
    if "enum" in kind.schema:
        return enum_name(kind.schema["enum"]) or "Choice"
    return kind.name.capitalize()


def _nullable(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"oneOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def _page_request(table: QueryTable) -> Schema:
    either = {"not": {"required": ["page", "offset"]}}
    return {**_object(_page(table)), "description": "Give either `page` or `offset`.", **either}


def _page(table: QueryTable) -> Schema:
    """Return what may be said of paging, by name."""
    keys = ", ".join(f"`{key}`" for key in table.sort_keys)
    order_key = {"type": "string", "pattern": f"^{_order_key(table)}$"}
    properties = {
        "page": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_OFFSET // MAX_LIMIT,
            "default": 1,
            "description": "From 1.",
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "default": DEFAULT_LIMIT,
            "description": "How many entries.",
        },
        "offset": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_OFFSET,
            "description": "How many entries to leave out, in place of `page`.",
        },
        "order_bys": {
            "type": "array",
            "items": order_key,
            "maxItems": MAX_ORDER_KEYS,
            "description": f"Keys, descending with `-`: {keys}. Without them the newest come first.",
        },
    }
    return {name: {**about, "type": [about["type"], "null"]} for name, about in properties.items()}


def _order_key(table: QueryTable) -> str:
    return f"-?({'|'.join(table.sort_keys)})"


def _parameter(entry: Field, registry: Any) -> Schema:
    """Return the schema of the parameter that compares a field for equality, or contains labels or tags."""
    match entry.kind:
        case kinds.LABELS:
            return {"type": "string", "examples": ["env=prod,zone=a"]}
        case kinds.TAGS:
            return {"type": "string", "examples": ["nightly,database"]}
        case kinds.SECONDS:
            return {"type": "integer", "minimum": 0}
    return _value(entry.kind, registry)


def _parameter_text(name: str, entry: Field) -> str:
    if entry.kind is kinds.LABELS:
        return "At least these labels, comma-separated."
    if entry.kind is kinds.TAGS:
        return "At least these tags, comma-separated."
    if entry.lookup:
        return ""
    others = " ".join(operator for operator in _MEANINGS if operator in entry.operators - {"eq"})
    return f"Equal; others as `{name}__ne`: `{others}`."


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}
