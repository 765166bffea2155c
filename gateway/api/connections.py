"""REST of connections: the agents' sessions on all servers of the cluster."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import AgentStatus
from gateway import commands, statistics
from gateway.api import examples
from gateway.api.filters import CONNECTIONS
from gateway.models import Connection
from rest.fields import FlagField, IdField, NumberField, ObjectField
from rest.fields import WholeNumberField as Whole
from rest.serializers import RequestSerializer
from rest.views import Json, ResourceViewSet

# Of the messages that a server sends, this is the one that agents answer.
BROADCAST_KINDS = ("command",)


class ConnectionInfoSerializer(serializers.Serializer[Any]):
    agent_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=AgentStatus.choices, source="agent.status")
    connected_at = serializers.DateTimeField()
    last_activity = serializers.DateTimeField()
    duration = serializers.SerializerMethodField(help_text="Seconds.")
    messages_sent = serializers.IntegerField()
    messages_received = serializers.IntegerField()
    server_id = serializers.UUIDField()
    remote_address = serializers.CharField()

    def get_duration(self, connection: Any) -> int:
        return int(connection.age.total_seconds())


class StatsSerializer(serializers.Serializer[Any]):
    total_connections = serializers.IntegerField()
    online_connections = serializers.IntegerField()
    idle_connections = serializers.IntegerField()
    busy_connections = serializers.IntegerField()
    average_duration = serializers.FloatField(help_text="Seconds.")
    total_messages_sent = serializers.IntegerField()
    total_messages_received = serializers.IntegerField()


class ServerConnectionStatsSerializer(StatsSerializer):
    server_id = serializers.UUIDField()


class ConnectionStatsSerializer(StatsSerializer):
    details = ServerConnectionStatsSerializer(many=True, required=False)


class ConnectionStatsRequest(RequestSerializer):
    include_details = FlagField(required=False)


class CommandPayload(RequestSerializer):
    command = serializers.ChoiceField(choices=commands.COMMANDS)
    parameters = ObjectField(required=False, default=dict)
    timeout_secs = NumberField(required=False, default=10, min_value=0.1, max_value=60)


class BroadcastRequest(RequestSerializer):
    message_kind = serializers.ChoiceField(choices=BROADCAST_KINDS)
    payload = CommandPayload()
    target_agents = serializers.ListField(child=IdField(), required=False, max_length=1000)
    priority = Whole(required=False, max_value=255, help_text="Commands are sent at once, whatever it is.")


class BroadcastResultSerializer(serializers.Serializer[Any]):
    target_count = serializers.IntegerField()
    success_count = serializers.IntegerField()
    failed_count = serializers.IntegerField()
    failed_agents = serializers.ListField(child=serializers.UUIDField())


class ConnectionViewSet(ResourceViewSet):
    """The agents' sessions."""

    resource = "gateway.connection"
    needs: ClassVar[Mapping[str, str]] = {
        "stats": "gateway.view_connection",
        "destroy": "agents.operate_agent",
        "broadcast": "agents.operate_agent",
    }
    table = CONNECTIONS
    documentation = examples.CONNECTIONS
    entity_serializer = ConnectionInfoSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        "stats": ConnectionStatsRequest,
        "broadcast": BroadcastRequest,
    }

    def rows(self) -> QuerySet[Connection]:
        return statistics.connections_with_age().select_related("agent")

    def represent_many(self, entities: Sequence[Connection]) -> Json:
        return [*ConnectionInfoSerializer(entities, many=True).data]

    @extend_schema(responses=ConnectionStatsSerializer)
    def stats(self, request: Request) -> Response:
        """Count the sessions of the whole cluster, and of each server when asked for details."""
        data = self.read_body()
        answer = statistics.connection_stats()
        if data.get("include_details"):
            answer["details"] = statistics.connection_stats_by_server()
        return Response(ConnectionStatsSerializer(answer).data)

    def destroy(self, request: Request, pk: str) -> Response:
        """Close an agent's session, on whichever server it is."""
        connection = self.get_queryset().get(agent_id=uuid.UUID(pk))
        commands.close_session_of(agent_id=connection.agent_id, by=self.actor)
        return Response(status=204)

    @extend_schema(responses=BroadcastResultSerializer)
    def broadcast(self, request: Request) -> Response:
        """Send a message to all connected agents, or to those named, and wait for their answers."""
        data = self.read_body()
        targets = data.get("target_agents")
        result = commands.broadcast(targets=targets, by=self.actor, **data["payload"])
        return Response(
            BroadcastResultSerializer(
                {
                    "target_count": len(result.acknowledged) + len(result.failed),
                    "success_count": len(result.acknowledged),
                    "failed_count": len(result.failed),
                    "failed_agents": result.failed,
                }
            ).data
        )
