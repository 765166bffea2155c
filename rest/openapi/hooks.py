"""Last touches to the OpenAPI document."""

from typing import Any, Final

from drf_spectacular.plumbing import get_lib_doc_excludes

from rest.serializers import RequestSerializer

_INT32_MAX: Final = 2**31 - 1
_NO_SCHEMAS: Final = frozenset({"example", "examples", "value", "default", "enum"})


def polish(result: dict[str, Any], **_context: Any) -> dict[str, Any]:
    """Say how large integers are, and leave out what only repeats names: titles, and readOnly of answers."""
    _polish(result["paths"])
    _polish(result["components"])
    return result


def doc_excludes() -> list[type]:
    """Return the classes whose docstrings are not about any one component."""
    return [*get_lib_doc_excludes(), RequestSerializer]  # type: ignore[no-untyped-call]


def _polish(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _polish(item)
    if not isinstance(node, dict):
        return
    kinds = node.get("type")
    if kinds == "integer" or (isinstance(kinds, list) and "integer" in kinds):
        is_small = node.get("maximum", 2**63) <= _INT32_MAX
        node.setdefault("format", "int32" if is_small else "int64")
    if node.get("oneOf") == [{}, {"type": "null"}]:
        del node["oneOf"]  # null is one of all values
    if isinstance(node.get("properties"), dict):
        _polish_properties(node["properties"])
    for name, child in node.items():
        if name not in _NO_SCHEMAS:
            _polish(child)


def _polish_properties(properties: dict[str, Any]) -> None:
    for schema in properties.values():
        schema.pop("readOnly", None)
        schema.pop("title", None)
        if list(schema) == ["allOf"] and len(schema["allOf"]) == 1:
            schema |= schema.pop("allOf")[0]
