"""Which application serves a WebSocket, and from whose pages one may be opened.

A browser lets the pages of any site open a socket to any other, with its user's cookies; only the header
Origin tells whose page it was. A socket for browsers goes into `browser_sockets`, where that is looked at.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlparse

from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

from gateway.consumers import agent_socket, refuse_socket
from gateway.viewers import viewer_socket

Scope = dict[str, Any]
Application = Callable[[Scope, Callable[..., Any], Callable[..., Any]], Awaitable[None]]


class OwnPagesOnly:
    """Serves `application` to pages of a host in ALLOWED_HOSTS, others get a 403.

    A handshake that names no origin comes from a program, not from a browser: served where `or_programs`.
    """

    def __init__(self, application: Application, *, or_programs: bool = False) -> None:
        self._application = application
        self._validator = AllowedHostsOriginValidator(application)
        self._or_programs = or_programs

    async def __call__(self, scope: Scope, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        is_welcome = all(map(self._is_ours, origins)) if origins else self._or_programs
        await (self._application if is_welcome else refuse_socket)(scope, receive, send)

    def _is_ours(self, origin: bytes) -> bool:
        try:
            return bool(self._validator.valid_origin(urlparse(origin.decode("latin1"))))
        except ValueError:
            return False


# Channels routes ASGI applications with Django's URL patterns, whose types know of views only.
_agent_socket: Any = OwnPagesOnly(agent_socket, or_programs=True)
_viewer_socket: Any = viewer_socket
_refuse_socket: Any = refuse_socket
browser_sockets = URLRouter(
    [path("ws/admin/attempts/<uuid:pk>", _viewer_socket), re_path("", _refuse_socket)]
)
_browser_sockets: Any = OwnPagesOnly(browser_sockets)
websocket_router = URLRouter([path("ws/agent", _agent_socket), re_path("", _browser_sockets)])
