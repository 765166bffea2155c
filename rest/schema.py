"""The OpenAPI document, derived from the views: their routes, tables, serializers and documentation."""

from functools import cache
from typing import Any, Final

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import is_list_serializer
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, inline_serializer
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.serializers import BaseSerializer

from access.roles import LEVEL_OF_ROLE, PERMISSIONS, Level
from rest.idempotency import HEADER, REPLAYED_HEADER, takes_key
from rest.openapi import errors, fields  # noqa: F401 (describes fields)
from rest.openapi.documentation import EMPTY, Documentation, Documented
from rest.openapi.enums import enum_ref
from rest.openapi.naming import noun, nouns, operation_id, sentences, singular, summary, tag, words
from rest.openapi.queries import list_parameters, query_body
from rest.pages import MAX_ARRAY, TOTAL_HEADER
from rest.serializers import ErrorResponseSerializer, NoBody, PageInfoSerializer, RequestSerializer

_OTHER_SPELLINGS: Final = {
    ("create", "POST"): "Also as `POST {path}/create`.",
    ("partial_update", "PATCH"): "Also as `POST {path}/update`.",
}
_KEY: Final = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="The same key and body within 24 hours do it once and get the first answer again.",
)
_REPLAYED: Final = OpenApiParameter(
    REPLAYED_HEADER,
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    description="There where an earlier answer is repeated.",
    response=[200, 201],
)
_TOTAL: Final = OpenApiParameter(
    TOTAL_HEADER,
    {"type": "integer", "minimum": 0},
    OpenApiParameter.HEADER,
    required=True,
    description="How many there are, also beyond those that are answered.",
    response=[200],
)


