"""The ASGI application; any server for ASGI can serve it, Daphne is the one that comes along."""

import os

import django
from channels.routing import ProtocolTypeRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hetuflow.settings")
django.setup(set_prefix=False)

# These need Django to be set up.
from gateway.routing import websocket_router  # noqa: E402
from hetuflow.asgi_requests import Application  # noqa: E402

application = ProtocolTypeRouter({"http": Application(), "websocket": websocket_router})
