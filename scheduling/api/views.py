"""REST of jobs, schedules and tasks."""

from dataclasses import asdict
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from rest.idempotency import idempotent
from rest.kinds import BadValue
from rest.serializers import NoBody
from rest.views import ResourceViewSet
from scheduling.api import filters
from scheduling.api.serializers import (
    JobRequest,
    JobSerializer,
    PreviewRequest,
    PreviewSerializer,
    ScheduleRequest,
    ScheduleSerializer,
    ScheduleUpdateRequest,
    TaskRequest,
    TaskSerializer,
    TaskUpdateRequest,
    TriggerRequest,
)
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.models import Job, Schedule, Task, TaskInstance
from scheduling.preview import next_fire_times
from scheduling.recurrence import Recurrence, RecurrenceError, describe, validate
from scheduling.services import definitions, manual


def known(status: str, kind: Any) -> str:
    """Return a status from a path; raise NotFound for one that does not exist."""
    try:
        return str(kind.read(status))
    except BadValue as error:
        raise NotFound(str(error)) from error


class JobViewSet(ResourceViewSet):
    """What to run."""

    table = filters.JOBS
    entity_serializer = JobSerializer
    request_serializers = {
        "create": JobRequest,
        "partial_update": JobRequest,
        "trigger": TriggerRequest,
    }

    def get_queryset(self) -> QuerySet[Job]:
        return Job.objects.present()

    def perform_create(self, data: dict[str, Any]) -> Job:
        return definitions.create_job(by=self.who, **data)

    def perform_update(self, entity: Job, data: dict[str, Any]) -> Job:
        return definitions.update_job(job_id=entity.pk, now=database_now(), by=self.who, **data)

    def perform_destroy(self, entity: Job) -> None:
        definitions.archive_job(job_id=entity.pk, now=database_now())

    def enable(self, request: Request, pk: int) -> Response:
        """Let schedules run the job."""
        return self._set_enabled(pk, enabled=True)

    def disable(self, request: Request, pk: int) -> Response:
        """Keep schedules from running the job; planned tasks that no agent has are cancelled."""
        return self._set_enabled(pk, enabled=False)

    @extend_schema(responses={201: TaskSerializer})
    @idempotent()
    def trigger(self, request: Request, pk: int) -> Response:
        """Run the job once, now or at `scheduled_at`."""
        job = self.get_queryset().get(pk=pk)
        task = manual.trigger_job(job=job, now=database_now(), by=self.who, **self.read_body())
        return Response(TaskSerializer(task).data, status=201)

    def in_namespace(self, request: Request, namespace: str) -> Response:
        """List the jobs of one namespace."""
        if "\x00" in namespace:
            raise NotFound
        return self.array(self.get_queryset().filter(namespace=namespace))

    def _set_enabled(self, pk: int, *, enabled: bool) -> Response:
        self.read_body()
        job = definitions.update_job(job_id=pk, now=database_now(), by=self.who, enabled=enabled)
        return Response(self.represent(job))


class ScheduleViewSet(ResourceViewSet):
    """When jobs run."""

    table = filters.SCHEDULES
    entity_serializer = ScheduleSerializer
    request_serializers = {
        "create": ScheduleRequest,
        "partial_update": ScheduleUpdateRequest,
        "preview": PreviewRequest,
    }

    def get_queryset(self) -> QuerySet[Schedule]:
        return Schedule.objects.present()

    def perform_create(self, data: dict[str, Any]) -> Schedule:
        return definitions.create_schedule(now=database_now(), **data)

    def perform_update(self, entity: Schedule, data: dict[str, Any]) -> Schedule:
        return definitions.update_schedule(schedule_id=entity.pk, now=database_now(), **data)

    def perform_destroy(self, entity: Schedule) -> None:
        definitions.archive_schedule(schedule_id=entity.pk, now=database_now())

    def enable(self, request: Request, pk: int) -> Response:
        """Plan the schedule's instants from now on."""
        self.read_body()
        return Response(self.represent(definitions.enable_schedule(schedule_id=pk, now=database_now())))

    def disable(self, request: Request, pk: int) -> Response:
        """Plan no further instants."""
        self.read_body()
        return Response(self.represent(definitions.disable_schedule(schedule_id=pk, now=database_now())))

    def of_job(self, request: Request, job_id: int) -> Response:
        """List the schedules of one job."""
        return self.array(self.get_queryset().filter(job_id=job_id))

    @extend_schema(responses=PreviewSerializer)
    def preview(self, request: Request) -> Response:
        """Tell when a schedule would run next; saves nothing."""
        data = self.read_body()
        count, after = data.pop("count"), data.pop("after", None)
        recurrence = Recurrence(**data)
        try:
            validate(recurrence)
        except RecurrenceError as error:
            raise InvalidField({error.field: str(error)}) from error
        times = next_fire_times(recurrence, after=after or database_now(), count=count)
        return Response(
            PreviewSerializer(
                {
                    "kind": recurrence.kind,
                    "timezone": recurrence.timezone,
                    "description": describe(recurrence),
                    "fire_times": [
                        {**asdict(time), "local": time.local.isoformat(), "note": time.note or None}
                        for time in times
                    ],
                    "notes": [f"{time.local.isoformat()}: {time.note}" for time in times if time.note],
                }
            ).data
        )


class TaskViewSet(ResourceViewSet):
    """Planned instants of jobs, and what became of them."""

    table = filters.TASKS
    entity_serializer = TaskSerializer
    request_serializers = {"create": TaskRequest, "partial_update": TaskUpdateRequest, "retry": NoBody}

    def get_queryset(self) -> QuerySet[Task]:
        return Task.objects.all()

    def perform_create(self, data: dict[str, Any]) -> Task:
        return manual.trigger_job(now=database_now(), by=self.who, **data)

    def perform_update(self, entity: Task, data: dict[str, Any]) -> Task:
        return manual.update_task(task_id=entity.pk, now=database_now(), **data)

    def perform_destroy(self, entity: Task) -> None:
        manual.delete_task(task_id=entity.pk)

    def retry(self, request: Request, pk: int) -> Response:
        """Start a failed or cancelled task anew, with a new attempt."""
        self.read_body()
        return Response(self.represent(manual.retry(task_id=pk, now=database_now(), by=self.who)))

    def cancel(self, request: Request, pk: int) -> Response:
        """Cancel a task that has not ended; if its command runs, that is killed."""
        self.read_body()
        return Response(self.represent(manual.cancel(task_id=pk, now=database_now(), by=self.who)))

    def of_job(self, request: Request, job_id: int) -> Response:
        """List the tasks of one job."""
        return self.array(self.get_queryset().filter(job_id=job_id))

    def of_agent(self, request: Request, agent_id: str) -> Response:
        """List the tasks with an attempt on one agent."""
        on_agent = TaskInstance.objects.filter(task=OuterRef("pk"), agent_id=agent_id)
        return self.array(self.get_queryset().filter(Exists(on_agent)))

    def with_status(self, request: Request, status: str) -> Response:
        """List the tasks with one status."""
        return self.array(self.get_queryset().filter(status=known(status, filters.TASK_STATUS)))
