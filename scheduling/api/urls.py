"""Paths of jobs, schedules, calendars, tasks and task instances, below /api/v1/."""

from django.urls import path

from rest.routing import resource_paths
from scheduling.api import config_schema  # noqa: F401 (describes a field)
from scheduling.api.backfills import BackfillPreviewViewSet, BackfillViewSet
from scheduling.api.calendars import AlertViewSet, CalendarViewSet, FreezeViewSet
from scheduling.api.forecasts import ForecastView
from scheduling.api.insight import JobExplanationViewSet, ScheduleLedgerViewSet, TaskExplanationViewSet
from scheduling.api.instances import InstanceLogsViewSet, TaskInstanceViewSet
from scheduling.api.retention import RetentionRuleViewSet
from scheduling.api.views import JobViewSet, ScheduleViewSet, TaskViewSet

POST = "post"

urlpatterns = [
    *resource_paths(
        "jobs",
        JobViewSet,
        actions={
            "<pk>/enable": {POST: "enable"},
            "<pk>/disable": {POST: "disable"},
            "<pk>/trigger": {POST: "trigger"},
        },
    ),
    path("jobs/namespace/<path:namespace>", JobViewSet.as_view({"get": "in_namespace"})),
    *resource_paths(
        "schedules",
        ScheduleViewSet,
        actions={"<pk>/enable": {POST: "enable"}, "<pk>/disable": {POST: "disable"}},
    ),
    path(
        "schedules/<int:pk>/backfill-preview",
        BackfillPreviewViewSet.as_view({POST: "backfill_preview"}),
    ),
    path("schedules/<int:pk>/ledger", ScheduleLedgerViewSet.as_view({"get": "ledger"})),
    path("jobs/<int:pk>/explain", JobExplanationViewSet.as_view({"get": "explain"})),
    path("tasks/<int:pk>/explain", TaskExplanationViewSet.as_view({"get": "explain"})),
    *resource_paths("calendars", CalendarViewSet),
    *resource_paths("freezes", FreezeViewSet, only=("list", "query", "retrieve", "create", "destroy")),
    *resource_paths(
        "alerts",
        AlertViewSet,
        only=("list", "query", "retrieve"),
        actions={"<pk>/acknowledge": {POST: "acknowledge"}},
    ),
    path("schedules/preview", ScheduleViewSet.as_view({POST: "preview"})),
    *resource_paths(
        "backfills",
        BackfillViewSet,
        actions={f"<pk>/{action}": {POST: action} for action in ("pause", "resume", "cancel")},
        only=("list", "query", "create", "retrieve"),
    ),
    path("forecast", ForecastView.as_view()),
    path("schedules/job/<int:job_id>", ScheduleViewSet.as_view({"get": "of_job"})),
    *resource_paths(
        "tasks", TaskViewSet, actions={"<pk>/retry": {POST: "retry"}, "<pk>/cancel": {POST: "cancel"}}
    ),
    path("tasks/job/<int:job_id>", TaskViewSet.as_view({"get": "of_job"})),
    path("tasks/agent/<id:agent_id>", TaskViewSet.as_view({"get": "of_agent"})),
    path("tasks/status/<str:status>", TaskViewSet.as_view({"get": "with_status"})),
    *resource_paths("retention-rules", RetentionRuleViewSet),
    *resource_paths(
        "task-instances",
        TaskInstanceViewSet,
        key="id",
        actions={
            "<pk>/start": {POST: "start"},
            "<pk>/complete": {POST: "complete"},
            "<pk>/cancel": {POST: "cancel"},
        },
    ),
    path("task-instances/<id:pk>/logs", InstanceLogsViewSet.as_view({"get": "logs"})),
    path("task-instances/task/<int:task_id>", TaskInstanceViewSet.as_view({"get": "of_task"})),
    path("task-instances/agent/<id:agent_id>", TaskInstanceViewSet.as_view({"get": "of_agent"})),
    path("task-instances/status/<str:status>", TaskInstanceViewSet.as_view({"get": "with_status"})),
]
