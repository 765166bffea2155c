"""REST of the system: its figures and its build, as JSON and as Prometheus reads them."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway import system
from gateway.api import examples
from gateway.api.connections import ConnectionStatsSerializer
from gateway.exposition import registry
from rest.fields import FlagField
from rest.fields import WholeNumberField as Whole
from rest.permissions import authority_for
from rest.rendering import JSONRenderer
from rest.serializers import RequestSerializer

# A range may reach back ten years.
MAX_RANGE_MINUTES = 10 * 366 * 24 * 60


class NetworkIOSerializer(serializers.Serializer[Any]):
    bytes_received = serializers.IntegerField()
    bytes_sent = serializers.IntegerField()
    packets_received = serializers.IntegerField()
    packets_sent = serializers.IntegerField()


class ResourceUsageSerializer(serializers.Serializer[Any]):
    cpu_usage = serializers.FloatField(help_text="Percent of all processors.")
    memory_usage = serializers.FloatField(help_text="Percent.")
    disk_usage = serializers.FloatField(help_text="Percent of the disk with the data folder.")
    network_io = NetworkIOSerializer(allow_null=True, help_text="Since the machine started.")


class DatabasePoolStatusSerializer(serializers.Serializer[Any]):
    active_connections = serializers.IntegerField()
    idle_connections = serializers.IntegerField()
    max_connections = serializers.IntegerField()
    waiting_connections = serializers.IntegerField(help_text="Requests that wait for a connection.")


class ServiceStatusSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=system.HEALTH_STATUSES)
    last_check = serializers.DateTimeField()
    response_time = serializers.IntegerField(help_text="Milliseconds.")


class BuildInfoSerializer(serializers.Serializer[Any]):
    version = serializers.CharField()
    build_time = serializers.DateTimeField(allow_null=True)
    build_environment = serializers.CharField()
    git_commit = serializers.CharField(allow_null=True)
    git_branch = serializers.CharField(allow_null=True)


class TaskStatsSerializer(serializers.Serializer[Any]):
    total_tasks = serializers.IntegerField(help_text="Exact up to 100,000 of a status, estimated beyond.")
    running_tasks = serializers.IntegerField()
    pending_tasks = serializers.IntegerField(help_text="Those that wait, also for a retry.")
    completed_tasks = serializers.IntegerField()
    failed_tasks = serializers.IntegerField()
    average_execution_time = serializers.FloatField(help_text="Seconds, of the newest attempts that ended.")


class DatabaseMetricsSerializer(serializers.Serializer[Any]):
    total_queries = serializers.IntegerField(help_text="Of this server since it started.")
    average_query_time = serializers.FloatField(help_text="Milliseconds.")
    slow_queries = serializers.IntegerField(help_text="Those of a second or longer.")
    pool_usage = serializers.FloatField(help_text="Percent.")


class ApplicationMetricsSerializer(serializers.Serializer[Any]):
    startup_time = serializers.DateTimeField()
    uptime = serializers.IntegerField(help_text="Seconds.")
    version = serializers.CharField()
    build_info = BuildInfoSerializer()


class SystemMetricsSerializer(serializers.Serializer[Any]):
    connections = ConnectionStatsSerializer()
    tasks = TaskStatsSerializer()
    timestamp = serializers.DateTimeField()
    resources = ResourceUsageSerializer(required=False, help_text="With details.")
    database = DatabaseMetricsSerializer(required=False, help_text="With details.")
    application = ApplicationMetricsSerializer(required=False, help_text="With details.")


class EnvironmentInfoSerializer(serializers.Serializer[Any]):
    os = serializers.CharField()
    architecture = serializers.CharField()
    python_version = serializers.CharField()
    rust_version = serializers.CharField(allow_null=True, help_text="Null: there is none.")
    hostname = serializers.CharField()


class ConfigInfoSerializer(serializers.Serializer[Any]):
    database_type = serializers.CharField()
    websocket_port = serializers.IntegerField(help_text="Where this request arrived.")
    http_port = serializers.IntegerField(help_text="Where this request arrived.")
    log_level = serializers.CharField()
    timezone = serializers.CharField()


class SystemInfoSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    version = serializers.CharField()
    build_time = serializers.DateTimeField(allow_null=True)
    git_commit = serializers.CharField(allow_null=True)
    build = BuildInfoSerializer()
    is_leader = serializers.BooleanField(
        help_text="Whether this server has the cluster's single-holder duties."
    )
    uptime = serializers.IntegerField(help_text="Seconds.")
    timestamp = serializers.DateTimeField()
    features = serializers.ListField(child=serializers.CharField())
    connections = ConnectionStatsSerializer()
    tasks = TaskStatsSerializer()
    resources = ResourceUsageSerializer()
    database = DatabaseMetricsSerializer()
    application = ApplicationMetricsSerializer()
    environment = EnvironmentInfoSerializer(required=False, help_text="When asked for.")
    config = ConfigInfoSerializer(required=False, help_text="When asked for.")


class SystemMetricsRequest(RequestSerializer):
    include_details = FlagField(required=False, default=False)
    time_range = Whole(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_RANGE_MINUTES,
        help_text="Minutes: only tasks planned for that long ago or later.",
    )


class SystemInfoRequest(RequestSerializer):
    include_config = FlagField(required=False, default=False)
    include_environment = FlagField(required=False, default=False)


class _Question(GenericAPIView[Any]):
    """A POST that asks; the serializer class reads the body."""

    needed_permission = "gateway.view_server"

    def read_body(self) -> dict[str, Any]:
        """Return the validated body; raise ValidationError."""
        reader = self.get_serializer(data=self.request.data)
        reader.is_valid(raise_exception=True)
        data: dict[str, Any] = reader.validated_data
        return data


class MetricsView(_Question):
    """Figures of the cluster, and of the server that is asked."""

    serializer_class = SystemMetricsRequest
    documentation = examples.METRICS

    @extend_schema(
        request=SystemMetricsRequest,
        responses=SystemMetricsSerializer,
    )
    def post(self, request: Request) -> Response:
        """Count sessions and tasks; with details also what the server, its machine and database do.

        Of tasks, it counts those that the caller sees.
        """
        data = self.read_body()
        metrics = system.system_metrics(
            include_details=data["include_details"],
            range_minutes=data.get("time_range"),
            namespaces=authority_for(request).namespaces("scheduling.view_task"),
        )
        return Response(SystemMetricsSerializer(metrics).data)


class InfoView(_Question):
    """What the server that is asked is."""

    serializer_class = SystemInfoRequest
    documentation = examples.INFO

    @extend_schema(
        request=SystemInfoRequest,
        responses=SystemInfoSerializer,
    )
    def post(self, request: Request) -> Response:
        """Tell version, build, features and figures; when asked, environment and settings, no secrets."""
        info = system.system_info(
            port=int(request.META["SERVER_PORT"]),
            namespaces=authority_for(request).namespaces("scheduling.view_task"),
            **self.read_body(),
        )
        return Response(SystemInfoSerializer(info).data)


class SystemMetricsView(MetricsView):
    """The same by its other path."""


class SystemInfoView(InfoView):
    """The same by its other path."""


class _AnyAccepted(DefaultContentNegotiation):
    """Scrapers accept many formats; they get the text format, and refusals as JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class PrometheusView(APIView):
    """The text that Prometheus reads; its token goes into `authorization` of the scrape configuration."""

    needed_permission = "gateway.view_server"
    needs_everywhere = True
    content_negotiation_class = _AnyAccepted
    renderer_classes = (JSONRenderer,)

    @extend_schema(
        operation_id="prometheus",
        tags=["system"],
        responses={
            (200, "text/plain"): OpenApiResponse(
                OpenApiTypes.STR,
                description="The figures.",
                examples=[OpenApiExample("Figures", value=examples.EXPOSITION, media_type="text/plain")],
            )
        },
    )
    def get(self, request: Request) -> HttpResponse:
        """Read all figures in Prometheus' text format."""
        return HttpResponse(generate_latest(registry()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
