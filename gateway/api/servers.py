"""REST of servers: the server processes of the cluster."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Case, CharField, Exists, OuterRef, QuerySet, Value, When
from django.db.models.functions import Cast, Now
from rest_framework import serializers

from gateway.api import examples
from gateway.api.filters import SERVERS
from gateway.models import Server
from gateway.servers import LEADER_LEASE
from rest.serializers import RequestSerializer
from rest.views import ResourceViewSet
from scheduling.models import Lease
from scheduling.services.rescue import SERVER_DEAD_AFTER_SECS

SERVER_STATUSES = ("active", "inactive")


class ServerSerializer(serializers.ModelSerializer[Server]):
    status = serializers.ChoiceField(choices=SERVER_STATUSES, read_only=True)
    is_leader = serializers.BooleanField(read_only=True)

    class Meta:
        model = Server
        fields = (
            "id",
            "name",
            "address",
            "status",
            "is_leader",
            "started_at",
            "last_heartbeat_at",
            "version",
        )
        read_only_fields = fields


class ServerViewSet(ResourceViewSet):
    """Server processes; one that stopped in good order is forgotten, one that died is `inactive`."""

    resource = "gateway.server"
    table = SERVERS
    documentation = examples.SERVERS
    entity_serializer = ServerSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {}

    def rows(self) -> QuerySet[Server]:
        alive_since: Any = Now() - timedelta(seconds=SERVER_DEAD_AFTER_SECS)
        leading = Lease.objects.filter(
            name=LEADER_LEASE, holder=Cast(OuterRef("pk"), CharField()), renewed_at__gte=alive_since
        )
        is_alive = When(last_heartbeat_at__gte=alive_since, then=Value("active"))
        return Server.objects.annotate(
            status=Case(is_alive, default=Value("inactive"), output_field=CharField()),
            is_leader=Exists(leading),
        )
