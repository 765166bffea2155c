"""Retention rules in the OpenAPI document."""

from typing import Final

from rest.openapi.documentation import Conflict, Documentation, Documented

RULES: Final = Documentation(
    entity={
        "id": 1,
        "namespace": "default",
        "job_id": None,
        "keep_days": 30,
        "keep_last": None,
        "created_by": "ann",
        "created_at": "2026-03-01T09:00:00.000000Z",
        "updated_by": "ann",
        "updated_at": "2026-03-01T09:00:00.000000Z",
    },
    actions={
        "query": Documented(requests={"Of a namespace": {"filter": {"namespace": "default"}}}),
        "create": Documented(
            requests={
                "A month in a namespace": {"namespace": "reports", "keep_days": 30},
                "The last hundred of a job": {"job_id": 1, "keep_last": 100},
                "For ever, unless a namespace or a job says otherwise": {"namespace": "*", "keep_days": 0},
            },
            notes=(
                "Ended tasks that are older than `keep_days`, or of which `keep_last` newer ones of the job "
                "have ended, are deleted with their attempts and output. The rule of the job counts first, "
                "then that of its namespace, then that of `*`, then the server's `HETUFLOW_KEEP_DAYS`; what "
                "one leaves open (null) the next one says, and 0 is no limit."
            ),
            conflicts={
                "already_exists": Conflict(
                    "there is one for that job or namespace",
                    "There is a rule for default already; change that.",
                )
            },
        ),
        "partial_update": Documented(requests={"A week, but ten at least": {"keep_days": 7}}),
    },
)
