"""Whether this server can work: asked by load balancers and people, often, and while nothing works."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

HEALTH_STATUSES: Final = ("healthy", "unhealthy")
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


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=HEALTH_STATUSES)
    database = serializers.BooleanField()
    connections = serializers.IntegerField()
    timestamp = serializers.DateTimeField()


class HealthView(APIView):
    """Open to all, so that it says little and asks for no token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="health_get",
        tags=["health"],
        responses={200: HealthSerializer, 503: HealthSerializer},
    )
    def get(self, request: Request) -> Response:
        """Tell whether the server and its database work."""
        health = _probe.check()
        answer = HealthSerializer(
            {
                "status": "healthy" if health.database else "unhealthy",
                "database": health.database,
                "connections": health.connections,
                "timestamp": health.at,
            }
        )
        return Response(answer.data, status=200 if health.database else 503)


@extend_schema(exclude=True)
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
