from channels.routing import URLRouter
from django.urls import path

from gateway.consumers import AgentConsumer

websocket_router = URLRouter([path("ws/agent", AgentConsumer.as_asgi())])
