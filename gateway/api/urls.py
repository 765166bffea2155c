"""Paths of agents, their sessions, servers and the system, below /api/v1/."""

from django.urls import path

from agents.api.enrollment import EnrollmentTokenViewSet, EnrollView
from agents.api.tokens import AgentTokenViewSet
from gateway.api.agents import ConnectedAgentViewSet
from gateway.api.connections import ConnectionViewSet
from gateway.api.health import HealthView, SystemHealthView
from gateway.api.servers import ServerViewSet
from gateway.api.system import InfoView, MetricsView, SystemInfoView, SystemMetricsView
from rest.routing import resource_paths

POST = "post"

urlpatterns = [
    *resource_paths(
        "agents",
        ConnectedAgentViewSet,
        key="id",
        actions={
            "<pk>/status": {POST: "status"},
            "<pk>/logs": {POST: "logs"},
            "<pk>/commands": {POST: "commands"},
            "<pk>/heartbeat": {POST: "heartbeat"},
        },
    ),
    path("agents/online", ConnectedAgentViewSet.as_view({"get": "online"})),
    path("agents/offline", ConnectedAgentViewSet.as_view({"get": "offline"})),
    path("agents/enroll", EnrollView.as_view(), name="enroll"),
    *resource_paths(
        "agents/enrollment-tokens",
        EnrollmentTokenViewSet,
        only=("query", "list", "create", "retrieve", "destroy"),
    ),
    path("agents/<id:pk>/tokens", AgentTokenViewSet.as_view({"get": "list", POST: "create"})),
    path("agents/<id:pk>/tokens/rotate", AgentTokenViewSet.as_view({POST: "rotate"})),
    path("agents/<id:pk>/tokens/<int:token_id>", AgentTokenViewSet.as_view({"delete": "revoke"})),
    *resource_paths(
        "connections",
        ConnectionViewSet,
        key="id",
        only=("query", "list", "destroy"),
    ),
    path("connections/stats", ConnectionViewSet.as_view({POST: "stats"})),
    path("connections/broadcast", ConnectionViewSet.as_view({POST: "broadcast"})),
    *resource_paths("servers", ServerViewSet, key="id", only=("query", "list", "retrieve")),
    path("health", HealthView.as_view(), name="health"),
    path("system/health", SystemHealthView.as_view()),
    path("metrics", MetricsView.as_view()),
    path("system/metrics", SystemMetricsView.as_view()),
    path("info", InfoView.as_view()),
    path("system/info", SystemInfoView.as_view()),
]
