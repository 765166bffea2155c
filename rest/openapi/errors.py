"""The refusals in the OpenAPI document: one component for each status, with bodies as they are answered."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rest.openapi.components import RESPONSE, refer
from rest.openapi.documentation import Conflict, Documented

Schema = dict[str, Any]


def body(code: str, detail: str, attr: str | None = None, *, kind: str = "client_error") -> Schema:
    """Return an answer with one error, in the shape that all errors have."""
    return {"type": kind, "errors": [{"code": code, "detail": detail, "attr": attr}]}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One status as all operations answer it."""

    name: str
    description: str
    examples: Mapping[str, Schema]
    headers: Mapping[str, Schema] = field(default_factory=dict)


_CHALLENGE: Final[Schema] = {
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="hetuflow"',
    }
}
_BAD_FIELD: Final = body(
    "invalid", "'perl' is unknown; expected one of bash, sh, python", "config.cmd", kind="validation_error"
)
_BAD_PARAMETER: Final = body(
    "invalid", "unknown parameter; filters are id, name, status", "stauts", kind="validation_error"
)
_NOT_JSON: Final = body("parse_error", "The body is refused: the key 'name' is there twice")
REFUSALS: Final[Mapping[str, Refusal]] = {
    "400": Refusal(
        "BadRequest",
        "The request is not valid; one entry for each field at fault, or one where the body is not JSON.",
        {"A field at fault": _BAD_FIELD, "No sound JSON": _NOT_JSON},
    ),
    "401": Refusal(
        "Unauthorized",
        "Not authenticated.",
        {
            "No token": body("not_authenticated", "Authentication credentials were not provided."),
            "A bad token": body("authentication_failed", "Incorrect authentication credentials."),
        },
        _CHALLENGE,
    ),
    "403": Refusal(
        "Forbidden",
        "Authenticated, but not allowed to do this; of a session also without its CSRF token.",
        {
            "Not allowed": body(
                "permission_denied",
                "This needs the role operator in namespace default, and of a token the scope operate.",
            )
        },
    ),
    "404": Refusal(
        "NotFound",
        "There is nothing of that name, or nothing that the caller may see.",
        {"Not found": body("not_found", "Not found.")},
    ),
    "406": Refusal(
        "NotAcceptable",
        "The server has no representation that the header `Accept` admits.",
        {"Not acceptable": body("not_acceptable", "Could not satisfy the request Accept header.")},
    ),
    "413": Refusal(
        "PayloadTooLarge",
        "The body is larger than the server reads.",
        {"Too large": body("payload_too_large", "The request body is larger than 2621440 bytes.")},
    ),
    "415": Refusal(
        "UnsupportedMediaType",
        "The body is not `application/json`.",
        {
            "A form": body(
                "unsupported_media_type",
                'Unsupported media type "application/x-www-form-urlencoded" in request.',
            )
        },
    ),
    "429": Refusal(
        "TooManyRequests",
        "The caller did this too often; `Retry-After` says when to try again.",
        {"Too often": body("throttled", "Request was throttled. Expected available in 3 seconds.")},
        {
            "Retry-After": {
                "description": "Seconds.",
                "required": True,
                "schema": {"type": "integer", "minimum": 0},
                "example": 3,
            }
        },
    ),
    "503": Refusal(
        "Unavailable",
        "The database is away (`unavailable`) or took too long (`query_timeout`).",
        {"No database": body("unavailable", "The database is not available; try again.")},
    ),
}
_BAD_PARAMETERS: Final = Refusal(
    "BadParameters",
    "A parameter is not valid; one entry for each at fault.",
    {"An unknown parameter": _BAD_PARAMETER},
)
_REUSED_KEY: Final = Conflict(
    "the key was used for another request", "This idempotency key was used for another request."
)
_NO_ANSWER: Final = Conflict(
    "the agent did not answer in time", "The agent did not answer within 10 seconds."
)


def refusals(
    documented: Documented,
    *,
    takes_body: bool,
    takes_parameters: bool,
    takes_key: bool,
    has_path: bool,
    negotiates: bool,
    needs_permission: bool,
) -> dict[str, Refusal]:
    """Return the refusals that an operation can answer, by status."""
    codes = ["401", "429", "503"]
    if needs_permission:
        codes.append("403")
    if has_path:
        codes.append("404")
    if negotiates:
        codes.append("406")
    if takes_body:
        codes += ["400", "413", "415"]
    found = {code: REFUSALS[code] for code in codes}
    if takes_parameters and not takes_body:
        found["400"] = _BAD_PARAMETERS
    conflicts = dict(documented.conflicts)
    if takes_key:
        conflicts["idempotency_key_reused"] = _REUSED_KEY
    if conflicts:
        found["409"] = _conflict(conflicts)
    if documented.answers_late:
        found["504"] = _conflict({"agent_timeout": _NO_ANSWER})
    return dict(sorted(found.items()))


def responses(found: Mapping[str, Refusal], registry: Any, error_schema: Schema) -> dict[str, Schema]:
    """Return refusals as responses: references where all operations share one, written out otherwise."""
    return {code: _response(refusal, registry, error_schema) for code, refusal in found.items()}


def _conflict(conflicts: Mapping[str, Conflict]) -> Refusal:
    description = "; ".join(f"`{code}`: {conflict.when}" for code, conflict in conflicts.items())
    examples = {
        conflict.when.capitalize(): body(code, conflict.detail) for code, conflict in conflicts.items()
    }
    return Refusal("", f"{description}.", examples)


def _response(refusal: Refusal, registry: Any, error_schema: Schema) -> Schema:
    response: Schema = {
        "description": refusal.description,
        "content": {
            "application/json": {"schema": error_schema, "examples": named_examples(refusal.examples.items())}
        },
    }
    if refusal.headers:
        response["headers"] = dict(refusal.headers)
    if not refusal.name:
        return response
    return refer(refusal.name, response, registry, kind=RESPONSE)


def named_examples(examples: Iterable[tuple[str, Any]]) -> dict[str, Schema]:
    """Return examples as OpenAPI writes them: a key for each, made of its title."""
    return {slug(title): {"summary": title, "value": value} for title, value in examples}


def slug(title: str) -> str:
    """Return a title as a name."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
