"""REST of jobs, schedules and tasks."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent
from rest.idempotency import idempotent
from rest.kinds import BadValue
from rest.pages import MAX_ARRAY
from rest.permissions import ANYBODY, Rows, authority_for, seen
from rest.serializers import NoBody
from rest.views import ResourceViewSet
from scheduling.api import examples, filters, task_examples
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
from scheduling.clock_notes import clock_notes
from scheduling.errors import InvalidField
from scheduling.models import Job, Schedule, Task, TaskInstance
from scheduling.preview import next_fire_times
from scheduling.recurrence import Recurrence, RecurrenceError, describe, validate
from scheduling.services import definitions, manual

# Archived ones too: their history stays readable.
ANY_JOB = Rows(Job.objects.all, "namespace", "scheduling.view_job")
ANY_TASK = Rows(Task.objects.all, "namespace", "scheduling.view_task")
ANY_AGENT = Rows(Agent.objects.all, None, "agents.view_agent")


def known(status: str, kind: Any) -> str:
    """Return a status from a path; raise NotFound for one that does not exist."""
    try:
        return str(kind.read(status))
    except BadValue as error:
        raise NotFound(str(error)) from error


class JobViewSet(ResourceViewSet):
    """What to run."""

    resource = "scheduling.job"
    namespace_path = "namespace"
    needs: ClassVar[Mapping[str, str]] = {
        "enable": "scheduling.switch_job",
        "disable": "scheduling.switch_job",
        "trigger": "scheduling.add_task",
        "in_namespace": "scheduling.view_job",
    }
    table = filters.JOBS
    documentation = examples.JOBS
    entity_serializer = JobSerializer
    request_serializers = {
        "create": JobRequest,
        "partial_update": JobRequest,
        "trigger": TriggerRequest,
    }

    def rows(self) -> QuerySet[Job]:
        return Job.objects.present()

    def perform_create(self, data: dict[str, Any]) -> Job:
        self.authorize("scheduling.add_job", data["namespace"])
        return definitions.create_job(by=self.actor, **data)

    def perform_update(self, entity: Job, data: dict[str, Any]) -> Job:
        if "namespace" in data:
            self.authorize("scheduling.change_job", data["namespace"])
        return definitions.update_job(
            job_id=entity.pk, now=database_now(), by=self.actor, permit=self.permit, **data
        )

    def perform_destroy(self, entity: Job) -> None:
        definitions.archive_job(job_id=entity.pk, now=database_now(), by=self.actor, permit=self.permit)

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
        task = manual.trigger_job(job=job, now=database_now(), by=self.actor, **self.read_body())
        return Response(TaskSerializer(task).data, status=201)

    def in_namespace(self, request: Request, namespace: str) -> Response:
        """List the jobs of one namespace."""
        return self.array(self.get_queryset().filter(namespace=namespace))

    def _set_enabled(self, pk: int, *, enabled: bool) -> Response:
        self.read_body()
        job = definitions.update_job(
            job_id=pk, now=database_now(), by=self.actor, permit=self.permit, enabled=enabled
        )
        return Response(self.represent(job))


class ScheduleViewSet(ResourceViewSet):
    """When jobs run."""

    resource = "scheduling.schedule"
    namespace_path = "job__namespace"
    needs: ClassVar[Mapping[str, str]] = {
        "enable": "scheduling.switch_schedule",
        "disable": "scheduling.switch_schedule",
        "of_job": "scheduling.view_schedule",
        "preview": ANYBODY,
    }
    parents = {"job_id": ANY_JOB}
    table = filters.SCHEDULES
    documentation = examples.SCHEDULES
    entity_serializer = ScheduleSerializer
    request_serializers = {
        "create": ScheduleRequest,
        "partial_update": ScheduleUpdateRequest,
        "preview": PreviewRequest,
    }

    def rows(self) -> QuerySet[Schedule]:
        return Schedule.objects.present()

    def perform_create(self, data: dict[str, Any]) -> Schedule:
        self.authorize("scheduling.add_schedule", data["job"].namespace)
        return definitions.create_schedule(now=database_now(), by=self.actor, permit=self.permit, **data)

    def perform_update(self, entity: Schedule, data: dict[str, Any]) -> Schedule:
        return definitions.update_schedule(
            schedule_id=entity.pk, now=database_now(), by=self.actor, permit=self.permit, **data
        )

    def perform_destroy(self, entity: Schedule) -> None:
        definitions.archive_schedule(
            schedule_id=entity.pk, now=database_now(), by=self.actor, permit=self.permit
        )

    def enable(self, request: Request, pk: int) -> Response:
        """Plan the schedule's instants from now on."""
        self.read_body()
        schedule = definitions.enable_schedule(
            schedule_id=pk, now=database_now(), by=self.actor, permit=self.permit
        )
        return Response(self.represent(schedule))

    def disable(self, request: Request, pk: int) -> Response:
        """Plan no further instants."""
        self.read_body()
        schedule = definitions.disable_schedule(
            schedule_id=pk, now=database_now(), by=self.actor, permit=self.permit
        )
        return Response(self.represent(schedule))

    def of_job(self, request: Request, job_id: int) -> Response:
        """List the schedules of one job."""
        return self.array(self.get_queryset().filter(job_id=job_id))

    @extend_schema(responses=PreviewSerializer)
    def preview(self, request: Request) -> Response:
        """Tell when a schedule would run next; saves nothing."""
        data = self.read_body()
        count, after = data.pop("count"), data.pop("after", None) or database_now()
        recurrence = Recurrence(**data)
        try:
            validate(recurrence)
        except RecurrenceError as error:
            raise InvalidField({error.field: str(error)}) from error
        times = next_fire_times(recurrence, after=after, count=count)
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
                    "notes": clock_notes(recurrence, after=after, until=times[-1].utc) if times else [],
                }
            ).data
        )


