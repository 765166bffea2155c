"""The OpenAPI document as a judge of answers: what a test gets must be what it says."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from rest_framework.test import APIClient

DOCUMENT = "urn:document"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
answers = FormatChecker(formats=())
requests = FormatChecker(formats=())


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    described: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.described["operationId"])

    def body_examples(self) -> dict[str, Any]:
        content = self.described.get("requestBody", {}).get("content", {}).get("application/json", {})
        return {name: example["value"] for name, example in content.get("examples", {}).items()}

    def body_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = self.described["requestBody"]["content"]["application/json"]["schema"]
        return schema

    def answer(self, status: int) -> dict[str, Any]:
        """Return the response with this status, its reference followed."""
        responses = self.described["responses"]
        assert str(status) in responses, f"{self.id} answered {status}, which the document does not name"
        response: dict[str, Any] = responses[str(status)]
        if "$ref" in response:
            response = document()["components"]["responses"][response["$ref"].rsplit("/", 1)[-1]]
        return response


@cache
def document() -> dict[str, Any]:
    """Return the document as a client reads it."""
    made = SchemaGenerator().get_schema(request=None, public=True)
    read: dict[str, Any] = json.loads(json.dumps(made))
    return read


@cache
def operations() -> dict[str, Operation]:
    """Return all operations by their ids."""
    found = [
        Operation(method, path, described)
        for path, methods in document()["paths"].items()
        for method, described in methods.items()
    ]
    return {operation.id: operation for operation in found}


def operation_at(method: str, path: str) -> Operation | None:
    """Return the operation that a request reaches; a literal path goes before one with a parameter."""
    for pattern, operation in _routes():
        if operation.method == method.lower() and pattern.fullmatch(path):
            return operation
    return None


@cache
def _routes() -> list[tuple[re.Pattern[str], Operation]]:
    in_order = sorted(operations().values(), key=lambda operation: operation.path.count("{"))
    return [(re.compile(_pattern(operation)), operation) for operation in in_order]


def _pattern(operation: Operation) -> str:
    """Return what paths of the operation look like."""
    pattern = re.escape(operation.path)
    for parameter in operation.described.get("parameters", []):
        if parameter["in"] == "path":
            schema = parameter["schema"]
            value = {"integer": "[0-9]+"}.get(schema.get("type"), "[0-9a-fA-F-]{36}")
            if schema.get("format") not in ("uuid", "int64"):
                value = ".+" if parameter["name"] == "namespace" else "[^/]+"
            pattern = pattern.replace(re.escape(f"{{{parameter['name']}}}"), value)
    return pattern


def check_answer(operation: Operation, response: HttpResponseBase) -> None:
    """Fail where the document does not name the answer's status, content type or shape."""
    described = operation.answer(response.status_code)
    for name, header in described.get("headers", {}).items():
        assert name in response.headers or not header.get("required"), f"{operation.id}: no header {name}"
    content = described.get("content")
    if response.streaming or content is None:
        return
    media_type = response.headers["Content-Type"].split(";")[0]
    if media_type == "text/html":
        return
    assert media_type in content, f"{operation.id} answered {media_type}; the document has {list(content)}"
    if media_type == "application/json":
        problems = list(problems_of(json.loads(response.content), content[media_type]["schema"]))
        assert problems == [], f"{operation.id}: {problems}"


def problems_of(value: Any, schema: dict[str, Any], *, checker: FormatChecker = answers) -> Iterator[str]:
    """Yield what is wrong with a value; properties that the schema does not name are wrong too."""
    validator = Draft202012Validator(_closed(schema), registry=_registry(), format_checker=checker)
    for error in validator.iter_errors(value):
        yield f"{error.json_path}: {error.message}"


@cache
def _registry() -> Any:
    strict = _closed({"components": document()["components"]})
    return Registry().with_resource(DOCUMENT, DRAFT202012.create_resource(strict))


def _closed(node: Any) -> Any:
    """Return the document with absolute references and objects that admit no further properties."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {name: _closed(value) for name, value in _absolute(node).items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def _absolute(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("$ref"), str) and schema["$ref"].startswith("#"):
        return {**schema, "$ref": DOCUMENT + schema["$ref"]}
    return schema


@answers.checks("date-time")
def _is_answered_instant(value: object) -> bool:
    return not isinstance(value, str) or bool(_INSTANT.fullmatch(value))


@answers.checks("uuid")
@requests.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(uuid.UUID(value)) == value


@answers.checks("int32")
@requests.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


@answers.checks("int64")
@requests.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


class CheckedClient(APIClient):
    """A REST client that fails where an answer is not what the document says."""

    default_format = "json"

    def __init__(self, **defaults: Any) -> None:
        super().__init__(**defaults)
        # Making the document asks the database, which nobody should count among the queries of a request.
        operations()

    def request(self, **kwargs: Any) -> Any:
        response = super().request(**kwargs)
        operation = operation_at(kwargs["REQUEST_METHOD"], kwargs["PATH_INFO"])
        if operation is not None:
            check_answer(operation, response)
        return response
