"""REST of agents, as far as it needs no session with them; `gateway.api.agents` adds that."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents import services, tokens
from agents.api import examples, filters
from agents.api.serializers import (
    AgentHeartbeatRequest,
    AgentRequest,
    AgentSerializer,
    AgentUpdateRequest,
    CreatedAgentSerializer,
)
from agents.clock import database_now
from agents.models import CONNECTED_STATUSES, Agent
from rest.idempotency import idempotent
from rest.serializers import RequestSerializer
from rest.views import ResourceViewSet


class AgentViewSet(ResourceViewSet):
    """The daemons on worker machines."""

    resource = "agents.agent"
    needs: ClassVar[Mapping[str, str]] = {
        "online": "agents.view_agent",
        "offline": "agents.view_agent",
        "heartbeat": "agents.operate_agent",
    }
    agent_actions = frozenset({"retrieve", "heartbeat"})
    table = filters.AGENTS
    documentation = examples.AGENTS
    entity_serializer = AgentSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        "create": AgentRequest,
        "partial_update": AgentUpdateRequest,
        "heartbeat": AgentHeartbeatRequest,
    }

    def rows(self) -> QuerySet[Agent]:
        return Agent.objects.filter(archived_at__isnull=True)

    def rows_of_agent(self, agent: Agent) -> QuerySet[Agent]:
        return self.rows().filter(pk=agent.pk)

    @extend_schema(responses={201: CreatedAgentSerializer})
    @idempotent(never_again=("token",))
    def create(self, request: Request, **_path: Any) -> Response:
        """Register an agent before it connects; the answer holds its token, this once."""
        data = self.read_body()
        if "labels" in data:
            data["assigned_labels"] = data.pop("labels")
        with transaction.atomic():
            agent = services.create_agent(agent_id=data.pop("id", None), by=self.actor, **data)
            token = tokens.issue_token(agent=agent, by=self.actor).secret
        agent.token = token  # type: ignore[attr-defined]
        return Response(CreatedAgentSerializer(agent).data, status=201)

    @extend_schema(responses=AgentSerializer(many=True))
    def online(self, request: Request) -> Response:
        """List the agents that are there."""
        return self.array(self.get_queryset().filter(status__in=CONNECTED_STATUSES))

    @extend_schema(responses=AgentSerializer(many=True))
    def offline(self, request: Request) -> Response:
        """List the agents that are not there."""
        return self.array(self.get_queryset().exclude(status__in=CONNECTED_STATUSES))

    @extend_schema(responses=AgentSerializer)
    def heartbeat(self, request: Request, pk: str) -> Response:
        """Note that an agent is there which a proxy keeps from opening a WebSocket, and how it is."""
        agent = self.get_queryset().get(pk=pk)
        data = self.read_body()
        agent = services.record_heartbeat(agent_id=agent.pk, now=database_now(), by=self.actor, **data)
        return Response(self.represent(agent))
