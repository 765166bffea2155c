"""The components of the OpenAPI document that no serializer stands for."""

from typing import Any

from drf_spectacular.plumbing import ResolvedComponent

SCHEMA: str = ResolvedComponent.SCHEMA
RESPONSE: str = ResolvedComponent.RESPONSE


def refer(name: str, described: dict[str, Any], registry: Any, *, kind: str = SCHEMA) -> dict[str, Any]:
    """Return a reference to the component of that name, which is made where it is missing."""
    component = ResolvedComponent(name, kind, described, object=name)  # type: ignore[no-untyped-call]
    registry.register_on_missing(component)
    reference: dict[str, Any] = component.ref
    return reference
