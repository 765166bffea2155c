from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from gateway.consumers import agent_socket, refuse_socket

# Channels routes ASGI applications with Django's URL patterns, whose types know of views only.
_agent_socket: Any = agent_socket
_refuse_socket: Any = refuse_socket
websocket_router = URLRouter([path("ws/agent", _agent_socket), re_path("", _refuse_socket)])
