"""REST of calendars, frozen namespaces and alerts."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rest.fields import AnyJsonField, InstantField, NameField, TextField
from rest.kinds import INSTANT, INTEGER, TEXT, choice
from rest.querying import QueryTable
from rest.serializers import NoBody, RequestSerializer
from rest.views import ResourceViewSet
from scheduling.api import time_examples
from scheduling.calendar_fields import MAX_ICS_BYTES
from scheduling.clock import database_now
from scheduling.kinds import AlertKind
from scheduling.models import Alert, Calendar, Freeze
from scheduling.services import alerts, calendars

CALENDARS: Final = QueryTable(
    {
        "id": INTEGER,
        "namespace": TEXT,
        "name": TEXT,
        "country": TEXT,
        "subdivision": TEXT,
        "created_at": INSTANT,
        "updated_at": INSTANT,
    }
)
FREEZES: Final = QueryTable({"id": INTEGER, "namespace": TEXT, "since": INSTANT, "until": INSTANT})
ALERTS: Final = QueryTable(
    {
        "id": INTEGER,
        "kind": choice(AlertKind.values),
        "namespace": TEXT,
        "job_id": INTEGER,
        "schedule_id": INTEGER,
        "at": INSTANT,
        "instants": INTEGER,
        "acknowledged_at": INSTANT,
    }
)


class DaysOffField(AnyJsonField):
    """Days on which nothing runs."""

    schema = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["date"],
            "additionalProperties": False,
            "properties": {
                "date": {"type": "string", "format": "date"},
                "until": {"type": ["string", "null"], "format": "date"},
                "name": {"type": "string", "maxLength": 255},
            },
        },
    }


class WindowsField(AnyJsonField):
    """The only times at which runs are allowed; Monday is 1."""

    schema = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["weekdays", "from", "to"],
            "additionalProperties": False,
            "properties": {
                "weekdays": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 7}},
                "from": {"type": "string", "examples": ["09:00"]},
                "to": {"type": "string", "examples": ["18:00"]},
            },
        },
    }


class BlackoutsField(AnyJsonField):
    """Times in which nothing runs, whatever else is said."""

    schema = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["from", "to"],
            "additionalProperties": False,
            "properties": {
                "from": {"type": "string", "format": "date-time"},
                "to": {"type": "string", "format": "date-time"},
                "reason": {"type": "string", "maxLength": 255},
            },
        },
    }


class CalendarSerializer(serializers.ModelSerializer[Calendar]):
    dates = DaysOffField(read_only=True)
    ics_dates = DaysOffField(read_only=True, help_text="The all-day events of `ics`.")
    windows = WindowsField(read_only=True)
    blackouts = BlackoutsField(read_only=True)

    class Meta:
        model = Calendar
        fields = (
            "id",
            "namespace",
            "name",
            "description",
            "country",
            "subdivision",
            "dates",
            "ics",
            "ics_dates",
            "windows",
            "blackouts",
            "created_by",
            "created_at",
            "updated_by",
            "updated_at",
        )
        read_only_fields = fields


class CalendarRequest(RequestSerializer):
    entity = CalendarSerializer

    namespace = NameField(default="default")
    name = NameField()
    description = TextField(required=False, allow_blank=True)
    country = TextField(
        required=False, allow_blank=True, max_length=8, help_text="Of the `holidays` library."
    )
    subdivision = TextField(required=False, allow_blank=True, max_length=16)
    dates = DaysOffField(required=False)
    ics = TextField(required=False, allow_blank=True, max_length=MAX_ICS_BYTES)
    windows = WindowsField(required=False)
    blackouts = BlackoutsField(required=False)


class CalendarViewSet(ResourceViewSet):
    """Days off, allowed times and blackouts, for schedules to share."""

    resource = "scheduling.calendar"
    namespace_path = "namespace"
    table = CALENDARS
    documentation = time_examples.CALENDARS
    entity_serializer = CalendarSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {
        "create": CalendarRequest,
        "partial_update": CalendarRequest,
    }

    def rows(self) -> QuerySet[Calendar]:
        return Calendar.objects.all()

    def perform_create(self, data: dict[str, Any]) -> Calendar:
        self.authorize("scheduling.add_calendar", data["namespace"])
        return calendars.create_calendar(by=self.actor, **data)

    def perform_update(self, entity: Calendar, data: dict[str, Any]) -> Calendar:
        return calendars.update_calendar(calendar_id=entity.pk, by=self.actor, **data)

    def perform_destroy(self, entity: Calendar) -> None:
        calendars.delete_calendar(calendar_id=entity.pk, by=self.actor)


class FreezeSerializer(serializers.ModelSerializer[Freeze]):
    class Meta:
        model = Freeze
        fields = ("id", "namespace", "since", "until", "reason", "created_by")
        read_only_fields = fields


class FreezeRequest(RequestSerializer):
    entity = FreezeSerializer

    namespace = NameField()
    until = InstantField(required=False, allow_null=True)
    reason = TextField(required=False, allow_blank=True, max_length=1000)


class FreezeViewSet(ResourceViewSet):
    """Namespaces in which nothing is planned."""

    resource = "scheduling.freeze"
    namespace_path = "namespace"
    table = FREEZES
    documentation = time_examples.FREEZES
    entity_serializer = FreezeSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {"create": FreezeRequest}

    def rows(self) -> QuerySet[Freeze]:
        return Freeze.objects.all()

    def perform_create(self, data: dict[str, Any]) -> Freeze:
        self.authorize("scheduling.add_freeze", data["namespace"])
        return calendars.freeze(now=database_now(), by=self.actor, **data)

    def perform_destroy(self, entity: Freeze) -> None:
        calendars.thaw(namespace=entity.namespace, by=self.actor)


class AlertSerializer(serializers.ModelSerializer[Alert]):
    job_id = serializers.IntegerField(read_only=True, allow_null=True)
    schedule_id = serializers.IntegerField(read_only=True, allow_null=True)

    class Meta:
        model = Alert
        fields = (
            "id",
            "kind",
            "namespace",
            "job_id",
            "schedule_id",
            "at",
            "text",
            "instants",
            "acknowledged_at",
            "acknowledged_by",
        )
        read_only_fields = fields


class AlertViewSet(ResourceViewSet):
    """What went wrong while nobody watched."""

    resource = "scheduling.alert"
    namespace_path = "namespace"
    needs: ClassVar[Mapping[str, str]] = {"acknowledge": "scheduling.change_alert"}
    table = ALERTS
    documentation = time_examples.ALERTS
    entity_serializer = AlertSerializer
    request_serializers: ClassVar[dict[str, type[RequestSerializer]]] = {"acknowledge": NoBody}

    def rows(self) -> QuerySet[Alert]:
        return Alert.objects.all()

    def acknowledge(self, request: Request, pk: int) -> Response:
        """Note that somebody has seen the alert."""
        self.read_body()
        return Response(self.represent(alerts.acknowledge(alert_id=pk, now=database_now(), by=self.actor)))
