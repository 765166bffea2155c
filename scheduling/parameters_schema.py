"""What a job's parameters must be like: a JSON Schema (2020-12), as far as it needs nothing from elsewhere.

Patterns are matched in linear time and references are refused, so that no schema can keep a server busy, read
what it should not, or follow itself without end.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from access.sentences import said as _
from scheduling.library_words import library_words

MAX_BYTES: Final = 16 * 1024
MAX_PROPERTIES: Final = 100
_MAX_DEPTH: Final = 16
_MAX_NAME_CHARS: Final = 255
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ANNOTATIONS: Final = frozenset({"$schema", "$comment", "title", "description", "default", "examples"})
_PLAIN: Final = frozenset(
    "type enum const format pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum "
    "multipleOf required dependentRequired minProperties maxProperties minItems maxItems uniqueItems".split()
)
_WITH_SCHEMA: Final = frozenset({"items", "additionalProperties", "not"})
_WITH_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf"})
KEYWORDS: Final = _ANNOTATIONS | _PLAIN | _WITH_SCHEMA | _WITH_SCHEMAS | {"properties"}


def schema_problem(schema: object) -> str | None:
    """Return what is wrong with a schema, None for a sound one."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        return _('expected a schema of an object, such as {"type": "object", "properties": {}}')
    if len(json.dumps(schema)) > MAX_BYTES:
        return _("larger than %(most)s bytes", most=MAX_BYTES)
    problem = next(_problems(schema, "", _MAX_DEPTH), None)
    if problem is not None:
        return problem
    try:
        _validator(schema)
    except ValidationError as error:
        return _told(error.message, ".".join(str(part) for part in error.instance_path))
    except ValueError as error:
        return library_words(str(error))
    return _problem_of_defaults(schema)


def properties_of(schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the parameters that a sound schema describes, by name."""
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    return properties


def defaults_of(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what runs get where nothing else is said, of those parameters that have a default."""
    properties = properties_of(schema or {})
    return {name: each["default"] for name, each in properties.items() if "default" in each}


def misfits(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with parameters, by the name of each; "" stands for all of them together."""
    known = properties_of(schema)
    errors = {name: _("required") for name in schema.get("required", ()) if name not in parameters}
    if schema.get("additionalProperties") is False:
        errors |= {
            name: _("unknown; the job knows %(known)s", known=", ".join(sorted(known)) or _("none"))
            for name in parameters
            if name not in known
        }
    for error in _validator(schema).iter_errors(dict(parameters)):
        path = [str(part) for part in error.instance_path]
        if not path and errors:
            continue
        name, below = (path[0], ".".join(path[1:])) if path else ("", "")
        errors.setdefault(name, _told(error.message, below))
    return errors


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return what checks values; raise ValidationError or ValueError for what is no schema."""
    return Draft202012Validator(
        dict(schema),
        validate_formats=True,
        ignore_unknown_formats=False,
        pattern_options=RegexOptions(),
        offline=True,
    )


def _problems(schema: object, at: str, depth: int) -> Iterator[str]:
    """Yield what is wrong with a schema and those inside it, as far as only we object to it."""
    where = f"{at}: " if at else ""
    if depth == 0:
        yield _("%(where)snested deeper than %(most)s", where=where, most=_MAX_DEPTH)
    elif isinstance(schema, Mapping):
        unknown = sorted(set(schema) - KEYWORDS)
        if unknown:
            yield _(
                "%(where)s%(unknown)s is not one of the keywords %(keywords)s",
                where=where,
                unknown=repr(unknown[0]),
                keywords=", ".join(sorted(KEYWORDS)),
            )
        if schema.get("$schema", _DIALECT) != _DIALECT:
            yield _("%(where)s$schema: expected %(dialect)s", where=where, dialect=_DIALECT)
        yield from _problems_of_properties(schema.get("properties", {}), at, depth)
        for keyword in _WITH_SCHEMA & schema.keys():
            yield from _problems(schema[keyword], _below(at, keyword), depth - 1)
        for keyword in _WITH_SCHEMAS & schema.keys():
            if isinstance(schema[keyword], list):
                for number, each in enumerate(schema[keyword]):
                    yield from _problems(each, _below(at, f"{keyword}.{number}"), depth - 1)
    elif not isinstance(schema, bool) or not at:
        yield _("%(where)sexpected a schema, an object", where=where)


def _problems_of_properties(properties: object, at: str, depth: int) -> Iterator[str]:
    if not isinstance(properties, Mapping):
        yield _("%(below)s: expected an object of schemas", below=_below(at, "properties"))
        return
    if len(properties) > MAX_PROPERTIES:
        yield _("%(below)s: more than %(most)s", below=_below(at, "properties"), most=MAX_PROPERTIES)
    for name, each in properties.items():
        here = _below(at, f"properties.{name}")
        if not 0 < len(name) <= _MAX_NAME_CHARS:
            yield _("%(here)s: expected a name of 1 to %(most)s characters", here=here, most=_MAX_NAME_CHARS)
        elif not isinstance(each, Mapping):
            yield _("%(here)s: expected a schema, an object", here=here)
        else:
            yield from _problems(each, here, depth - 1)


def _problem_of_defaults(schema: Mapping[str, Any]) -> str | None:
    """Return which default of a parameter does not fit its own schema."""
    for name, value in defaults_of(schema).items():
        error = next(_validator(properties_of(schema)[name]).iter_errors(value), None)
        if error is not None:
            return _told(error.message, f"properties.{name}.default")
    return None


def _below(at: str, keyword: str) -> str:
    return f"{at}.{keyword}" if at else keyword


def _told(message: str, at: str) -> str:
    """Return what a library says against a value, with the place that it says it of."""
    return _("%(at)s: %(problem)s", at=at, problem=library_words(message)) if at else library_words(message)
