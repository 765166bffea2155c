"""REST of how long history is kept."""

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from rest_framework import serializers

from rest.fields import NameField, WholeNumberField, refuse
from rest.kinds import INSTANT, INTEGER, TEXT
from rest.querying import QueryTable
from rest.serializers import RequestSerializer
from rest.views import ResourceViewSet
from scheduling.api import retention_examples
from scheduling.api.id_fields import JobIdField
from scheduling.models import RetentionRule
from scheduling.services import retention_rules
from scheduling.services.retention_rules import MAX_DAYS, MAX_LAST

RULES: Final = QueryTable(
    {
        "id": INTEGER,
        "namespace": TEXT,
        "job_id": INTEGER,
        "keep_days": INTEGER,
        "keep_last": INTEGER,
        "created_at": INSTANT,
        "updated_at": INSTANT,
    }
)


class RetentionRuleSerializer(serializers.ModelSerializer[RetentionRule]):
    job_id = serializers.IntegerField(read_only=True, allow_null=True)

    class Meta:
        model = RetentionRule
        fields = (
            "id",
            "namespace",
            "job_id",
            "keep_days",
            "keep_last",
            "created_by",
            "created_at",
            "updated_by",
            "updated_at",
        )
        read_only_fields = fields


class RetentionRuleUpdateRequest(RequestSerializer):
    entity = RetentionRuleSerializer

    keep_days = WholeNumberField(
        required=False, allow_null=True, max_value=MAX_DAYS, help_text="0 is for ever, null leaves it open."
    )
    keep_last = WholeNumberField(
        required=False, allow_null=True, max_value=MAX_LAST, help_text="0 is all, null leaves it open."
    )


class RetentionRuleRequest(RetentionRuleUpdateRequest):
    namespace = NameField(required=False, help_text="`*` is every namespace; that of the job by itself.")
    job_id = JobIdField(required=False)


class RetentionRuleViewSet(ResourceViewSet):
    """How long ended tasks are kept, with their attempts and output."""

    resource = "scheduling.retentionrule"
    namespace_path = "namespace"
    table = RULES
    documentation = retention_examples.RULES
    entity_serializer = RetentionRuleSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        "create": RetentionRuleRequest,
        "partial_update": RetentionRuleUpdateRequest,
    }

    def rows(self) -> QuerySet[RetentionRule]:
        return RetentionRule.objects.select_related("job")

    def perform_create(self, data: dict[str, Any]) -> RetentionRule:
        job = data.get("job")
        if job is not None:
            data.setdefault("namespace", job.namespace)
        if "namespace" not in data:
            refuse({"namespace": "required where there is no job_id; * is every namespace"}, code="required")
        self.authorize("scheduling.add_retentionrule", data["namespace"])
        return retention_rules.create_rule(by=self.actor, permit=self.permit, **data)

    def perform_update(self, entity: RetentionRule, data: dict[str, Any]) -> RetentionRule:
        return retention_rules.update_rule(rule_id=entity.pk, by=self.actor, permit=self.permit, **data)

    def perform_destroy(self, entity: RetentionRule) -> None:
        retention_rules.delete_rule(rule_id=entity.pk, by=self.actor, permit=self.permit)
