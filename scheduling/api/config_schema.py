"""A task's configuration in the OpenAPI document, derived from the structure that reads it."""

from typing import Any, Final

import msgspec
from drf_spectacular.extensions import OpenApiSerializerFieldExtension

from rest.openapi.components import refer
from rest.openapi.enums import enum_ref
from scheduling.task_config import TaskConfig

Schema = dict[str, Any]
_MEANINGS: Final = {
    "cmd": "What runs it: an interpreter, or with `exec` the program that is the first of `args`.",
    "args": "Arguments; empty where the job's `command` holds a script.",
    "working_dir": "Null: a new directory for each attempt.",
    "timeout_secs": "The attempt is ended after so long.",
    "max_retries": "How often a failed attempt is tried again.",
    "retry_interval_secs": "The pause before the first retry.",
    "retry_backoff": "How the pause grows from one retry to the next.",
    "capture_output": "Whether output is stored.",
    "max_output_size": "How many bytes of output are stored.",
    "labels": "An agent must carry them all.",
    "resource_limits": "What the machine may give one attempt.",
    "concurrency_policy": "What happens while as many attempts run as may.",
    "max_concurrency": "How many attempts may run at once; null: as many as will with `allow`, else one.",
    "misfire_policy": "What becomes of instants that were missed by more than the grace.",
    "misfire_grace_secs": "How late an instant may still be run as if on time.",
    "kill_grace_secs": "How long a process has from SIGTERM to SIGKILL.",
    "on_lease_lost": "What an agent does with the process when it can reach no server.",
}


class ConfigFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Describes a ConfigField: complete in answers, with defaults in a create, without them in an update."""

    target_class = "scheduling.api.serializers.ConfigField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        if direction == "response":
            return _component("TaskConfig", "complete", auto_schema.registry)
        if getattr(self.target.parent, "partial", False):
            return _component("TaskConfigUpdateRequest", "changes", auto_schema.registry)
        return _component("TaskConfigRequest", "new", auto_schema.registry)


class ConfigChangesFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Describes a ConfigChangesField."""

    target_class = "scheduling.api.serializers.ConfigChangesField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> Schema:
        return _component("TaskConfigUpdateRequest", "changes", auto_schema.registry)


def _component(name: str, use: str, registry: Any) -> Schema:
    _references, schemas = msgspec.json.schema_components(
        (TaskConfig,), ref_template="#/components/schemas/{name}"
    )
    for struct, schema in schemas.items():
        properties = {field: _plain(about, registry) for field, about in schema["properties"].items()}
        for field, about in properties.items():
            if field in _MEANINGS:
                about["description"] = _MEANINGS[field]
            if use == "changes":
                about.pop("default", None)
        described = {"type": "object", "properties": properties, "additionalProperties": False}
        if struct != "TaskConfig":
            refer(struct, described, registry)
            continue
        if use != "changes":
            described["required"] = sorted(properties) if use == "complete" else schema["required"]
        reference = refer(name, described, registry)
    return reference


def _plain(schema: Schema, registry: Any) -> Schema:
    """Return the schema of a field with its choices named and null among its types."""
    if "enum" in schema:
        about = {name: value for name, value in schema.items() if name != "enum"}
        return {"allOf": [enum_ref(schema["enum"], registry)], **about}
    if "$ref" in schema:
        return {"allOf": [schema]}
    if "anyOf" in schema:
        (value,) = (option for option in schema["anyOf"] if option != {"type": "null"})
        return {**value, "type": [value["type"], "null"], "default": schema["default"]}
    return dict(schema)
