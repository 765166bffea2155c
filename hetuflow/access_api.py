"""REST of access: who one is and what one may do, API tokens, and the audit log."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import tokens
from access.actors import ActorKind
from access.models import ApiToken, AuditEntry
from access.roles import ALL_PERMISSIONS, EVERYWHERE, NAMESPACED, PERMISSIONS_OF_ROLE, Role, Scope
from hetuflow import access_examples
from rest.fields import AnyJsonField, InstantField, NameField, TextField
from rest.idempotency import idempotent
from rest.kinds import INSTANT, INTEGER, TEXT, choice
from rest.permissions import ANYBODY, authority_for
from rest.querying import Field, QueryTable
from rest.serializers import RequestSerializer
from rest.views import ResourceViewSet
from scheduling.clock import database_now

TOKENS: Final = QueryTable(
    {
        "id": INTEGER,
        "name": TEXT,
        "user": Field(TEXT, "user__username"),
        "scope": choice(Scope.values),
        "namespace": TEXT,
        "created_at": INSTANT,
        "expires_at": INSTANT,
        "revoked_at": INSTANT,
    }
)
AUDIT: Final = QueryTable(
    {
        "id": INTEGER,
        "at": INSTANT,
        "actor_kind": choice(ActorKind.values),
        "actor": TEXT,
        "token": TEXT,
        "address": TEXT,
        "action": TEXT,
        "subject_type": TEXT,
        "subject_id": TEXT,
        "namespace": TEXT,
    },
    times=("at",),
)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    user = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = ApiToken
        fields = ("id", "name", "user", "scope", "namespace", "created_at", "expires_at", "revoked_at")
        read_only_fields = fields


class CreatedTokenSerializer(TokenSerializer):
    """A new token with its secret, which nobody can read again."""

    token = serializers.CharField(read_only=True, allow_null=True)

    class Meta:
        model = ApiToken
        fields = (*TokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class TokenRequest(RequestSerializer):
    entity = TokenSerializer

    name = NameField()
    scope = serializers.ChoiceField(choices=Scope.choices, default=Scope.READ)
    namespace = TextField(required=False, allow_blank=True, max_length=255)
    expires_at = InstantField(required=False, allow_null=True)

    def validate_expires_at(self, value: Any) -> Any:
        """Refuse a token that would be dead at birth."""
        if value is not None and value <= database_now():
            raise serializers.ValidationError(_("expected a time in the future"))
        return value


class TokenViewSet(ResourceViewSet):
    """The caller's own API tokens; those of others too for who administers users."""

    resource = "access.apitoken"
    documentation = access_examples.TOKENS
    table = TOKENS
    entity_serializer = TokenSerializer
    needs: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("list", "query", "retrieve", "create", "destroy"), ANYBODY
    )
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {"create": TokenRequest}

    def rows(self) -> QuerySet[ApiToken]:
        return ApiToken.objects.select_related("user")

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Return what the caller may see of tokens; with a limited one, that one alone."""
        shown = _shown_token(self.request)
        if shown is not None and shown.is_limited:
            return self.rows().filter(pk=shown.pk)
        person = _person(self.request)
        return self.rows() if person.has_perm("auth.change_user") else self.rows().filter(user=person)

    @extend_schema(responses={201: CreatedTokenSerializer})
    @idempotent(never_again=("token",))
    def create(self, request: Request, **_path: Any) -> Response:
        """Make a token of the caller's; the answer holds its secret, this once.

        With a token of scope `admin` one makes others; with a lesser one none, or it could outlive itself.
        """
        _refuse_limited_token(request)
        shown = _shown_token(request)
        data = self.read_body()
        if shown is not None and shown.expires_at is not None:
            data["expires_at"] = min(data.get("expires_at") or shown.expires_at, shown.expires_at)
        token, secret = tokens.issue(user=_person(request), by=self.actor, **data)
        token.token = secret  # type: ignore[attr-defined]
        return Response(CreatedTokenSerializer(token).data, status=201)

    def perform_destroy(self, entity: ApiToken) -> None:
        _refuse_limited_token(self.request)
        tokens.revoke(token_id=entity.pk, now=database_now(), by=self.actor)


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    before = AnyJsonField(read_only=True)
    after = AnyJsonField(read_only=True)

    class Meta:
        model = AuditEntry
        fields = (
            "id",
            "at",
            "actor_kind",
            "actor",
            "token",
            "address",
            "action",
            "subject_type",
            "subject_id",
            "subject",
            "namespace",
            "before",
            "after",
        )
        read_only_fields = fields


class AuditViewSet(ResourceViewSet):
    """Every write: who, what, before and after."""

    resource = "access.auditentry"
    namespace_path = "namespace"
    documentation = access_examples.AUDIT
    table = AUDIT
    entity_serializer = AuditEntrySerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {}

    def rows(self) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.all()


class WhoAmISerializer(serializers.Serializer[Any]):
    user = serializers.CharField()
    token = serializers.CharField(allow_null=True, help_text="The name of the token that was shown.")
    scope = serializers.ChoiceField(choices=Scope.choices, allow_null=True)
    roles = serializers.DictField(
        child=serializers.ChoiceField(choices=Role.choices),
        help_text="The role in each namespace, `*` for all of them; what the token's scope leaves of it.",
    )


class WhoAmIView(APIView):
    """Who asks, and what they may do."""

    documentation = access_examples.WHO_AM_I
    needed_permission = ANYBODY

    @extend_schema(operation_id="whoami", tags=["tokens"], responses=WhoAmISerializer)
    def get(self, request: Request) -> Response:
        """Tell who the caller is and which role they have in which namespace."""
        authority = authority_for(request)
        token = _shown_token(request)
        held = {EVERYWHERE: authority.everywhere, **authority.within}
        roles = {name: role for name, permissions in held.items() if (role := _role(permissions))}
        return Response(
            {
                "user": _person(request).get_username(),
                "token": token.name if token else None,
                "scope": token.scope if token else None,
                "roles": roles,
            }
        )


def _role(held: frozenset[str]) -> str | None:
    """Return the highest role whose permissions are all held, as far as they can be held there."""
    possible = ALL_PERMISSIONS if held - NAMESPACED else NAMESPACED
    whole = [role for role in Role if PERMISSIONS_OF_ROLE[role] & possible <= held]
    return whole[-1].value if whole else None


def _person(request: Request) -> User:
    user = request.user
    if not isinstance(user, User):
        raise exceptions.PermissionDenied
    return user


def _shown_token(request: Request) -> ApiToken | None:
    return request.auth if isinstance(request.auth, ApiToken) else None


def _refuse_limited_token(request: Request) -> None:
    """Raise PermissionDenied for a token that is not good for everything: it may not manage tokens."""
    shown = _shown_token(request)
    if shown is not None and shown.is_limited:
        raise exceptions.PermissionDenied(
            _("This needs a session, or a token of scope admin for all namespaces.")
        )
