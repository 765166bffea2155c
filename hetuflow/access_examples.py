"""Tokens and the audit log in the OpenAPI document: examples, and what refuses."""

from typing import Any, Final

from rest.openapi.documentation import Conflict, Documentation, Documented

_TOKEN: Final[dict[str, Any]] = {
    "id": 1,
    "name": "deployment",
    "user": "ann",
    "scope": "operate",
    "namespace": "default",
    "created_at": "2026-03-01T09:00:00.000000Z",
    "expires_at": "2027-03-01T00:00:00.000000Z",
    "revoked_at": None,
}
TOKENS: Final = Documentation(
    entity=_TOKEN,
    actions={
        "query": Documented(
            requests={
                "Those that work": {
                    "filter": {"revoked_at": None},
                    "page": {"order_bys": ["expires_at"]},
                },
                "By name": {"filter": {"name": {"startswith": "deploy"}, "scope": {"ne": "read"}}},
            }
        ),
        "create": Documented(
            requests={
                "To read": {"name": "dashboard"},
                "To run jobs of one namespace, until a day": {
                    "name": "deployment",
                    "scope": "operate",
                    "namespace": "default",
                    "expires_at": "2030-01-01T00:00:00Z",
                },
            },
            answer={**_TOKEN, "token": "hfu_…"},
            conflicts={
                "already_exists": Conflict(
                    "the caller has another token of that name", "ann has a token 'deployment' already."
                )
            },
        ),
        "destroy": Documented(notes="Revokes it: it works no more, and stays in the list."),
    },
)
AUDIT: Final = Documentation(
    entity={
        "id": 1,
        "at": "2026-03-02T12:00:00.000000Z",
        "actor_kind": "user",
        "actor": "ann",
        "token": "",
        "address": "10.0.0.9",
        "action": "job.update",
        "subject_type": "job",
        "subject_id": "1",
        "subject": "default/nightly-backup",
        "namespace": "default",
        "before": {"enabled": True},
        "after": {"enabled": False},
    },
    actions={
        "query": Documented(
            requests={
                "What one person did": {
                    "filter": {"actor": "ann", "at": {"gte": "2026-03-01T00:00:00Z"}},
                    "page": {"order_bys": ["-at"]},
                },
                "What became of one job": {"filter": {"subject_type": "job", "subject_id": "1"}},
            }
        )
    },
)
WHO_AM_I: Final = Documentation(
    actions={
        "get": Documented(
            answer={
                "user": "ann",
                "token": "deployment",
                "scope": "operate",
                "roles": {"default": "operator"},
            }
        )
    }
)