class Schema(AutoSchema):
    """What all operations have in common: their names, what refuses them, and examples."""

    view: Any

    @property
    def action(self) -> str:
        """The name of the view's method."""
        return getattr(self.view, "action", None) or self.method.lower()

    @property
    def method_itself(self) -> Any:
        return getattr(self.view, self.action, None)

    @property
    def documentation(self) -> Documentation:
        found: Documentation = getattr(self.view, "documentation", EMPTY)
        return found

    @property
    def documented(self) -> Documented:
        return self.documentation.of(self.action)

    def get_operation_id(self) -> str:
        return operation_id(self.path, self.method, self.action)

    def get_tags(self) -> list[str]:
        return [tag(self.path)]

    def get_summary(self) -> str:
        return summary(self.path, self.action, self.method_itself)

    def get_description(self) -> str:  # type: ignore[override]
        return "\n\n".join(self._sentences())

    def _sentences(self) -> list[str]:
        """Return what there is to say, the shortest first."""
        found = [text for text in (*sentences(self.method_itself), self.documented.notes) if text]
        if self.level:
            role = next(role for role, level in LEVEL_OF_ROLE.items() if level == self.level)
            found.append(f"Needs the role `{role}`, and of a token the scope `{self.level.name.lower()}`.")
        if self.is_for_agents:
            found.append("An agent may do it with its own token, for itself and its own attempts.")
        return found

    @property
    def level(self) -> Level | None:
        """How much the operation needs one to be permitted, None where anybody may do it."""
        if any(isinstance(permission, AllowAny) for permission in self.view.get_permissions()):
            return None
        return PERMISSIONS.get(self.view.needed_permission)

    @property
    def is_for_agents(self) -> bool:
        return self.action in getattr(self.view, "agent_actions", ())

    def get_extensions(self) -> dict[str, Any]:
        return {"x-required-level": self.level.name.lower()} if self.level else {}

    def get_auth(self) -> list[Any]:
        return [way for way in super().get_auth() if "agentToken" not in way or self.is_for_agents]

    def get_override_parameters(self) -> list[Any]:
        return [_KEY, _REPLAYED] if takes_key(self.method_itself) else []

    def get_examples(self) -> list[OpenApiExample]:
        examples = [
            OpenApiExample(errors.slug(title), summary=title, value=value, request_only=True)
            for title, value in self.documented.requests.items()
        ]
        answer = self.get_answer_example()
        if answer is not None:
            examples.append(OpenApiExample("Answer", value=answer, response_only=True))
        return examples

    def get_answer_example(self) -> Any:
        return self.documented.answer

    def get_answer_description(self, code: str) -> str:
        return "Done; there is no body." if code == "204" else "The answer."

    def _is_list_view(self, serializer: Any = None) -> bool:
        if serializer is None:
            serializer = self.get_response_serializers()
            if isinstance(serializer, dict):
                serializer = serializer[min(serializer)]
        return is_list_serializer(serializer)

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        for code, body in bodies.items():
            if code == "204" or not body["description"]:
                body["description"] = self.get_answer_description(code)
        found = errors.refusals(
            self.documented,
            takes_body=self.method in ("POST", "PATCH"),
            takes_parameters=any(parameter["in"] == "query" for parameter in self._get_parameters()),
            takes_key=takes_key(self.method_itself),
            has_path="{" in self.path,
            needs_permission=hasattr(self.view, "needed_permission"),
            negotiates=type(self.view.get_content_negotiator()) is DefaultContentNegotiation,
        )
        error_schema = self.resolve_serializer(ErrorResponseSerializer, "response").ref
        for code, response in errors.responses(found, self.registry, error_schema).items():
            bodies.setdefault(code, response)
        return dict(sorted(bodies.items()))

    def _map_serializer(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        schema = super()._map_serializer(  # type: ignore[no-untyped-call]
            serializer, direction, bypass_extensions
        )
        if isinstance(serializer, RequestSerializer) and schema.get("properties"):
            schema["additionalProperties"] = False
            if serializer.partial:
                for about in schema["properties"].values():
                    about.pop("default", None)
        return schema

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        """Return the class's name; what reads a partial update is an UpdateRequest."""
        name = super()._get_serializer_name(serializer, direction, bypass_extensions)
        if direction == "request":
            name = name.removesuffix("Request")
        if name.startswith("Patched"):
            name = name.removeprefix("Patched").removesuffix("Request").removesuffix("Update")
            name += "UpdateRequest"
        return name


class ResourceSchema(Schema):
    """Knows the actions of ResourceViewSet; others are described by `@extend_schema`."""

    @property
    def entity(self) -> Any:
        return self.view.entity_serializer

    @property
    def answers_array(self) -> bool:
        return self.method == "GET" and self.action not in ("list", "retrieve")

    def _sentences(self) -> list[str]:
        found = super()._sentences()
        if getattr(self.method_itself, "__module__", "") == "rest.views":
            found[0] = f"{self.get_summary()}."  # which says of what
        if self.answers_array and self._is_list_view():
            found.append(f"The newest first, at most {MAX_ARRAY:,}.")
        spelling = _OTHER_SPELLINGS.get((self.action, self.method))
        if spelling and not self.path.endswith(("/create", "/update")):
            found.append(spelling.format(path=self.path))
        return found

    def get_request_serializer(self) -> Any:
        view = self.view
        if view.action == "query":
            return query_body(_name_of(self.entity), view.table)
        reader = view.request_serializers.get(view.action, NoBody)
        return reader(partial=True) if view.action == "partial_update" else reader

    def get_response_serializers(self) -> Any:
        action = self.action
        if action in ("query", "list"):
            return {200: _page_of(self.entity)}
        if action == "create":
            return {201: self.entity}
        if action == "destroy":
            return {204: None}
        return {200: self.entity(many=True) if self.answers_array else self.entity}

    def get_answer_example(self) -> Any:
        answer, entity = super().get_answer_example(), self.documentation.entity
        if answer is not None or entity is None or self.action == "destroy":
            return answer
        if self.action in ("query", "list"):
            return {"page": {"total": 1, "page": 1, "limit": 20, "has_more": False}, "data": [entity]}
        return entity

    def get_answer_description(self, code: str) -> str:
        if self.action in ("query", "list"):
            return f"A page of {nouns(self.path, self.action)}."
        if self.answers_array and self._is_list_view():
            return f"{nouns(self.path, self.action).capitalize()}, the newest first."
        if self.action in ("create", "retrieve", "partial_update"):
            return f"The {noun(self.path, self.action)} as it is now."
        return super().get_answer_description(code)

    def get_override_parameters(self) -> list[Any]:
        parameters = super().get_override_parameters()
        if self.action == "list":
            parameters += list_parameters(self.view.table, self.registry)
        elif self.answers_array and self._is_list_view():
            parameters.append(_TOTAL)
        return parameters

    def _resolve_path_parameters(self, variables: list[str]) -> Any:
        parameters = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]
        for parameter in parameters:
            name = parameter["name"]
            if parameter["schema"].get("type") == "integer":
                parameter["schema"]["minimum"] = 0
            if name == "id":
                before = self.path.partition("/{id}")[0].rsplit("/", 1)[-1]
                parameter["description"] = f"Id of the {words(singular(before))}."
            elif name.endswith("_id"):
                parameter["description"] = f"Id of the {name.removesuffix('_id')}."
            elif name in self.view.table.fields:
                kind = self.view.table.fields[name].kind
                if "enum" in kind.schema:
                    parameter["schema"] = enum_ref(kind.schema["enum"], self.registry)
        return parameters


def _name_of(entity: type[BaseSerializer[Any]]) -> str:
    return str(entity.__name__).removesuffix("Serializer")


@cache
def _page_of(entity: Any) -> Any:
    return inline_serializer(
        f"{_name_of(entity)}Page", {"page": PageInfoSerializer(), "data": entity(many=True)}
    )
