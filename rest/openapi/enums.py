"""Every choice as a component with a name of its own, as `ENUM_NAME_OVERRIDES` of the settings lists them."""

import enum
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from django.utils.module_loading import import_string
from drf_spectacular.drainage import warn
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.settings import spectacular_settings

from rest.openapi.components import refer


class NamedChoices(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Describes a ChoiceField as a reference to the component of its choices."""

    target_class = "rest_framework.serializers.ChoiceField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return enum_ref(self.target.choices, auto_schema.registry)


def enum_ref(values: Iterable[str], registry: Any) -> dict[str, Any]:
    """Return a reference to the component of these values, which is made where it is missing."""
    found = _find(values)
    if not found.name:
        return found.schema
    return refer(found.name, found.schema, registry)


def enum_name(values: Iterable[str]) -> str:
    """Return the name of the component with these values."""
    return _find(values).name


@dataclass(frozen=True, slots=True)
class _Enum:
    name: str
    schema: dict[str, Any]


def _find(values: Iterable[str]) -> _Enum:
    """Return the component with these values, in whatever order; warn where the settings have no name."""
    values = tuple(values)
    found = _named().get(frozenset(values))
    if found is None:
        warn(f"ENUM_NAME_OVERRIDES has no name for the choices {', '.join(map(str, values))}")
        return _Enum("", {"type": "string", "enum": list(values)})
    return found


@cache
def _named() -> Mapping[frozenset[str], _Enum]:
    """Return the components that the settings name, by their values."""
    named = {}
    for name, path in spectacular_settings.ENUM_NAME_OVERRIDES.items():
        choices = import_string(path)
        description = ""
        if inspect.isclass(choices) and issubclass(choices, enum.Enum):
            description = inspect.cleandoc(vars(choices).get("__doc__") or "")
            values = tuple(str(member.value) for member in choices)
        else:
            values = tuple(get_args(choices) or choices)
        schema: dict[str, Any] = {"type": "string", "enum": list(values)}
        named[frozenset(values)] = _Enum(name, schema | ({"description": description} if description else {}))
    return named
