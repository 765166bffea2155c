"""Paths of agents and of the system, below /api/v1/."""

from django.urls import path

from agents.api.views import AgentHeartbeatViewSet
from gateway.api.agents import ConnectedAgentViewSet
from gateway.api.health import HealthView, SystemHealthView
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
        },
    ),
    path("agents/online", ConnectedAgentViewSet.as_view({"get": "online"})),
    path("agents/offline", ConnectedAgentViewSet.as_view({"get": "offline"})),
    path("agents/<id:pk>/heartbeat", AgentHeartbeatViewSet.as_view({POST: "heartbeat"})),
    path("health", HealthView.as_view(), name="health"),
    path("system/health", SystemHealthView.as_view()),
]
