"""REST of what happened and why: a schedule's ledger, and explanations."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rest.fields import refuse
from rest.kinds import BadValue, read_instant
from scheduling.api import time_examples
from scheduling.api.views import JobViewSet, ScheduleViewSet, TaskViewSet
from scheduling.clock import database_now
from scheduling.services.explaining import Explanation, explain_job, explain_task
from scheduling.services.ledger import MAX_ENTRIES, PLANNED, ledger_of
from scheduling.states import Outcome, TaskStatus

DEFAULT_ENTRIES: Final = 200
DEFAULT_SPAN: Final = timedelta(days=1)
LEDGER_OUTCOMES: Final = (*Outcome.values, PLANNED)


class BlockerSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    id = serializers.CharField()
    name = serializers.CharField()


class CheckSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    passed = serializers.BooleanField()
    text = serializers.CharField()
    blockers = BlockerSerializer(many=True)


class ExplanationSerializer(serializers.Serializer[Any]):
    summary = serializers.CharField(help_text="The first check that fails, or what happens next.")
    runs = serializers.BooleanField(help_text="Whether every check passes.")
    checks = CheckSerializer(many=True)


class LedgerEntrySerializer(serializers.Serializer[Any]):
    scheduled_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    outcome = serializers.ChoiceField(choices=LEDGER_OUTCOMES)
    reason = serializers.CharField()
    instants = serializers.IntegerField(help_text="How many instants the row stands for.")
    task_id = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(choices=TaskStatus.choices, allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)
    delay_secs = serializers.FloatField(allow_null=True, help_text="From when it was due to its start.")


class LedgerSerializer(serializers.Serializer[Any]):
    totals = serializers.DictField(
        child=serializers.IntegerField(), help_text="Instants of the whole range, by outcome."
    )
    has_more = serializers.BooleanField()
    entries = LedgerEntrySerializer(many=True)


class ScheduleLedgerViewSet(ScheduleViewSet):
    """What was planned against what happened."""

    needs: ClassVar[Mapping[str, str]] = {"ledger": "scheduling.view_task"}
    documentation = time_examples.LEDGER

    @extend_schema(
        parameters=[
            OpenApiParameter("from", {"type": "string", "format": "date-time"}, description="A day ago."),
            OpenApiParameter("to", {"type": "string", "format": "date-time"}, description="In a day."),
            OpenApiParameter(
                "limit", {"type": "integer", "minimum": 1, "maximum": MAX_ENTRIES, "default": DEFAULT_ENTRIES}
            ),
        ],
        responses=LedgerSerializer,
    )
    def ledger(self, request: Request, pk: int) -> Response:
        """Tell of every planned instant in a range what became of it."""
        schedule = self.get_queryset().get(pk=pk)
        now = database_now()
        begin, end, limit = _range(request.query_params, default=(now - DEFAULT_SPAN, now + DEFAULT_SPAN))
        found = ledger_of(schedule, begin=begin, end=end, limit=limit)
        return Response(LedgerSerializer(found).data)


class TaskExplanationViewSet(TaskViewSet):
    """Why a task does not run."""

    needs: ClassVar[Mapping[str, str]] = {"explain": "scheduling.view_task"}
    documentation = time_examples.EXPLANATIONS

    @extend_schema(responses=ExplanationSerializer)
    def explain(self, request: Request, pk: int) -> Response:
        """Go through what a task must pass before it runs, and say what blocks."""
        task = self.get_queryset().select_related("job", "route", "schedule").get(pk=pk)
        return _answer(explain_task(task=task, now=database_now()))


class JobExplanationViewSet(JobViewSet):
    """Why a job does not run."""

    needs: ClassVar[Mapping[str, str]] = {"explain": "scheduling.view_job"}
    documentation = time_examples.EXPLANATIONS

    @extend_schema(responses=ExplanationSerializer)
    def explain(self, request: Request, pk: int) -> Response:
        """Go through what must hold for a job to run by its schedules, and say what blocks."""
        return _answer(explain_job(job=self.get_queryset().get(pk=pk), now=database_now()))


def _answer(explanation: Explanation) -> Response:
    return Response(ExplanationSerializer(explanation).data)


def _range(params: QueryDict, *, default: tuple[Any, Any]) -> tuple[Any, Any, int]:
    """Return begin, end and limit; raise ValidationError with an entry for each that is wrong."""
    errors = {name: "unknown parameter" for name in params if name not in ("from", "to", "limit", "format")}
    found = dict(zip(("from", "to"), default, strict=True))
    for name in found.keys() & params.keys():
        try:
            found[name] = read_instant(params[name])
        except BadValue as error:
            errors[name] = str(error)
    text = params.get("limit", str(DEFAULT_ENTRIES))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_ENTRIES):
        errors["limit"] = f"expected a whole number from 1 to {MAX_ENTRIES}"
    if not errors and found["to"] < found["from"]:
        errors["to"] = "expected a time after from"
    if errors:
        refuse(errors)
    return found["from"], found["to"], int(text)
