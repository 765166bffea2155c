"""REST of agents, the part that speaks with them: status, logs, commands, removal."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_serializer, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.views import AgentViewSet
from agents.models import Agent, AgentStatus
from gateway import commands, operators
from gateway.api.examples import CONNECTED_AGENTS
from gateway.api.filters import LOGS
from gateway.models import AgentLog, Connection
from rest.fields import AnyJsonField, NumberField, ObjectField
from rest.openapi.queries import query_body
from rest.pages import page_result
from rest.serializers import NoBody, PageInfoSerializer, RequestSerializer
from scheduling.clock import database_now

MAX_WAIT_SECS: float = 60.0
ANSWER_STATUSES = ("acknowledged",)


class AgentMetricsSerializer(serializers.Serializer[Any]):
    cpu_usage = serializers.FloatField(allow_null=True, help_text="Percent.")
    memory_usage = serializers.FloatField(allow_null=True, help_text="Percent.")
    disk_usage = serializers.FloatField(allow_null=True, help_text="Percent.")
    active_tasks = serializers.IntegerField()
    total_executed = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True, help_text="From 0 to 1; null before the first.")
    avg_execution_time = serializers.FloatField(help_text="Seconds.")
    uptime = serializers.FloatField(allow_null=True, help_text="Seconds.")


@extend_schema_serializer(component_name="AgentStatusResponse")
class AgentStatusSerializer(serializers.Serializer[Any]):
    agent_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=AgentStatus.choices)
    connected = serializers.BooleanField()
    connected_at = serializers.DateTimeField(allow_null=True)
    last_heartbeat_at = serializers.DateTimeField(allow_null=True)
    running_tasks = serializers.IntegerField()
    capacity = serializers.IntegerField()
    metrics = AgentMetricsSerializer()


class AgentCommandRequest(RequestSerializer):
    command = serializers.ChoiceField(choices=commands.COMMANDS)
    parameters = ObjectField(required=False, default=dict)
    timeout_secs = NumberField(required=False, default=10, min_value=0.1, max_value=MAX_WAIT_SECS)


class AgentCommandAnswerSerializer(serializers.Serializer[Any]):
    command_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=ANSWER_STATUSES)
    result = AnyJsonField(read_only=True)


class ConnectedAgentViewSet(AgentViewSet):
    """The daemons on worker machines."""

    needs: ClassVar[Mapping[str, str]] = {
        **AgentViewSet.needs,
        "status": "agents.view_agent",
        "logs": "gateway.view_agentlog",
        "commands": "agents.operate_agent",
    }
    documentation = CONNECTED_AGENTS
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        **AgentViewSet.request_serializers,
        "status": NoBody,
        "commands": AgentCommandRequest,
    }

    def perform_update(self, entity: Agent, data: dict[str, Any]) -> Agent:
        return operators.update_agent(agent_id=entity.pk, now=database_now(), by=self.actor, **data)

    def perform_destroy(self, entity: Agent) -> None:
        commands.remove_agent(agent_id=entity.pk, by=self.actor)

    @extend_schema(responses=AgentStatusSerializer)
    def status(self, request: Request, pk: str) -> Response:
        """Tell how the agent is right now."""
        agent = self.get_queryset().get(pk=pk)
        self.read_body()
        return Response(AgentStatusSerializer(_status_of(agent)).data)

    @extend_schema(
        request=query_body("AgentLog", LOGS),
        responses=inline_serializer(
            "AgentLogPage",
            {"page": PageInfoSerializer(), "data": serializers.ListField(child=serializers.CharField())},
        ),
    )
    def logs(self, request: Request, pk: str) -> Response:
        """Read the agent's own log, in the order in which it arrived."""
        agent = self.get_queryset().get(pk=pk)
        query = LOGS.read_body(request.data)
        lines = AgentLog.objects.filter(agent=agent)
        return Response(page_result(lines, query, lambda rows: [_line(row) for row in rows]))

    @extend_schema(responses=AgentCommandAnswerSerializer)
    def commands(self, request: Request, pk: str) -> Response:
        """Send a command to the connected agent and wait for its answer."""
        agent = self.get_queryset().get(pk=pk)
        answer = commands.run_command(agent_id=agent.pk, by=self.actor, **self.read_body())
        return Response({"command_id": answer.pk, "status": "acknowledged", "result": answer.result})


def _status_of(agent: Agent) -> dict[str, Any]:
    statistics = agent.statistics
    total = agent.success_tasks + agent.failure_tasks
    connected = commands.is_connected(agent.pk)
    session = Connection.objects.filter(agent=agent).first() if connected else None
    return {
        "agent_id": agent.pk,
        "status": agent.status,
        "connected": connected,
        "connected_at": session.connected_at if session else None,
        "last_heartbeat_at": agent.last_heartbeat_at,
        "running_tasks": agent.running_tasks,
        "capacity": agent.capacity,
        "metrics": {
            **{name: agent.metrics.get(name) for name in ("cpu_usage", "memory_usage", "disk_usage")},
            "active_tasks": agent.running_tasks,
            "total_executed": total,
            "success_rate": agent.success_tasks / total if total else None,
            "avg_execution_time": float(str(statistics["avg_response_ms"])) / 1000,
            "uptime": agent.metrics.get("uptime"),
        },
    }


def _line(row: AgentLog) -> str:
    return f"{row.at:%Y-%m-%dT%H:%M:%S.%fZ} {row.level.upper()} {row.message}"
