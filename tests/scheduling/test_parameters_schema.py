"""The schema of a job's parameters: what is taken for one, and what it says of values."""

import time

import pytest

from scheduling.parameters_schema import MAX_BYTES, defaults_of, misfits, schema_problem


def schema(properties=None, **more):
    return {"type": "object", "properties": properties or {}, **more}


@pytest.mark.parametrize(
    "sound",
    [
        {"type": "object"},
        schema({"day": {"type": "string", "format": "date"}}, required=["day"], additionalProperties=False),
        schema({"n": {"type": "integer", "minimum": 1, "maximum": 5, "default": 3}}),
        schema({"list": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}}),
        schema({"any": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "all": {}}),
        schema(additionalProperties={"type": "string"}),
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "title": "x"},
    ],
)
def test_a_schema_without_references_is_sound(sound):
    assert schema_problem(sound) is None


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ([], "expected a schema of an object"),
        ({"type": "array"}, "expected a schema of an object"),
        ({}, "expected a schema of an object"),
        (schema(typo=1), "'typo' is not one of the keywords"),
        (schema({"a": {"$ref": "https://example.org/x"}}), "properties.a: '$ref' is not one"),
        (schema({"a": {"items": {"anyOf": [{"$ref": "#"}]}}}), "properties.a.items.anyOf.0: '$ref'"),
        (schema(**{"$schema": "http://json-schema.org/draft-07/schema#"}), "expected https://json-schema"),
        (schema({"a": {"type": "strin"}}), "properties.a.type"),
        (schema({"a": {"minimum": "1"}}), "properties.a.minimum"),
        (schema({"a": {"pattern": "("}}), "properties.a.pattern"),
        (schema({"a": {"format": "nix"}}), "properties.a.format"),
        (schema({"a": {"type": "integer", "default": "x"}}), "properties.a.default"),
        (schema({"a": True}), "properties.a: expected a schema"),
        (schema({"": {}}), "name of 1 to 255"),
        ({"type": "object", "properties": []}, "expected an object of schemas"),
        (schema({f"p{n}": {} for n in range(101)}), "more than 100"),
        (schema({"a": {"description": "x" * MAX_BYTES}}), "larger than"),
    ],
)
def test_what_is_wrong_with_a_schema_is_said_with_its_place(bad, problem):
    assert problem in schema_problem(bad)


def test_a_schema_that_nests_without_end_is_refused():
    deep = {}
    for _each in range(400):
        deep = {"items": deep}
    assert "nested deeper" in schema_problem(schema({"a": deep}))


def test_values_that_do_not_fit_are_told_each_at_its_parameter():
    wanted = schema(
        {
            "day": {"enum": ["mon", "tue"]},
            "n": {"type": "integer", "maximum": 5},
            "list": {"type": "array", "items": {"type": "string"}},
            "on": {"type": "string", "format": "date"},
        },
        required=["day", "name"],
        additionalProperties=False,
    )
    found = misfits(wanted, {"day": "sun", "n": 6, "list": ["a", 1], "on": "2026-02-30", "typo": 1})
    assert found.keys() == {"day", "n", "list", "on", "name", "typo"}
    assert found["name"] == "required"
    assert found["list"].startswith("1: ")
    assert "unknown" in found["typo"]
    assert misfits(wanted, {"day": "mon", "name": 1}) == {"name": "unknown; the job knows day, list, n, on"}


def test_what_belongs_to_no_parameter_is_said_of_all():
    assert misfits(schema(minProperties=2), {"a": 1}).keys() == {""}


def test_defaults_are_those_of_the_parameters():
    wanted = schema({"a": {"default": 1}, "b": {"default": None}, "c": {"properties": {"d": {"default": 2}}}})
    assert defaults_of(wanted) == {"a": 1, "b": None}
    assert defaults_of(None) == {}


def test_no_pattern_keeps_a_server_busy():
    wanted = schema({"a": {"type": "string", "pattern": "^(a+)+$"}})
    began = time.process_time()
    assert misfits(wanted, {"a": "a" * 40_000 + "b"})
    assert time.process_time() - began < 1.0
