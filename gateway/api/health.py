"""Whether this server can work: asked by load balancers and people, often, and while nothing works."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from django.db import connection
from django.http import HttpRequest
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from gateway import system
from gateway.api import examples
from gateway.api.system import (
    DatabasePoolStatusSerializer,
    ResourceUsageSerializer,
    ServiceStatusSerializer,
)
from rest.fields import refuse
from rest.kinds import BOOLEAN, BadValue

CONNECT_TIMEOUT_SECS: Final = 2
STATEMENT_TIMEOUT_MS: Final = 1000
# However often anyone asks, the database is asked this often at most.
FRESH_SECS: Final = 0.5

_CONNECT: Final = ("dbname", "host", "port", "user", "password", "sslmode", "sslrootcert", "sslcert")
_LIVE_SESSIONS: Final = """
SELECT count(*) FROM gateway_connection c JOIN gateway_server s ON s.id = c.server_id
WHERE s.last_heartbeat_at > clock_timestamp() - interval '6 seconds'
"""


@dataclass(frozen=True, slots=True)
class Health:
    """What one look at the database found; `connections` are the agents' sessions of all servers."""

    database: bool
    connections: int
    at: datetime


class HealthProbe:
    """Looks at the database beside the pool, which would wait for a connection while none is to be had."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[float, Health] | None = None

    def check(self) -> Health:
        """Return what the database says, or said less than FRESH_SECS ago."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > FRESH_SECS:
                self._last = (time.monotonic(), _look())
            return self._last[1]


_probe = HealthProbe()


# The hint of extend_schema asks for strings, its code for OpenAPI's requirements.
_OPEN_OR_AUTHENTICATED: Any = [{}, {"apiToken": []}, {"cookieAuth": []}]


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=system.HEALTH_STATUSES)
    database = serializers.BooleanField()
    connections = serializers.IntegerField()
    timestamp = serializers.DateTimeField()
    database_pool = DatabasePoolStatusSerializer(required=False, help_text="With details.")
    services = ServiceStatusSerializer(many=True, required=False, help_text="With details.")
    resources = ResourceUsageSerializer(required=False, help_text="With details.")


def _described(description: str, answers: Mapping[str, Any]) -> OpenApiResponse:
    shown = [OpenApiExample(title, value=value) for title, value in answers.items()]
    return OpenApiResponse(HealthSerializer, description=description, examples=shown)


class HealthView(APIView):
    """Open to all, so that it says little and asks for no token; details are for those who have one.

    Without a database nobody can be told from anybody, and everyone gets the short answer.
    """

    needed_permission = "gateway.view_server"
    authentication_classes: Sequence[Any] = ()
    permission_classes: Sequence[Any] = (AllowAny,)
    # What counts requests is the database, which may be away.
    throttle_classes: Sequence[Any] = ()

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self._health = _probe.check()
        self._wish = request.GET.get("details", "false")
        self._gives_details = self._health.database and self._wish.lower() in ("true", "1")
        if self._gives_details:
            self.authentication_classes = api_settings.DEFAULT_AUTHENTICATION_CLASSES
            self.permission_classes = api_settings.DEFAULT_PERMISSION_CLASSES

    @extend_schema(
        auth=_OPEN_OR_AUTHENTICATED,
        parameters=[OpenApiParameter("details", bool, description="Needs authentication.")],
        responses={
            200: _described("The server and its database work.", examples.HEALTHY),
            503: _described("The database is away.", examples.UNHEALTHY),
        },
    )
    def get(self, request: Request) -> Response:
        """Tell whether the server and its database work."""
        try:
            BOOLEAN.read_text(self._wish)
        except BadValue as error:
            refuse({"details": str(error)})
        health = self._health
        answer: dict[str, Any] = {
            "status": "healthy" if health.database else "unhealthy",
            "database": health.database,
            "connections": health.connections,
            "timestamp": health.at,
        }
        if self._gives_details:
            answer |= system.health_details()
        return Response(HealthSerializer(answer).data, status=200 if health.database else 503)


class SystemHealthView(HealthView):
    """The same by its other path."""


def _look() -> Health:
    try:
        parameters = connection.get_connection_params()
        parameters = {name: parameters[name] for name in _CONNECT if name in parameters}
        parameters |= {
            "connect_timeout": CONNECT_TIMEOUT_SECS,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
        }
        with psycopg.connect(**parameters, autocommit=True) as session:
            row = session.execute(_LIVE_SESSIONS).fetchone()
    except psycopg.Error:
        return Health(database=False, connections=0, at=datetime.now(UTC))
    return Health(database=True, connections=row[0] if row else 0, at=datetime.now(UTC))
