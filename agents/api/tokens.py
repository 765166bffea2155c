"""REST of the tokens of one agent: list, issue, rotate, revoke."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents import tokens
from agents.api import token_examples
from agents.clock import database_now
from agents.models import Agent, AgentToken, TokenState
from rest.fields import InstantField, NameField, WholeNumberField, refuse
from rest.idempotency import idempotent
from rest.kinds import INSTANT, INTEGER, TEXT
from rest.pages import page_result
from rest.querying import QueryTable
from rest.serializers import RequestSerializer
from rest.views import ResourceViewSet

MAX_OVERLAP_SECS: Final = 30 * 86_400
TOKENS: Final = QueryTable(
    {
        "id": INTEGER,
        "name": TEXT,
        "created_by": TEXT,
        "created_at": INSTANT,
        "last_used_at": INSTANT,
        "expires_at": INSTANT,
        "revoked_at": INSTANT,
    }
)


class AgentTokenSerializer(serializers.ModelSerializer[AgentToken]):
    state = serializers.SerializerMethodField()

    class Meta:
        model = AgentToken
        fields = (
            "id",
            "name",
            "state",
            "created_by",
            "created_at",
            "last_used_at",
            "expires_at",
            "revoked_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=TokenState.choices))
    def get_state(self, token: AgentToken) -> str:
        return token.state(now=self.context["now"])


class IssuedAgentTokenSerializer(AgentTokenSerializer):
    """A new token with its secret, which nobody can read again."""

    token = serializers.CharField(read_only=True, allow_null=True)

    class Meta:
        model = AgentToken
        fields = (*AgentTokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class AgentTokenRequest(RequestSerializer):
    entity = AgentTokenSerializer

    name = NameField(required=False, allow_blank=True)
    expires_at = InstantField(required=False, allow_null=True)


class RotateRequest(RequestSerializer):
    overlap_secs = WholeNumberField(
        required=False, max_value=MAX_OVERLAP_SECS, help_text="How long the older tokens live on; a day."
    )


class AgentTokenViewSet(ResourceViewSet):
    """The tokens with which an agent connects; `pk` is the agent's id."""

    resource = "agents.agent"
    needs: ClassVar[Mapping[str, str]] = {
        "list": "agents.view_agenttoken",
        "create": "agents.add_agenttoken",
        "rotate": "agents.change_agenttoken",
        "revoke": "agents.change_agenttoken",
    }
    agent_actions = frozenset({"rotate"})
    documentation = token_examples.AGENT_TOKENS
    table = TOKENS
    entity_serializer = AgentTokenSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        "create": AgentTokenRequest,
        "rotate": RotateRequest,
    }

    def rows(self) -> QuerySet[Agent]:
        return Agent.objects.filter(archived_at__isnull=True)

    def rows_of_agent(self, agent: Agent) -> QuerySet[Agent]:
        return self.rows().filter(pk=agent.pk)

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "now": database_now()}

    def list(self, request: Request, **path: Any) -> Response:
        """List the agent's tokens, also those that ended in the last month."""
        query = self.table.read_params(request.query_params)
        agent = self.get_queryset().get(**path)
        return Response(page_result(agent.tokens.all(), query, self.represent_many))

    @extend_schema(responses={201: IssuedAgentTokenSerializer})
    @idempotent(never_again=("token",))
    def create(self, request: Request, **path: Any) -> Response:
        """Issue one more token for the agent; the answer holds its secret, this once."""
        data, agent = self.read_body(), self.get_queryset().get(**path)
        now, expires_at = database_now(), data.get("expires_at")
        if expires_at is not None and expires_at <= now:
            refuse({"expires_at": "expected a time in the future"})
        return self._issued(tokens.issue_token(agent=agent, by=self.actor, now=now, **data))

    @extend_schema(responses={201: IssuedAgentTokenSerializer})
    @idempotent(never_again=("token",))
    def rotate(self, request: Request, pk: str) -> Response:
        """Issue a token in place of the others, which live on for the overlap at most."""
        data, agent = self.read_body(), self.get_queryset().get(pk=pk)
        overlap = tokens.ROTATION_OVERLAP
        if "overlap_secs" in data:
            overlap = timedelta(seconds=data["overlap_secs"])
        return self._issued(
            tokens.rotate_token(agent_id=agent.pk, now=database_now(), overlap=overlap, by=self.actor)
        )

    @extend_schema(responses={204: None})
    def revoke(self, request: Request, pk: str, token_id: int) -> Response:
        """Revoke a token; the session that was opened with it is closed within two seconds."""
        token = self.get_queryset().get(pk=pk).tokens.get(pk=token_id)
        tokens.revoke_token(token_id=token.pk, now=database_now(), by=self.actor)
        return Response(status=204)

    def _issued(self, issued: tokens.IssuedToken) -> Response:
        issued.row.token = issued.secret  # type: ignore[attr-defined]
        context = self.get_serializer_context()
        return Response(IssuedAgentTokenSerializer(issued.row, context=context).data, status=201)
