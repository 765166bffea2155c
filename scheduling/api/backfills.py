"""REST of backfills: ranges of the past that are run after all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rest.fields import FlagField, InstantField, WholeNumberField
from rest.kinds import BOOLEAN, INSTANT, INTEGER, TEXT, choice
from rest.querying import QueryTable
from rest.serializers import NoBody, RequestSerializer
from rest.views import ResourceViewSet
from scheduling.api import backfill_examples
from scheduling.api.id_fields import ScheduleIdField
from scheduling.api.views import ScheduleViewSet
from scheduling.clock import database_now
from scheduling.kinds import BackfillFailure, BackfillOverlap, BackfillStatus
from scheduling.models import Backfill
from scheduling.services import backfills
from scheduling.services.backfill_progress import count_tasks
from scheduling.services.backfills import MAX_PARALLEL

BACKFILLS: Final = QueryTable(
    {
        "id": INTEGER,
        "schedule_id": INTEGER,
        "range_from": INSTANT,
        "range_to": INSTANT,
        "status": choice(BackfillStatus.values),
        "overlap": choice(BackfillOverlap.values),
        "on_failure": choice(BackfillFailure.values),
        "only_missing": BOOLEAN,
        "created_by": TEXT,
        "created_at": INSTANT,
        "completed_at": INSTANT,
        "updated_at": INSTANT,
    }
)
SHOWN_INSTANTS: Final = 10


class TaskCountsSerializer(serializers.Serializer[Any]):
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    active = serializers.IntegerField(help_text="Waiting, or with an agent.")


class BackfillSerializer(serializers.ModelSerializer[Backfill]):
    schedule_id = serializers.IntegerField(read_only=True)
    job_id = serializers.IntegerField(source="schedule.job_id", read_only=True)
    namespace = serializers.CharField(read_only=True)
    total = serializers.IntegerField(read_only=True, help_text="Instants of the range that are allowed.")
    planned = serializers.IntegerField(read_only=True, help_text="How many have a task so far.")
    left_out = serializers.IntegerField(read_only=True, help_text="How many had been completed before.")
    tasks = TaskCountsSerializer(source="task_counts", read_only=True)

    class Meta:
        model = Backfill
        fields = (
            "id",
            "schedule_id",
            "job_id",
            "namespace",
            "range_from",
            "range_to",
            "parallel",
            "overlap",
            "on_failure",
            "only_missing",
            "status",
            "problem",
            "total",
            "planned",
            "left_out",
            "tasks",
            "created_by",
            "created_at",
            "completed_at",
            "updated_at",
        )
        read_only_fields = fields


class BackfillRequest(RequestSerializer):
    entity = BackfillSerializer

    schedule_id = ScheduleIdField()
    range_from = InstantField()
    range_to = InstantField()
    parallel = WholeNumberField(required=False, min_value=1, max_value=MAX_PARALLEL)
    overlap = serializers.ChoiceField(choices=BackfillOverlap.choices, required=False)
    on_failure = serializers.ChoiceField(choices=BackfillFailure.choices, required=False)
    only_missing = FlagField(required=False)


class BackfillPreviewRequest(RequestSerializer):
    range_from = InstantField()
    range_to = InstantField()


class BackfillPreviewSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="How many instants would be run.")
    forbidden = serializers.IntegerField(help_text="How many more the calendar rules out.")
    first = serializers.ListField(child=serializers.DateTimeField(), help_text="The first ten.")
    last = serializers.DateTimeField()


class BackfillViewSet(ResourceViewSet):
    """Ranges of the past that are run after all."""

    resource = "scheduling.backfill"
    namespace_path = "schedule__job__namespace"
    needs: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("pause", "resume", "cancel"), "scheduling.change_backfill"
    )
    table = BACKFILLS
    documentation = backfill_examples.BACKFILLS
    entity_serializer = BackfillSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        "create": BackfillRequest,
        "pause": NoBody,
        "resume": NoBody,
        "cancel": NoBody,
    }

    def rows(self) -> QuerySet[Backfill]:
        return Backfill.objects.select_related("schedule__job")

    def represent_many(self, entities: Sequence[Backfill]) -> list[Any]:
        counted = count_tasks([entity.pk for entity in entities])
        for entity in entities:
            entity.task_counts = counted[entity.pk]  # type: ignore[attr-defined]
        return super().represent_many(entities)

    def perform_create(self, data: dict[str, Any]) -> Backfill:
        schedule = data.pop("schedule")
        self.authorize("scheduling.add_backfill", schedule.job.namespace)
        return backfills.create_backfill(
            schedule_id=schedule.pk, now=database_now(), by=self.actor, permit=self.permit, **data
        )

    def pause(self, request: Request, pk: int) -> Response:
        """Begin no further runs; those under way go on."""
        return self._switched(backfills.pause_backfill, pk)

    def resume(self, request: Request, pk: int) -> Response:
        """Go on where it was."""
        return self._switched(backfills.resume_backfill, pk)

    def cancel(self, request: Request, pk: int) -> Response:
        """End it for good and cancel its tasks; commands that run are stopped."""
        return self._switched(backfills.cancel_backfill, pk)

    def _switched(self, switch: Callable[..., Backfill], pk: int) -> Response:
        self.read_body()
        switched = switch(backfill_id=pk, now=database_now(), by=self.actor, permit=self.permit)
        return Response(self.represent(switched))


class BackfillPreviewViewSet(ScheduleViewSet):
    """What a backfill would run."""

    needs: ClassVar[Mapping[str, str]] = {"backfill_preview": "scheduling.view_schedule"}
    documentation = backfill_examples.PREVIEW
    request_serializers = {"backfill_preview": BackfillPreviewRequest}

    @extend_schema(responses=BackfillPreviewSerializer)
    def backfill_preview(self, request: Request, pk: int) -> Response:
        """Tell which instants of the past a backfill would run; saves nothing."""
        schedule = self.get_queryset().select_related("job", "calendar").get(pk=pk)
        found = backfills.survey(schedule=schedule, now=database_now(), **self.read_body())
        preview = {
            "total": len(found.instants),
            "forbidden": found.forbidden,
            "first": found.instants[:SHOWN_INSTANTS],
            "last": found.instants[-1],
        }
        return Response(BackfillPreviewSerializer(preview).data)
