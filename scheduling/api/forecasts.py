"""REST of what is to come: over all schedules that the caller sees."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from rest.fields import refuse
from rest.permissions import authority_for
from scheduling.api import backfill_examples
from scheduling.clock import database_now
from scheduling.services.forecast import MAX_HOURS, Forecast, names_of, recent_forecast

DEFAULT_HOURS: Final = 24


class ForecastTotalsSerializer(serializers.Serializer[Any]):
    runs = serializers.IntegerField()
    skipped_calendar = serializers.IntegerField(help_text="By a calendar, or because of a freeze.")
    skipped_overlap = serializers.IntegerField(help_text="Because the run before will still go on.")
    without_agent = serializers.IntegerField(help_text="Of the runs, those that no agent on line fits.")


class ForecastBucketSerializer(serializers.Serializer[Any]):
    begin = serializers.DateTimeField()
    runs = serializers.IntegerField(help_text="Runs that begin.")
    skipped_calendar = serializers.IntegerField()
    skipped_overlap = serializers.IntegerField()
    running = serializers.FloatField(help_text="Slots in use, on average.")
    waiting_secs = serializers.FloatField(help_text="How long a run waits for a slot at the end.")


class ForecastJobSerializer(serializers.Serializer[Any]):
    job_id = serializers.IntegerField()
    namespace = serializers.CharField()
    name = serializers.CharField()
    run_secs = serializers.FloatField(help_text="What its newest runs took on average; 1 where unknown.")
    has_agent = serializers.BooleanField(help_text="Whether an agent on line fits.")
    total = serializers.IntegerField()
    runs = serializers.ListField(child=serializers.IntegerField(), help_text="By bucket.")


class ForecastSerializer(serializers.Serializer[Any]):
    begin = serializers.DateTimeField()
    end = serializers.DateTimeField()
    bucket_secs = serializers.IntegerField()
    schedules = serializers.IntegerField(help_text="How many were looked at.")
    is_complete = serializers.BooleanField(help_text="False where there were too many for the time.")
    slots = serializers.IntegerField(help_text="Of the agents on line.")
    totals = ForecastTotalsSerializer()
    buckets = ForecastBucketSerializer(many=True)
    jobs = ForecastJobSerializer(many=True, help_text="Those with the most work.")


class ForecastView(GenericAPIView[Any]):
    """What is to come."""

    needed_permission = "scheduling.view_schedule"
    serializer_class = ForecastSerializer
    documentation = backfill_examples.FORECAST

    @extend_schema(
        operation_id="forecast",
        tags=["schedules"],
        parameters=[
            OpenApiParameter(
                "hours", {"type": "integer", "minimum": 1, "maximum": MAX_HOURS, "default": DEFAULT_HOURS}
            ),
            OpenApiParameter("namespace", {"type": "string"}, description="Only of this namespace."),
        ],
        responses=ForecastSerializer,
    )
    def get(self, request: Request) -> Response:
        """Tell what all schedules will run in the next hours, and how busy the agents will be."""
        hours, namespace = _read(request.query_params)
        seen = authority_for(request).namespaces("scheduling.view_schedule")
        if namespace is not None:
            seen = frozenset({namespace}) if seen is None or namespace in seen else frozenset()
        found = recent_forecast(now=database_now(), hours=hours, namespaces=seen)
        return Response(ForecastSerializer(_described(found)).data)


def _read(params: QueryDict) -> tuple[int, str | None]:
    errors = {name: "unknown parameter" for name in params if name not in ("hours", "namespace", "format")}
    hours = params.get("hours", str(DEFAULT_HOURS))
    if not (hours.isascii() and hours.isdigit() and len(hours) < 5 and 1 <= int(hours) <= MAX_HOURS):
        errors["hours"] = f"expected a whole number from 1 to {MAX_HOURS}"
    namespace = params.get("namespace")
    if namespace is not None and not (0 < len(namespace) <= 255 and "\x00" not in namespace):
        errors["namespace"] = "expected 1 to 255 characters"
    if errors:
        refuse(errors)
    return int(hours), namespace


def _described(found: Forecast) -> dict[str, Any]:
    frame, load = found.frame, found.load
    return {
        "begin": frame.begin,
        "end": frame.end,
        "bucket_secs": frame.bucket_secs,
        "schedules": found.schedules,
        "is_complete": found.is_complete,
        "slots": found.slots,
        "totals": {
            "runs": sum(load.runs),
            "skipped_calendar": sum(load.skipped_calendar),
            "skipped_overlap": sum(load.skipped_overlap),
            "without_agent": found.homeless,
        },
        "buckets": _buckets(found),
        "jobs": _jobs(found),
    }


def _buckets(found: Forecast) -> Iterable[dict[str, Any]]:
    load = found.load
    columns = zip(load.runs, load.skipped_calendar, load.skipped_overlap, found.occupancy, strict=True)
    for number, (runs, by_calendar, by_overlap, occupancy) in enumerate(columns):
        yield {
            "begin": found.frame.begin + timedelta(seconds=number * found.frame.bucket_secs),
            "runs": runs,
            "skipped_calendar": by_calendar,
            "skipped_overlap": by_overlap,
            "running": round(occupancy.running, 3),
            "waiting_secs": round(occupancy.waiting_secs, 1),
        }


def _jobs(found: Forecast) -> Iterable[dict[str, Any]]:
    names = names_of(found.jobs)
    for each in found.jobs:
        job = names.get(each.job_id)
        if job is not None:
            yield {
                "job_id": each.job_id,
                "namespace": job.namespace,
                "name": job.name,
                "run_secs": round(each.secs, 3),
                "has_agent": each.can_run,
                "total": each.total,
                "runs": each.runs,
            }
