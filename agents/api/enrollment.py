"""REST of enrolment: operators make tokens, and a new machine exchanges one for an agent's token."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.callers import address_of
from access.throttling import Rate
from agents import enrollment
from agents.api import token_examples
from agents.api.serializers import AgentLabelsField, CreatedAgentSerializer
from agents.clock import database_now
from agents.errors import TokenRefused
from agents.models import MAX_ENROLLMENT_LIFE, Agent, EnrollmentState, EnrollmentToken
from rest.fields import IdField, NameField, TextField, WholeNumberField, refuse
from rest.idempotency import idempotent
from rest.kinds import INSTANT, INTEGER, TEXT, UUID
from rest.querying import QueryTable
from rest.serializers import RequestSerializer
from rest.throttles import A_MINUTE, ByAddress
from rest.views import ResourceViewSet

ENROLLMENT_TOKENS: Final = QueryTable(
    {
        "id": INTEGER,
        "name": TEXT,
        "agent_id": UUID,
        "created_by": TEXT,
        "created_at": INSTANT,
        "expires_at": INSTANT,
        "used_at": INSTANT,
    }
)


class EnrollmentTokenSerializer(serializers.ModelSerializer[EnrollmentToken]):
    labels = serializers.DictField(child=serializers.CharField(), read_only=True)
    agent_id = serializers.UUIDField(allow_null=True, read_only=True)
    state = serializers.SerializerMethodField()

    class Meta:
        model = EnrollmentToken
        fields = (
            "id",
            "name",
            "labels",
            "agent_id",
            "state",
            "created_by",
            "created_at",
            "expires_at",
            "used_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=EnrollmentState.choices))
    def get_state(self, token: EnrollmentToken) -> str:
        return token.state(now=self.context["now"])


class CreatedEnrollmentTokenSerializer(EnrollmentTokenSerializer):
    """A new enrolment token with its secret and the command for the new machine, this once."""

    token = serializers.CharField(read_only=True, allow_null=True)
    command = serializers.CharField(read_only=True, allow_null=True)

    class Meta:
        model = EnrollmentToken
        fields = (*EnrollmentTokenSerializer.Meta.fields, "token", "command")
        read_only_fields = fields


class EnrollmentTokenRequest(RequestSerializer):
    entity = EnrollmentTokenSerializer

    name = NameField(required=False, allow_blank=True, help_text="What the new agent is to be called.")
    labels = AgentLabelsField(required=False)
    agent_id = IdField(
        required=False, allow_null=True, help_text="The agent that the machine is to be, with its own name."
    )
    expires_in_secs = WholeNumberField(
        required=False,
        min_value=1,
        max_value=int(MAX_ENROLLMENT_LIFE.total_seconds()),
        help_text="A quarter of an hour unless given.",
    )


class EnrollRequest(RequestSerializer):
    token = TextField(max_length=512)
    id = IdField(required=False, allow_null=True, help_text="The machine's own.")
    name = NameField(required=False, allow_blank=True, help_text="Counts where the token names none.")
    hostname = TextField(required=False, allow_blank=True, max_length=255)


class EnrollmentTokenViewSet(ResourceViewSet):
    """Secrets that let one machine in, once."""

    resource = "agents.enrollmenttoken"
    documentation = token_examples.ENROLLMENT_TOKENS
    table = ENROLLMENT_TOKENS
    entity_serializer = EnrollmentTokenSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {"create": EnrollmentTokenRequest}

    def rows(self) -> QuerySet[EnrollmentToken]:
        return EnrollmentToken.objects.all()

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "now": database_now()}

    @extend_schema(responses={201: CreatedEnrollmentTokenSerializer})
    @idempotent(never_again=("token", "command"))
    def create(self, request: Request, **_path: Any) -> Response:
        """Make an enrolment token; the answer holds it and the command for the new machine, this once."""
        data = self.read_body()
        agent = self._agent(data)
        life = enrollment.DEFAULT_LIFE
        if "expires_in_secs" in data:
            life = timedelta(seconds=data["expires_in_secs"])
        created = enrollment.create_enrollment_token(
            now=database_now(),
            name=data.get("name", ""),
            labels=data.get("labels"),
            agent=agent,
            life=life,
            by=self.actor,
        )
        created.row.token = created.secret  # type: ignore[attr-defined]
        created.row.command = enroll_command(request, created.secret)  # type: ignore[attr-defined]
        context = self.get_serializer_context()
        return Response(CreatedEnrollmentTokenSerializer(created.row, context=context).data, status=201)

    def perform_destroy(self, entity: EnrollmentToken) -> None:
        enrollment.revoke_enrollment_token(token_id=entity.pk, by=self.actor)

    @staticmethod
    def _agent(data: dict[str, Any]) -> Agent | None:
        agent_id = data.get("agent_id")
        if agent_id is None:
            return None
        superfluous = [name for name in ("name", "labels") if data.get(name)]
        if superfluous:
            refuse(dict.fromkeys(superfluous, "the agent has its own"))
        agent = Agent.objects.filter(pk=agent_id, archived_at__isnull=True).first()
        if agent is None:
            refuse({"agent_id": "no such agent"}, code="does_not_exist")
        return agent


class Enrolling(ByAddress):
    """Nobody guesses 256 bits; this keeps the database from those who try all the same."""

    rate = Rate("enroll", times=20, period=A_MINUTE)


class EnrollView(APIView):
    """Where new machines come; open to all, because the token in the body says who may."""

    documentation = token_examples.ENROLL
    authentication_classes: Sequence[Any] = ()
    permission_classes: Sequence[Any] = (AllowAny,)
    throttle_classes: Sequence[Any] = (Enrolling,)

    def get_authenticate_header(self, request: Request) -> str:
        """Let a refused token be a 401; without a class that authenticates, DRF would answer 403."""
        return 'Bearer realm="hetuflow"'

    @extend_schema(auth=[], request=EnrollRequest, responses={201: CreatedAgentSerializer})
    def post(self, request: Request) -> Response:
        """Exchange an enrolment token for an agent and its token; both are good from now on."""
        body = EnrollRequest(data=request.data)
        body.is_valid(raise_exception=True)
        data = body.validated_data
        try:
            agent, issued = enrollment.enroll(
                secret=data["token"],
                now=database_now(),
                agent_id=data.get("id"),
                name=data.get("name", ""),
                hostname=data.get("hostname", ""),
                address=address_of(request),
            )
        except TokenRefused as error:
            raise exceptions.AuthenticationFailed(str(error)) from error
        agent.token = issued.secret  # type: ignore[attr-defined]
        return Response(CreatedAgentSerializer(agent).data, status=201)


def enroll_command(request: HttpRequest | Request, secret: str) -> str:
    """Return the command that makes a machine an agent of the server that was asked."""
    return f"python -m agents.daemon --server {server_url(request)} --enroll {secret}"


def server_url(request: HttpRequest | Request) -> str:
    """Return the address that an agent connects to, as the caller of this request reaches the server."""
    is_secure = request.is_secure() or settings.SESSION_COOKIE_SECURE  # a proxy that ends TLS
    return f"{'wss' if is_secure else 'ws'}://{request.get_host()}"
