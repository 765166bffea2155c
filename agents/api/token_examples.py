"""Agents' tokens and enrolment in the OpenAPI document: examples, and what refuses."""

from typing import Any, Final

from agents.api.examples import AGENT, AGENT_ID
from rest.openapi.documentation import Conflict, Documentation, Documented

_SECRET: Final = "hfa_0199f3a26c1e7b4d9a553f0c8e21d704_…"  # noqa: S105 (an example)
_TOKEN: Final[dict[str, Any]] = {
    "id": 1,
    "name": "first",
    "state": "valid",
    "created_by": "ann",
    "created_at": "2026-02-01T09:00:00.000000Z",
    "last_used_at": "2026-03-02T12:00:00.000000Z",
    "expires_at": None,
    "revoked_at": None,
}
_ENROLLMENT: Final[dict[str, Any]] = {
    "id": 1,
    "name": "worker-6",
    "labels": {"env": "prod"},
    "agent_id": None,
    "state": "valid",
    "created_by": "ann",
    "created_at": "2026-03-02T12:00:00.000000Z",
    "expires_at": "2026-03-02T12:15:00.000000Z",
    "used_at": None,
}
AGENT_TOKENS: Final = Documentation(
    entity=_TOKEN,
    actions={
        "create": Documented(
            requests={
                "That lives until it is revoked": {"name": "second"},
                "Until a day": {"name": "this year's", "expires_at": "2030-01-01T00:00:00Z"},
            },
            answer={**_TOKEN, "last_used_at": None, "token": _SECRET},
        ),
        "rotate": Documented(
            requests={"With a day of overlap": {}, "At once": {"overlap_secs": 0}},
            answer={**_TOKEN, "last_used_at": None, "token": _SECRET},
        ),
    },
)
ENROLLMENT_TOKENS: Final = Documentation(
    entity=_ENROLLMENT,
    actions={
        "query": Documented(
            requests={
                "Those that nobody used": {"filter": {"used_at": None}, "page": {"order_bys": ["expires_at"]}}
            }
        ),
        "destroy": Documented(
            conflicts={"already_used": Conflict("a machine used it", "The enrolment token was used already.")}
        ),
        "create": Documented(
            requests={
                "For any new machine": {},
                "With name and labels": {
                    "name": "worker-6",
                    "labels": {"env": "prod"},
                    "expires_in_secs": 3600,
                },
                "For an agent that is there": {"agent_id": AGENT_ID},
            },
            answer={
                **_ENROLLMENT,
                "token": "hfe_…",
                "command": "python -m agents.daemon --server wss://hetuflow.example.com --enroll hfe_…",
            },
        ),
    },
)
ENROLL: Final = Documentation(
    actions={
        "post": Documented(
            requests={
                "A new machine": {"token": "hfe_…", "hostname": "worker-6.example.com"},
                "With an id of its own": {"token": "hfe_…", "id": "0199f3a2-7d10-7c6f-8e21-5b9a4c3d2e1f"},
            },
            answer={**AGENT, "token": _SECRET},
            conflicts={
                "already_exists": Conflict(
                    "the name or id is taken", "An agent with this id or name exists already."
                ),
                "wrong_agent": Conflict(
                    "the token is for another agent", "The enrolment token is for another agent."
                ),
            },
            notes="Open to all: the token in the body says who may. A refusal leaves the token as it is.",
        )
    }
)
