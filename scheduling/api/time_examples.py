"""Calendars, freezes, alerts, ledgers and explanations in the OpenAPI document."""

from typing import Any, Final

from rest.openapi.documentation import Conflict, Documentation, Documented

_CALENDAR: Final[dict[str, Any]] = {
    "id": 1,
    "namespace": "default",
    "name": "office",
    "description": "",
    "country": "CN",
    "subdivision": "",
    "dates": [{"date": "2026-08-03", "until": "2026-08-14", "name": "works holiday"}],
    "ics": "",
    "ics_dates": [],
    "windows": [{"weekdays": [1, 2, 3, 4, 5], "from": "09:00", "to": "18:00"}],
    "blackouts": [
        {
            "from": "2026-11-11T00:00:00.000000Z",
            "to": "2026-11-12T00:00:00.000000Z",
            "reason": "busiest day of the year",
        }
    ],
    "created_by": "ann",
    "created_at": "2026-03-01T09:00:00.000000Z",
    "updated_by": "ann",
    "updated_at": "2026-03-01T09:00:00.000000Z",
}
_NAME_TAKEN: Final = Conflict(
    "the namespace has another calendar of that name",
    "A calendar 'office' exists already in namespace 'default'.",
)
CALENDARS: Final = Documentation(
    entity=_CALENDAR,
    actions={
        "query": Documented(requests={"Of a namespace": {"filter": {"namespace": "default"}}}),
        "create": Documented(
            requests={
                "Holidays of a country, and office hours": {
                    "name": "office",
                    "country": "CN",
                    "windows": [{"weekdays": [1, 2, 3, 4, 5], "from": "09:00", "to": "18:00"}],
                },
                "Days by hand, and a blackout": {
                    "name": "plant",
                    "dates": [{"date": "2026-08-03", "until": "2026-08-14", "name": "works holiday"}],
                    "blackouts": [
                        {
                            "from": "2026-11-11T00:00:00Z",
                            "to": "2026-11-12T00:00:00Z",
                            "reason": "busiest day of the year",
                        }
                    ],
                },
            },
            conflicts={"already_exists": _NAME_TAKEN},
        ),
        "partial_update": Documented(
            requests={"Another country": {"country": "DE", "subdivision": "BY"}},
            conflicts={"already_exists": _NAME_TAKEN},
            notes="It counts for what is planned from now on. A calendar stays in its namespace.",
        ),
        "destroy": Documented(
            conflicts={
                "in_use": Conflict(
                    "a schedule has it", "Schedules use this calendar; give them another one first."
                )
            }
        ),
    },
)
FREEZES: Final = Documentation(
    entity={
        "id": 1,
        "namespace": "default",
        "since": "2026-03-02T12:00:00.000000Z",
        "until": None,
        "reason": "release of the shop",
        "created_by": "ann",
    },
    actions={
        "query": Documented(requests={"Without an end": {"filter": {"until": {"is_null": True}}}}),
        "create": Documented(
            requests={
                "Until it is lifted": {"namespace": "default", "reason": "release of the shop"},
                "Until a time": {"namespace": "default", "until": "2030-01-01T00:00:00Z"},
            },
            notes=(
                "Nothing is planned there from now on; what was planned runs, and runs by hand go on. "
                "A namespace that is frozen gets the new end and reason."
            ),
        ),
        "destroy": Documented(notes="Lifts it."),
    },
)
ALERTS: Final = Documentation(
    entity={
        "id": 1,
        "kind": "missed",
        "namespace": "default",
        "job_id": 1,
        "schedule_id": 1,
        "at": "2026-03-02T12:00:00.000000Z",
        "text": "3 planned runs were missed, the first one at 2026-03-02T09:00:00Z",
        "instants": 3,
        "acknowledged_at": None,
        "acknowledged_by": "",
    },
    actions={
        "query": Documented(
            requests={"That nobody has seen": {"filter": {"acknowledged_at": {"is_null": True}}}}
        )
    },
)
LEDGER: Final = Documentation(
    actions={
        "ledger": Documented(
            answer={
                "totals": {"fired": 1, "planned": 1},
                "has_more": False,
                "entries": [
                    {
                        "scheduled_at": "2026-03-02T01:30:00.000000Z",
                        "due_at": "2026-03-02T01:30:00.000000Z",
                        "outcome": "fired",
                        "reason": "",
                        "instants": 1,
                        "task_id": 1,
                        "status": "completed",
                        "started_at": "2026-03-02T01:30:00.004000Z",
                        "completed_at": "2026-03-02T01:31:12.500000Z",
                        "delay_secs": 0.004,
                    },
                    {
                        "scheduled_at": "2026-03-03T01:30:00.000000Z",
                        "due_at": "2026-03-03T01:30:00.000000Z",
                        "outcome": "planned",
                        "reason": "",
                        "instants": 1,
                        "task_id": None,
                        "status": None,
                        "started_at": None,
                        "completed_at": None,
                        "delay_secs": None,
                    },
                ],
            },
            notes=(
                "Behind the schedule's cursor tasks tell what happened, "
                "before it the rule tells what will come."
            ),
        )
    }
)
EXPLANATIONS: Final = Documentation(
    actions={
        "explain": Documented(
            answer={
                "summary": "gpu=true match 0 of 5 agents. The nearest is w1, which lacks gpu=true.",
                "runs": False,
                "checks": [
                    {"name": "waiting", "passed": True, "text": "The task waits: pending.", "blockers": []},
                    {
                        "name": "labels",
                        "passed": False,
                        "text": "gpu=true match 0 of 5 agents. The nearest is w1, which lacks gpu=true.",
                        "blockers": [
                            {
                                "kind": "agent",
                                "id": "01900000-0000-7000-8000-000000000001",
                                "name": "worker-1",
                            }
                        ],
                    },
                ],
            }
        )
    }
)
