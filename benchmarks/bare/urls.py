"""Hetuflow's paths, and `bare/jobs` and `bare/tasks`."""

from django.urls import include, path
from rest_framework import parsers, renderers, serializers
from rest_framework.authentication import TokenAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ModelViewSet

from benchmarks.bare.models import BareJob, BareTask


class JobSerializer(serializers.ModelSerializer[BareJob]):
    class Meta:
        model = BareJob
        fields = (
            "id",
            "namespace",
            "name",
            "description",
            "command",
            "environment",
            "config",
            "enabled",
            "tags",
            "created_by",
            "created_at",
            "updated_by",
            "updated_at",
        )


class TaskSerializer(serializers.ModelSerializer[BareTask]):
    class Meta:
        model = BareTask
        fields = (
            "id",
            "job",
            "namespace",
            "schedule_kind",
            "priority",
            "status",
            "scheduled_at",
            "completed_at",
            "parameters",
            "environment",
            "config",
            "retry_count",
            "max_retries",
            "dependencies",
            "locked_at",
            "lock_version",
            "created_by",
            "created_at",
            "updated_at",
        )


class _Bare:
    """What a new project of Django REST framework comes with."""

    authentication_classes = (TokenAuthentication,)
    permission_classes = (IsAuthenticated,)
    parser_classes = (parsers.JSONParser,)
    renderer_classes = (renderers.JSONRenderer,)


class JobViewSet(_Bare, ModelViewSet[BareJob]):
    queryset = BareJob.objects.all()
    serializer_class = JobSerializer


class TaskViewSet(_Bare, ModelViewSet[BareTask]):
    queryset = BareTask.objects.all()
    serializer_class = TaskSerializer


router = SimpleRouter(trailing_slash=False)
router.register("jobs", JobViewSet)
router.register("tasks", TaskViewSet)

urlpatterns = [path("bare/", include(router.urls)), path("", include("hetuflow.urls"))]
