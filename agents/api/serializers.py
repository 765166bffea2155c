"""Agents as JSON, and the bodies of the requests that change them."""

from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from agents.models import CONNECTED_STATUSES, MAX_LABEL_CHARS, MAX_LABELS, Agent
from agents.protocol.messages import COMMAND_KINDS
from rest.fields import FlagField, IdField, NameField, NumberField, ObjectField, StringMapField, TextField
from rest.fields import WholeNumberField as Whole
from rest.serializers import RequestSerializer

# What an agent may say of itself over HTTP; it goes offline by falling silent.
HEARTBEAT_STATUSES: Final = tuple(status.value for status in CONNECTED_STATUSES)


class AgentCapabilitiesSerializer(serializers.Serializer[Any]):
    max_concurrent_tasks = serializers.IntegerField()
    commands = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return {"max_concurrent_tasks": 0, "commands": [], "metadata": {}, **instance}


class AgentStatisticsSerializer(serializers.Serializer[Any]):
    success_tasks = serializers.IntegerField()
    failure_tasks = serializers.IntegerField()
    total_tasks = serializers.IntegerField()
    avg_response_ms = serializers.FloatField()
    last_failure_at = serializers.DateTimeField(allow_null=True)
    consecutive_failures = serializers.IntegerField()


class AgentSerializer(serializers.ModelSerializer[Agent]):
    labels = serializers.DictField(child=serializers.CharField(), read_only=True)
    capabilities = AgentCapabilitiesSerializer(read_only=True)
    statistics = AgentStatisticsSerializer(read_only=True)

    class Meta:
        model = Agent
        fields = (
            "id",
            "name",
            "description",
            "address",
            "status",
            "enabled",
            "labels",
            "capabilities",
            "statistics",
            "version",
            "last_heartbeat_at",
            "connected_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class CreatedAgentSerializer(AgentSerializer):
    """A new agent with its token, which nobody can read again."""

    token = serializers.CharField(
        read_only=True, allow_null=True, help_text="Null in a repeated answer: it is shown once."
    )

    class Meta:
        model = Agent
        fields = (*AgentSerializer.Meta.fields, "token")
        read_only_fields = fields


class AgentCapabilitiesRequest(RequestSerializer):
    max_concurrent_tasks = Whole(required=False, min_value=1, max_value=10_000)
    commands = serializers.ListField(
        child=serializers.ChoiceField(choices=COMMAND_KINDS), required=False, max_length=64
    )
    metadata = ObjectField(required=False)


class AgentLabelsField(StringMapField):
    """Labels of an agent, not too many and none too long."""

    schema = {
        "type": "object",
        "maxProperties": MAX_LABELS,
        "propertyNames": {"minLength": 1, "maxLength": MAX_LABEL_CHARS},
        "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_CHARS},
    }
    default_error_messages = {"large": _("expected at most {limit} labels, of at most {limit} characters")}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        value = super().to_internal_value(data)
        if len(value) > MAX_LABELS or any(len(text) > MAX_LABEL_CHARS for text in value.values()):
            self.fail("large", limit=MAX_LABELS)
        return value


class AgentUpdateRequest(RequestSerializer):
    entity = AgentSerializer

    name = NameField()
    description = TextField(required=False, allow_blank=True)
    address = TextField(required=False, allow_blank=True, max_length=255)
    labels = AgentLabelsField(required=False)
    capabilities = AgentCapabilitiesRequest(required=False)
    enabled = FlagField(required=False)


class AgentRequest(AgentUpdateRequest):
    id = IdField(required=False)
    enabled = None  # type: ignore[assignment]  # a new agent is enabled


class AgentMetricsRequest(RequestSerializer):
    """What an agent measured; of its attempts the server keeps its own count, and tells that one."""

    cpu_usage = NumberField(required=False, allow_null=True, min_value=0, max_value=1e6)
    memory_usage = NumberField(required=False, allow_null=True, min_value=0, max_value=1e6)
    disk_usage = NumberField(required=False, allow_null=True, min_value=0, max_value=1e6)
    load_1m = NumberField(required=False, allow_null=True, min_value=0, max_value=1e9)
    uptime = NumberField(required=False, allow_null=True, min_value=0, max_value=1e12)
    active_tasks = Whole(required=False, allow_null=True, help_text="Counts where `running_tasks` is absent.")
    total_executed = Whole(required=False, allow_null=True)
    success_rate = NumberField(required=False, allow_null=True, min_value=0, max_value=1)
    avg_execution_time = NumberField(required=False, allow_null=True, min_value=0, max_value=1e9)


class AgentHeartbeatRequest(RequestSerializer):
    status = serializers.ChoiceField(choices=HEARTBEAT_STATUSES, required=False)
    metrics = AgentMetricsRequest(required=False)
    running_tasks = Whole(required=False)
