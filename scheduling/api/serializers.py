"""Jobs, schedules and tasks as JSON, and the bodies of the requests that change them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from rest.fields import (
    AnyJsonField,
    FlagField,
    InstantField,
    NameField,
    ObjectField,
    StringMapField,
    TextField,
    TextListField,
    WholeNumberField,
)
from rest.serializers import RequestSerializer
from scheduling.api.id_fields import CalendarIdField, JobIdField
from scheduling.environment import environment_problem
from scheduling.kinds import (
    CalendarPolicy,
    DaylightGap,
    DaylightOverlap,
    IntervalMode,
    ScheduleKind,
    ScheduleStatus,
)
from scheduling.models import Job, Schedule, Task
from scheduling.parameters_schema import schema_problem
from scheduling.recurrence import Recurrence, RecurrenceError, validate
from scheduling.task_config import TaskConfigError, clean_task_config
from scheduling.timing.expressions import MAX_CHARS

MAX_PREVIEW: int = 100
SWITCHABLE_STATUSES = (ScheduleStatus.ENABLED.value, ScheduleStatus.DISABLED.value)


class ConfigField(ObjectField):
    """A task configuration; of an update only what changes. Errors name its fields, as `config.cmd`."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        changes = super().to_internal_value(data)
        base: Mapping[str, Any] = getattr(self.root.instance, "config", None) or {}
        try:
            clean_task_config({**base, **changes})
        except TaskConfigError as error:
            raise ValidationError(
                {name: [ErrorDetail(message, "invalid")] for name, message in error.errors.items()}
            ) from error
        return changes


class ConfigChangesField(ObjectField):
    """What differs from the job's configuration; the service that knows the job checks it."""


class EnvironmentField(StringMapField):
    """Environment variables for a command."""

    schema = {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,254}$"},
        "additionalProperties": {"type": "string"},
    }

    def to_internal_value(self, data: Any) -> dict[str, str]:
        value = super().to_internal_value(data)
        problem = environment_problem(value, allowed=settings.HETUFLOW_ALLOWED_ENVIRONMENT)
        if problem:
            raise ValidationError(problem, "invalid")
        return value


