# Made while everything goes on.
from datetime import timedelta

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations
from django.db.models import F, Func, Index, Q
from django.db.models.functions import Collate, Upper
from django.db.models.lookups import GreaterThan

# A large table takes longer than a statement may otherwise.
_PATIENT = "SET statement_timeout = 0; SET lock_timeout = 0"
_AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"
_PRESENT = Q(archived_at__isnull=True)
_NOT_ENABLED = Q(status__in=("disabled", "expired"), archived_at__isnull=True)
_NOT_FIRED = ("coalesced", "late", "missed", "skipped_calendar", "skipped_disabled", "skipped_overlap")
_TOOK_LONG = Q(GreaterThan(F("completed_at") - F("created_at"), timedelta(minutes=5)))
_FAILED = Q(exit_code__lt=0) | Q(exit_code__gt=0)


def _parts():
    return Func("name", "namespace", "description", function="hetuflow_parts")


_INDEXES = [
    ("alert", Index(fields=["kind", "-id"], name="alert_by_kind")),
    ("backfill", Index(fields=["status", "-id"], name="backfill_by_status")),
    ("backfill", Index(fields=["created_by", "-id"], name="backfill_by_creator")),
    ("bulkaction", Index(fields=["status", "-id"], name="bulkaction_by_status")),
    ("bulkaction", Index(fields=["verb", "-id"], name="bulkaction_by_verb")),
    ("calendar", GinIndex(_parts(), name="calendar_by_parts")),
    ("calendar", Index(fields=["name", "id"], name="calendar_by_name")),
    ("route", GinIndex(fields=["labels"], name="route_by_labels")),
    ("job", GinIndex(_parts(), name="job_by_parts")),
    ("job", Index(fields=["route"], name="job_by_route")),
    ("job", Index(fields=["namespace", "id"], name="job_by_namespace")),
    ("job", Index(fields=["name", "id"], condition=_PRESENT, name="job_by_name")),
    ("schedule", Index(fields=["next_run_at", "id"], condition=_PRESENT, name="schedule_by_next_run")),
    ("schedule", Index(Collate(Upper("name"), "C"), condition=~Q(name=""), name="schedule_by_name")),
    ("schedule", Index(fields=["id"], condition=~Q(problem=""), name="schedule_in_trouble")),
    (
        "schedule",
        Index(fields=["status", "next_run_at", "id"], condition=_NOT_ENABLED, name="schedule_not_enabled"),
    ),
    ("task", Index(fields=["-id"], condition=Q(attempt_count__gt=1), name="task_retried")),
    (
        "task",
        Index(fields=["outcome", "-id"], condition=Q(outcome__in=_NOT_FIRED), name="task_by_other_outcome"),
    ),
    ("taskinstance", Index(fields=["-id"], condition=_TOOK_LONG, name="taskinstance_long_by_id")),
    ("taskinstance", Index(fields=["exit_code", "-id"], condition=_FAILED, name="taskinstance_by_exit_code")),
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("agents", "0006_list_indexes"), ("scheduling", "0022_validate_verbs")]
    operations = [
        migrations.RunSQL(_PATIENT, _AS_BEFORE),
        *(
            operation
            for model, index in _INDEXES
            for operation in (
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
                AddIndexConcurrently(model, index),
            )
        ),
        migrations.RunSQL(_AS_BEFORE, _PATIENT),
    ]
