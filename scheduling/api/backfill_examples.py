"""Backfills and forecasts in the OpenAPI document."""

from typing import Final

from rest.openapi.documentation import Documentation, Documented
from scheduling.api.examples import state_conflict

_ENDED: Final = "completed"
_ALLOWED: Final = "running, paused"

BACKFILLS: Final = Documentation(
    entity={
        "id": 1,
        "schedule_id": 1,
        "job_id": 1,
        "namespace": "default",
        "range_from": "2026-02-01T00:00:00.000000Z",
        "range_to": "2026-02-28T23:59:59.000000Z",
        "parallel": 4,
        "overlap": "queue",
        "on_failure": "pause",
        "only_missing": True,
        "status": "running",
        "problem": "",
        "total": 28,
        "planned": 12,
        "left_out": 2,
        "tasks": {"completed": 8, "failed": 0, "cancelled": 0, "active": 4},
        "created_by": "ann",
        "created_at": "2026-03-02T12:00:00.000000Z",
        "completed_at": None,
        "updated_at": "2026-03-02T12:05:00.000000Z",
    },
    actions={
        "query": Documented(requests={"Under way": {"filter": {"status": {"in": ["running", "paused"]}}}}),
        "create": Documented(
            requests={
                "A day, one run after the other": {
                    "schedule_id": 1,
                    "range_from": "2025-02-01T00:00:00Z",
                    "range_to": "2025-02-01T23:59:59Z",
                },
                "What is missing of a month, four at a time": {
                    "schedule_id": 1,
                    "range_from": "2025-02-01T00:00:00Z",
                    "range_to": "2025-02-28T23:59:59Z",
                    "parallel": 4,
                    "overlap": "allow",
                    "on_failure": "pause",
                    "only_missing": True,
                },
            },
            notes=(
                "Runs each instant of the schedule's rule in the range once more, both ends included, but "
                "for those that its calendar forbids. At most `parallel` are under way at a time. With "
                "`overlap` `queue` none begins while a run of the schedule itself goes on. With "
                "`only_missing` instants that have a completed run, or one under way, are left out."
            ),
        ),
        "pause": Documented(
            conflicts=state_conflict(
                "it has ended", action="pause this backfill", current=_ENDED, allowed=_ALLOWED
            )
        ),
        "resume": Documented(
            conflicts=state_conflict(
                "it has ended", action="resume this backfill", current=_ENDED, allowed=_ALLOWED
            )
        ),
        "cancel": Documented(
            conflicts=state_conflict(
                "it has ended", action="cancel this backfill", current=_ENDED, allowed=_ALLOWED
            )
        ),
    },
)
PREVIEW: Final = Documentation(
    actions={
        "backfill_preview": Documented(
            requests={"Two days": {"range_from": "2025-02-01T00:00:00Z", "range_to": "2025-02-02T23:59:59Z"}},
            answer={
                "total": 2,
                "forbidden": 0,
                "first": ["2025-02-01T02:30:00.000000Z", "2025-02-02T02:30:00.000000Z"],
                "last": "2025-02-02T02:30:00.000000Z",
            },
        )
    }
)
FORECAST: Final = Documentation(
    actions={
        "get": Documented(
            answer={
                "begin": "2026-03-02T12:00:00.000000Z",
                "end": "2026-03-02T12:30:00.000000Z",
                "bucket_secs": 900,
                "schedules": 2,
                "is_complete": True,
                "slots": 4,
                "totals": {"runs": 3, "skipped_calendar": 0, "skipped_overlap": 1, "without_agent": 0},
                "buckets": [
                    {
                        "begin": "2026-03-02T12:00:00.000000Z",
                        "runs": 1,
                        "skipped_calendar": 0,
                        "skipped_overlap": 0,
                        "running": 0.5,
                        "waiting_secs": 0.0,
                    },
                    {
                        "begin": "2026-03-02T12:15:00.000000Z",
                        "runs": 2,
                        "skipped_calendar": 0,
                        "skipped_overlap": 1,
                        "running": 1.25,
                        "waiting_secs": 0.0,
                    },
                ],
                "jobs": [
                    {
                        "job_id": 1,
                        "namespace": "default",
                        "name": "nightly-backup",
                        "run_secs": 412.5,
                        "has_agent": True,
                        "total": 3,
                        "runs": [1, 2],
                    }
                ],
            },
            notes=(
                "Instants come from the schedules' rules, without those that calendars and freezes rule out. "
                "How long runs take is what the newest twenty attempts of a job took on average; by that, "
                "overlap and the slots of the agents on line say what is left out and what waits. Buckets "
                "are quarters of an hour for two days, else hours; the first one has begun already. An "
                "answer may be half a minute old."
            ),
        )
    }
)
