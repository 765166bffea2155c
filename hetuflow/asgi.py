"""The ASGI application; any server for ASGI can serve it, Daphne is the one that comes along."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hetuflow.settings")
django_application = get_asgi_application()

from gateway.routing import websocket_router  # noqa: E402 (needs Django to be set up)

application = ProtocolTypeRouter({"http": django_application, "websocket": websocket_router})
