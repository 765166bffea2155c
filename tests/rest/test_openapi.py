"""The OpenAPI document as a whole: sound, complete and well named."""

import re

import pytest
from django.core.management import CommandError, call_command
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from rest.openapi import enums
from tests.openapi import document, operations

SCHEMAS = document()["components"]["schemas"]


def test_it_is_made_without_a_warning_and_is_sound(tmp_path, capsys):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
    assert capsys.readouterr().err == ""
    assert (tmp_path / "schema.yml").read_text().startswith("openapi: 3.1.0\n")


@pytest.mark.parametrize(
    ("query", "begins"),
    [("", b"openapi: 3.1.0\n"), ("?format=json", b"{\n"), ("?lang=zh-hans", b"openapi: 3.1.0\n")],
)
@pytest.mark.django_db
def test_it_is_served_to_anybody_in_english(client, query, begins):
    answer = client.get(f"/api/schema{query}", headers={"accept-language": "zh-hans"})
    assert (answer.status_code, answer["Content-Disposition"][:16]) == (200, "inline; filename")
    assert answer.content.startswith(begins)
    assert re.search("[一-鿿]", answer.content.decode()) is None


@pytest.mark.django_db
def test_it_is_made_once(client, monkeypatch):
    first = client.get("/api/schema").content
    monkeypatch.setattr(SchemaGenerator, "get_schema", None)
    assert client.get("/api/schema").content == first


def test_a_choice_without_a_name_fails_it(monkeypatch, tmp_path):
    monkeypatch.setattr(enums, "_named", dict)
    with pytest.raises(CommandError, match="warnings"):
        call_command("spectacular", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_every_component_is_a_json_schema():
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_components_have_names_that_a_person_would_give():
    odd = re.compile(r"Enum|RequestRequest|Patched|Serializer|\d|^[a-z_]")
    assert [name for name in SCHEMAS if odd.search(name)] == []


def test_every_choice_is_a_component():
    def inline(node, path):
        if isinstance(node, dict):
            if "enum" in node and len(path) > 1:
                yield path
            for key, child in node.items():
                yield from inline(child, (*path, key))
        elif isinstance(node, list):
            for child in node:
                yield from inline(child, path)

    assert list(inline(SCHEMAS, ())) == []


def test_operations_are_called_what_a_client_would_call_them():
    names = set(operations())
    for resource in ("jobs", "schedules", "tasks", "task_instances", "agents"):
        for verb in ("query", "create", "get", "update", "delete", "list", "post", "patch"):
            assert f"{resource}_{verb}" in names
    assert {"jobs_trigger", "tasks_by_status", "agents_commands", "connections_broadcast"} <= names
    assert {"health", "metrics", "info", "system_health", "system_metrics", "system_info"} <= names
    summaries = {
        name: operations()[name].described["summary"] for name in ("audit_get", "agents_tokens_list")
    }
    assert summaries == {"audit_get": "Read an audit entry", "agents_tokens_list": "List tokens"}
    assert operations()["jobs_create"].described["description"].startswith("Create a job.\n")
    assert operations()["jobs_post"].path == "/api/v1/jobs"
    assert operations()["jobs_create"].path == "/api/v1/jobs/create"


def test_every_operation_says_what_it_does_and_who_may():
    groups = {tag["name"] for tag in document()["tags"]}
    for operation in operations().values():
        described = operation.described
        assert described["summary"]
        assert not described["summary"].endswith(".")
        assert described["description"]
        assert set(described["tags"]) <= groups
        assert "deprecated" not in described
        assert described.get("x-required-level") in (None, "read", "operate", "write", "admin")
    assert {operations()[name].described["x-required-level"] for name in ("jobs_get", "tasks_query")} == {
        "read"
    }
    assert operations()["jobs_trigger"].described["x-required-level"] == "operate"
    assert operations()["jobs_create"].described["x-required-level"] == "write"
    assert operations()["agents_delete"].described["x-required-level"] == "admin"


def test_only_what_agents_may_do_takes_their_tokens():
    for operation in operations().values():
        by_agents = {"agentToken": []} in operation.described.get("security", [])
        assert by_agents == ("An agent may do it" in operation.described["description"])
    assert {"agentToken": []} in operations()["agents_heartbeat"].described["security"]
    assert {"agentToken": []} not in operations()["jobs_create"].described["security"]


def test_every_body_that_is_read_has_an_example():
    for operation in operations().values():
        assert operation.body_examples() or "requestBody" not in operation.described, operation.id


def test_every_body_that_is_answered_has_an_example():
    without = [
        (operation.id, status, media_type)
        for operation in operations().values()
        for status in map(int, operation.described["responses"])
        for media_type, body in operation.answer(status).get("content", {}).items()
        if not body.get("examples")
    ]
    assert without == []


def test_filters_are_values_or_objects_of_operators():
    filters = SCHEMAS["TaskFilter"]["properties"]
    assert filters["status"] == {"$ref": "#/components/schemas/TaskStatusFilter"}
    value, null, operators = SCHEMAS["TaskStatusFilter"]["oneOf"]
    assert (value, null) == ({"$ref": "#/components/schemas/TaskStatus"}, {"type": "null"})
    assert operators == {"$ref": "#/components/schemas/TaskStatusOperators"}
    assert set(SCHEMAS["InstantOperators"]["properties"]) == {
        *("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "is_null")
    }
    assert "contains" in SCHEMAS["TextOperators"]["properties"]
    assert SCHEMAS["AgentFilter"]["properties"]["labels"]["additionalProperties"]["type"] == "string"


def test_headers_are_described():
    described = operations()["tasks_by_job"].answer(200)["headers"]
    assert described["X-Total-Count"]["required"] is True
    assert "Idempotent-Replayed" in operations()["jobs_trigger"].answer(201)["headers"]
    assert "Retry-After" in operations()["jobs_list"].answer(429)["headers"]
