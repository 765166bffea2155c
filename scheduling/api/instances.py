"""REST of task instances: what attempts did, and attempts that are driven by hand."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent
from agents.protocol.messages import AttemptMetrics
from rest.browsable.renderer import BrowsableRenderer
from rest.fields import AnyJsonField, IdField, NumberField, TextField, WholeNumberField
from rest.permissions import authority_for, seen
from rest.rendering import JSONRenderer
from rest.serializers import NoBody, RequestSerializer
from rest.views import Json, ResourceViewSet
from scheduling.api import filters, task_examples
from scheduling.api.logs import (
    DEFAULT_LIMIT_BYTES,
    MAX_LIMIT_BYTES,
    JSONLinesRenderer,
    PlainTextRenderer,
    log_response,
    read_log_request,
)
from scheduling.api.views import ANY_AGENT, ANY_TASK, known
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.models import Task, TaskInstance
from scheduling.services import by_hand
from scheduling.services.output import read_beginnings

# `output` is a glance; `/logs` has it all.
OUTPUT_BYTES: int = 64 * 1024
OUTPUT_BYTES_IN_LISTS: int = 4 * 1024


class AttemptMetricsSerializer(serializers.Serializer[Any]):
    cpu_time = serializers.FloatField(allow_null=True, help_text="Seconds.")
    memory_peak = serializers.IntegerField(allow_null=True, help_text="Bytes.")
    disk_read = serializers.IntegerField(allow_null=True, help_text="Bytes.")
    disk_write = serializers.IntegerField(allow_null=True, help_text="Bytes.")

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return {name: instance.get(name) for name in AttemptMetrics.__struct_fields__}


class TaskInstanceSerializer(serializers.ModelSerializer[TaskInstance]):
    task_id = serializers.IntegerField(read_only=True)
    job_id = serializers.IntegerField(read_only=True)
    agent_id = serializers.UUIDField(read_only=True, allow_null=True)
    output = serializers.SerializerMethodField(
        help_text="How the output begins, both streams as they arrived; `/logs` has all of it."
    )
    metrics = AttemptMetricsSerializer(read_only=True)
    result = AnyJsonField(read_only=True)

    class Meta:
        model = TaskInstance
        fields = (
            "id",
            "task_id",
            "job_id",
            "agent_id",
            "attempt",
            "status",
            "started_at",
            "completed_at",
            "exit_code",
            "result",
            "output",
            "error_message",
            "metrics",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    def get_output(self, instance: TaskInstance) -> str:
        output: bytes = self.context["outputs"].get(instance.pk, b"")
        return output.decode(errors="replace")


class AttemptMetricsRequest(RequestSerializer):
    cpu_time = NumberField(required=False, allow_null=True, min_value=0, max_value=1e12)
    memory_peak = WholeNumberField(required=False, allow_null=True, max_value=2**53 - 1)
    disk_read = WholeNumberField(required=False, allow_null=True, max_value=2**53 - 1)
    disk_write = WholeNumberField(required=False, allow_null=True, max_value=2**53 - 1)


class TaskInstanceRequest(RequestSerializer):
    entity = TaskInstanceSerializer

    task_id = WholeNumberField(max_value=2**63 - 1)
    agent_id = IdField(required=False, allow_null=True)


class TaskInstanceUpdateRequest(RequestSerializer):
    entity = TaskInstanceSerializer

    result = AnyJsonField(required=False, allow_null=True)
    error_message = TextField(required=False, allow_blank=True)
    metrics = AttemptMetricsRequest(required=False)


class TaskInstanceStartRequest(RequestSerializer):
    entity = TaskInstanceSerializer

    agent_id = IdField(required=False, allow_null=True)


class TaskInstanceCompleteRequest(TaskInstanceUpdateRequest):
    exit_code = WholeNumberField(required=False, allow_null=True, min_value=-(2**31))
    output = TextField(required=False, allow_blank=True, max_length=None)


class TaskInstanceViewSet(ResourceViewSet):
    """Attempts of tasks."""

    resource = "scheduling.taskinstance"
    namespace_path = "namespace"
    needs: ClassVar[Mapping[str, str]] = {
        "start": "scheduling.change_taskinstance",
        "complete": "scheduling.change_taskinstance",
        "cancel": "scheduling.change_taskinstance",
        "of_task": "scheduling.view_taskinstance",
        "of_agent": "scheduling.view_taskinstance",
        "with_status": "scheduling.view_taskinstance",
    }
    parents = {"task_id": ANY_TASK, "agent_id": ANY_AGENT}
    agent_actions = frozenset({"list", "query", "retrieve", "partial_update", "start", "complete"})
    table = filters.INSTANCES
    documentation = task_examples.INSTANCES
    entity_serializer = TaskInstanceSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        "create": TaskInstanceRequest,
        "partial_update": TaskInstanceUpdateRequest,
        "start": TaskInstanceStartRequest,
        "complete": TaskInstanceCompleteRequest,
        "cancel": NoBody,
    }

    def rows(self) -> QuerySet[TaskInstance]:
        return TaskInstance.objects.all()

    def rows_of_agent(self, agent: Agent) -> QuerySet[TaskInstance]:
        return self.rows().filter(agent=agent)

    def get_serializer_context(self) -> dict[str, Any]:
        return {"outputs": {}, **super().get_serializer_context()}

    def represent(self, entity: TaskInstance) -> Any:
        return self._with_output([entity], limit=OUTPUT_BYTES)[0]

    def represent_many(self, entities: Sequence[TaskInstance]) -> Json:
        return self._with_output(entities, limit=OUTPUT_BYTES_IN_LISTS)

    def _with_output(self, entities: Sequence[TaskInstance], *, limit: int) -> Json:
        """Return attempts with the beginnings of their output, which take one statement more."""
        outputs = read_beginnings([instance.pk for instance in entities], limit=limit)
        context = {**self.get_serializer_context(), "outputs": outputs}
        return [*TaskInstanceSerializer(entities, many=True, context=context).data]

    def perform_create(self, data: dict[str, Any]) -> TaskInstance:
        agent_id = self._seen_agent(data.get("agent_id"))
        task_id = data["task_id"]
        seen_tasks = seen(
            Task.objects.all(),
            authority=authority_for(self.request),
            permission="scheduling.view_task",
            namespace_path="namespace",
        )
        namespace = seen_tasks.filter(pk=task_id).values_list("namespace", flat=True).first()
        if namespace is None:
            raise InvalidField({"task_id": str(_("There is no such task."))})
        self.authorize("scheduling.add_taskinstance", namespace)
        return by_hand.create_attempt(task_id=task_id, agent_id=agent_id, now=database_now(), by=self.actor)

    def perform_update(self, entity: TaskInstance, data: dict[str, Any]) -> TaskInstance:
        return by_hand.update_attempt(instance_id=entity.pk, now=database_now(), by=self.actor, **data)

    def perform_destroy(self, entity: TaskInstance) -> None:
        by_hand.delete_attempt(instance_id=entity.pk, by=self.actor)

    def start(self, request: Request, pk: str) -> Response:
        """Note that the attempt's command was started."""
        agent_id = self._seen_agent(self._body_for(pk).get("agent_id"))
        instance = by_hand.start_attempt(
            instance_id=_id(pk), agent_id=agent_id, now=database_now(), by=self.actor
        )
        return Response(self.represent(instance))

    def complete(self, request: Request, pk: str) -> Response:
        """Note how the attempt ended; a non-zero `exit_code` is a failure."""
        data = self._body_for(pk)
        instance = by_hand.complete_attempt(instance_id=_id(pk), now=database_now(), by=self.actor, **data)
        return Response(self.represent(instance))

    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel the attempt and its task; if the command runs on an agent, that is killed."""
        self._body_for(pk)
        return Response(
            self.represent(by_hand.cancel_attempt(instance_id=_id(pk), now=database_now(), by=self.actor))
        )

    def of_task(self, request: Request, task_id: int) -> Response:
        """List the attempts of one task."""
        return self.array(self.get_queryset().filter(task_id=task_id))

    def of_agent(self, request: Request, agent_id: str) -> Response:
        """List the attempts on one agent."""
        return self.array(self.get_queryset().filter(agent_id=agent_id))

    def with_status(self, request: Request, status: str) -> Response:
        """List the attempts with one status."""
        return self.array(self.get_queryset().filter(status=known(status, filters.INSTANCE_STATUS)))

    def _seen_agent(self, agent_id: Any) -> Any:
        """Return the id of an agent that the caller sees, None for none; an agent sees itself.

        Raises InvalidField.
        """
        if agent_id is None:
            return None
        agents = Agent.objects.filter(archived_at__isnull=True)
        caller = getattr(self.request.user, "agent", None)
        if caller is not None:
            agents = agents.filter(pk=caller.pk)
        else:
            authority = authority_for(self.request)
            agents = seen(agents, authority=authority, permission="agents.view_agent", namespace_path=None)
        if not agents.filter(pk=agent_id).exists():
            raise InvalidField({"agent_id": str(_("There is no such agent."))})
        return agent_id

    def _body_for(self, pk: str) -> dict[str, Any]:
        """Return the body of an action on an attempt; one that is not there is a 404 before a bad body."""
        self.get_queryset().only("pk").get(pk=pk)
        return self.read_body()


class InstanceLogsViewSet(TaskInstanceViewSet):
    """The output of one attempt."""

    needs: ClassVar[Mapping[str, str]] = {"logs": "scheduling.view_taskinstance"}
    agent_actions = frozenset({"logs"})
    renderer_classes = [JSONLinesRenderer, PlainTextRenderer, JSONRenderer, BrowsableRenderer]

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "stream",
                str,
                enum=["stdout", "stderr"],
                description="One of the two; both as they arrived where absent.",
            ),
            OpenApiParameter(
                "offset",
                {"type": "integer", "minimum": 0, "maximum": 2**53, "default": 0},
                description="The first byte.",
            ),
            OpenApiParameter(
                "limit",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_LIMIT_BYTES,
                    "default": DEFAULT_LIMIT_BYTES,
                },
                description="At most so many bytes.",
            ),
            OpenApiParameter("follow", bool, description="Go on until the attempt ends."),
        ],
        responses={
            (200, media_type): OpenApiResponse(
                OpenApiTypes.STR,
                description="The output, as printed or as JSON lines.",
                examples=[OpenApiExample("Output", value=text, media_type=media_type)],
            )
            for media_type, text in task_examples.OUTPUT.items()
        },
    )
    def logs(self, request: Request, pk: str) -> HttpResponseBase:
        """Read what the attempt printed: `text/plain` when asked for, else JSON lines."""
        wanted = read_log_request(request.query_params)
        instance = self.get_queryset().get(pk=pk)
        renderer = request.accepted_renderer
        is_page = isinstance(renderer, BrowsableRenderer)
        answer = log_response(instance, wanted, as_text=is_page or isinstance(renderer, PlainTextRenderer))
        if is_page and isinstance(answer, HttpResponse):
            return Response(answer.content.decode(errors="replace"))
        return answer


def _id(pk: str) -> Any:
    return TaskInstance._meta.pk.to_python(pk)
