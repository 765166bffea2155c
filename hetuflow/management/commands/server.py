"""`manage.py server`"""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from hetuflow.asgi_server import AsgiServer


class Command(BaseCommand):
    help = "Serve REST, the admin and the sockets of agents until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        server = AsgiServer(host=options["host"], port=options["port"])
        server.run()
        sys.exit(server.exit_code)
