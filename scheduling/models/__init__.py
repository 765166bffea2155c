"""Job (what) → Schedule (when) → Task (one planned instant) → TaskInstance (one attempt on one agent).

The rules that the database can keep stand in the constraints; the invariants' names (I1 …) are those of
`docs/reliability.md`. Status changes are made by `scheduling.services.lifecycle` alone.
"""

from scheduling.models.alerts import Alert
from scheduling.models.backfills import Backfill
from scheduling.models.bulk import BulkAction, BulkTarget
from scheduling.models.calendars import Calendar, Freeze
from scheduling.models.definitions import Job, Route, Schedule
from scheduling.models.leases import Lease
from scheduling.models.output import OutputChunk, OutputStream
from scheduling.models.retention import RetentionRule
from scheduling.models.tasks import Task, TaskInstance
from scheduling.models.zones import ZoneData

__all__ = [
    "Alert",
    "Backfill",
    "BulkAction",
    "BulkTarget",
    "Calendar",
    "Freeze",
    "Job",
    "Lease",
    "OutputChunk",
    "OutputStream",
    "RetentionRule",
    "Route",
    "Schedule",
    "Task",
    "TaskInstance",
    "ZoneData",
]