class ParametersSchemaField(ObjectField):
    """A JSON Schema (2020-12) that the parameters of each run must fit, without references."""

    schema = {
        "type": "object",
        "properties": {"type": {"const": "object"}},
        "required": ["type"],
        "additionalProperties": {},
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        value = super().to_internal_value(data)
        problem = schema_problem(value)
        if problem:
            raise ValidationError(problem, "invalid")
        return value


class JobSerializer(serializers.ModelSerializer[Job]):
    environment = StringMapField(read_only=True)
    config = ConfigField(read_only=True)
    parameters_schema = ParametersSchemaField(read_only=True, allow_null=True)
    tags = TextListField(read_only=True)

    class Meta:
        model = Job
        fields = (
            "id",
            "namespace",
            "name",
            "description",
            "command",
            "environment",
            "config",
            "parameters_schema",
            "enabled",
            "tags",
            "created_by",
            "created_at",
            "updated_by",
            "updated_at",
        )
        read_only_fields = fields


class JobRequest(RequestSerializer):
    entity = JobSerializer

    namespace = NameField(default="default")
    name = NameField()
    description = TextField(required=False, allow_blank=True)
    command = TextField(required=False, allow_blank=True)
    environment = EnvironmentField(required=False)
    config = ConfigField()
    parameters_schema = ParametersSchemaField(required=False, allow_null=True)
    enabled = FlagField(required=False)
    tags = serializers.ListField(child=NameField(), required=False, max_length=100)


class TriggerRequest(RequestSerializer):
    parameters = ObjectField(required=False)
    environment = EnvironmentField(required=False)
    priority = WholeNumberField(required=False, min_value=-(2**31))
    scheduled_at = InstantField(required=False)
    force = FlagField(required=False)


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
    job_id = serializers.IntegerField(read_only=True)
    calendar_id = serializers.IntegerField(read_only=True, allow_null=True)
    parameters = ObjectField(read_only=True)

    class Meta:
        model = Schedule
        fields = (
            "id",
            "job_id",
            "name",
            "description",
            "kind",
            "cron_expression",
            "interval_secs",
            "timezone",
            "start_time",
            "end_time",
            "max_count",
            "run_count",
            "missed_count",
            "jitter_secs",
            "dst_gap",
            "dst_overlap",
            "interval_mode",
            "calendar_id",
            "calendar_policy",
            "parameters",
            "pause_after_failures",
            "catch_up_secs",
            "status",
            "next_run_at",
            "last_run_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


_SOME_TIME = datetime(2024, 1, 1, tzinfo=UTC)


def check_timezone(value: str) -> None:
    """Raise ValidationError for what is no IANA time zone."""
    _check(Recurrence(kind="interval", interval_secs=1, timezone=value))


def check_cron(value: str) -> None:
    """Raise ValidationError for an expression that can never come true."""
    # Whether a rule has a start to count from, only the whole schedule tells.
    _check(Recurrence(kind="cron", cron_expression=value, start_time=_SOME_TIME))


def _check(recurrence: Recurrence) -> None:
    try:
        validate(recurrence)
    except RecurrenceError as error:
        raise ValidationError(str(error), "invalid") from error


class RecurrenceRequest(RequestSerializer):
    """What a schedule says about time. How its fields go together, the service checks."""

    kind = serializers.ChoiceField(choices=ScheduleKind.values)
    cron_expression = TextField(
        required=False, allow_null=True, max_length=MAX_CHARS, validators=[check_cron]
    )
    interval_secs = WholeNumberField(required=False, allow_null=True, min_value=1)
    timezone = TextField(required=False, max_length=64, validators=[check_timezone])
    start_time = InstantField(required=False, allow_null=True)
    end_time = InstantField(required=False, allow_null=True)
    dst_gap = serializers.ChoiceField(choices=DaylightGap.choices, required=False, allow_null=True)
    dst_overlap = serializers.ChoiceField(choices=DaylightOverlap.choices, required=False, allow_null=True)


class ScheduleRequest(RecurrenceRequest):
    entity = ScheduleSerializer

    job_id = JobIdField()
    name = NameField(required=False, allow_blank=True)
    description = TextField(required=False, allow_blank=True)
    max_count = WholeNumberField(required=False, allow_null=True, min_value=1)
    jitter_secs = WholeNumberField(required=False)
    interval_mode = serializers.ChoiceField(choices=IntervalMode.choices, required=False)
    calendar_id = CalendarIdField()
    calendar_policy = serializers.ChoiceField(choices=CalendarPolicy.choices, required=False)
    parameters = ObjectField(required=False)
    pause_after_failures = WholeNumberField(required=False, allow_null=True, min_value=1)
    catch_up_secs = WholeNumberField(required=False, allow_null=True)
    status = serializers.ChoiceField(choices=SWITCHABLE_STATUSES, required=False)


class ScheduleUpdateRequest(ScheduleRequest):
    job_id = None  # type: ignore[assignment]  # a schedule stays with its job


class PreviewRequest(RecurrenceRequest):
    count = WholeNumberField(default=10, min_value=1, max_value=MAX_PREVIEW)
    after = InstantField(required=False)


class FireTimeSerializer(serializers.Serializer[Any]):
    utc = serializers.DateTimeField()
    local = serializers.CharField()
    note = serializers.CharField(allow_null=True)


class PreviewSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    timezone = serializers.CharField()
    description = serializers.CharField()
    fire_times = FireTimeSerializer(many=True)
    notes = serializers.ListField(child=serializers.CharField())


class TaskIdsField(AnyJsonField):
    """Tasks that must end first."""

    schema = {"type": "array", "items": {"type": "integer"}}


class TaskSerializer(serializers.ModelSerializer[Task]):
    job_id = serializers.IntegerField(read_only=True)
    schedule_id = serializers.IntegerField(read_only=True, allow_null=True)
    backfill_id = serializers.IntegerField(read_only=True, allow_null=True)
    schedule_kind = serializers.CharField(read_only=True, help_text="Empty where no schedule planned it.")
    parameters = ObjectField(read_only=True)
    environment = StringMapField(read_only=True)
    config = ConfigField(read_only=True)
    dependencies = TaskIdsField(read_only=True)

    class Meta:
        model = Task
        fields = (
            "id",
            "job_id",
            "namespace",
            "schedule_id",
            "backfill_id",
            "schedule_kind",
            "priority",
            "status",
            "scheduled_at",
            "completed_at",
            "parameters",
            "environment",
            "config",
            "retry_count",
            "max_retries",
            "dependencies",
            "locked_at",
            "lock_version",
            "created_by",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class TaskUpdateRequest(RequestSerializer):
    entity = TaskSerializer

    priority = WholeNumberField(required=False, min_value=-(2**31))
    scheduled_at = InstantField(required=False)
    parameters = ObjectField(required=False)
    environment = EnvironmentField(required=False)
    config = ConfigChangesField(required=False)
    max_retries = WholeNumberField(required=False, max_value=1000)


class TaskRequest(TaskUpdateRequest):
    job_id = JobIdField()