class TaskViewSet(ResourceViewSet):
    """Planned instants of jobs, and what became of them."""

    resource = "scheduling.task"
    namespace_path = "namespace"
    needs: ClassVar[Mapping[str, str]] = {
        "retry": "scheduling.change_task",
        "cancel": "scheduling.change_task",
        "of_job": "scheduling.view_task",
        "of_agent": "scheduling.view_task",
        "with_status": "scheduling.view_task",
    }
    parents = {"job_id": ANY_JOB, "agent_id": ANY_AGENT}
    table = filters.TASKS
    documentation = task_examples.TASKS
    entity_serializer = TaskSerializer
    request_serializers = {"create": TaskRequest, "partial_update": TaskUpdateRequest, "retry": NoBody}

    def rows(self) -> QuerySet[Task]:
        return Task.objects.all()

    def perform_create(self, data: dict[str, Any]) -> Task:
        namespace = data["job"].namespace
        self.authorize("scheduling.add_task", namespace)
        self._authorize_config(data, namespace)
        return manual.trigger_job(now=database_now(), by=self.actor, **data)

    def perform_update(self, entity: Task, data: dict[str, Any]) -> Task:
        self._authorize_config(data, entity.namespace)
        return manual.update_task(task_id=entity.pk, now=database_now(), by=self.actor, **data)

    def perform_destroy(self, entity: Task) -> None:
        manual.delete_task(task_id=entity.pk, by=self.actor)

    def retry(self, request: Request, pk: int) -> Response:
        """Start a failed or cancelled task anew, with a new attempt."""
        self.read_body()
        return Response(self.represent(manual.retry(task_id=pk, now=database_now(), by=self.actor)))

    def cancel(self, request: Request, pk: int) -> Response:
        """Cancel a task that has not ended; if its command runs, that is killed."""
        self.read_body()
        return Response(self.represent(manual.cancel(task_id=pk, now=database_now(), by=self.actor)))

    def of_job(self, request: Request, job_id: int) -> Response:
        """List the tasks of one job."""
        return self.array(self.get_queryset().filter(job_id=job_id))

    def of_agent(self, request: Request, agent_id: str) -> Response:
        """List the tasks with an attempt on one agent."""
        # By the index of an agent's tasks. A semi-join with tasks would pass over all tasks of other agents.
        attempts = seen(
            TaskInstance.objects.filter(agent_id=agent_id),
            authority=authority_for(request),
            permission=self.view_permission,
            namespace_path="namespace",
        )
        ids = attempts.order_by("-task_id").values("task_id").distinct()
        return self.array(self.rows().filter(pk__in=ids[: MAX_ARRAY + 1]), counted=ids)

    def with_status(self, request: Request, status: str) -> Response:
        """List the tasks with one status."""
        return self.array(self.get_queryset().filter(status=known(status, filters.TASK_STATUS)))

    def _authorize_config(self, data: dict[str, Any], namespace: str) -> None:
        """Raise PermissionDenied for who may run what others defined and brings a command of their own."""
        if data.get("config"):
            self.authorize("scheduling.change_job", namespace)
