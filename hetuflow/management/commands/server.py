"""`manage.py server`"""

import os
import sys
import threading
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from hetuflow.asgi_server import AsgiServer
from hetuflow.command_line import complain
from hetuflow.database import UnreachableDatabase, UnusableDatabase, check_usable
from hetuflow.listening import CannotListen, check_can_listen

EXIT_TIMEOUT_SECS: Final = 2.0


class Command(BaseCommand):
    help = "Serve REST, the admin and the sockets of agents until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HETUFLOW_HOST)
        parser.add_argument("--port", type=int, default=settings.HETUFLOW_PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        if settings.PRODUCTION and not settings.HTTPS:
            complain(
                "HETUFLOW_HTTPS is off: passwords, cookies and tokens travel in clear, and browsers send "
                "the session's cookie over plain HTTP. Put TLS in front and set it."
            )
        try:
            check_can_listen(host, port)
            check_usable()
        except UnreachableDatabase as error:
            # A server that starts before its database waits for it; the health check says so meanwhile.
            complain(f"{error}. Trying until it can.")
        except (CannotListen, UnusableDatabase) as error:
            complain(str(error))
            sys.exit(1)
        server = AsgiServer(host=host, port=port)
        server.run()
        _end_within(EXIT_TIMEOUT_SECS, server.exit_code)
        sys.exit(server.exit_code)


def _end_within(secs: float, status: int) -> None:
    """See to it that the process ends: threads that wait for a database that hangs would hold it."""
    timer = threading.Timer(secs, os._exit, [status])
    timer.daemon = True
    timer.start()
