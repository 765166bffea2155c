"""`manage.py standalone`"""

import contextlib
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from hetuflow.command_line import complain
from hetuflow.standalone import Options, Standalone, StandaloneError


class Command(BaseCommand):
    help = "Run database, server, scheduler and agent on this machine until stopped."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        standalone = Standalone(
            Options(
                data_dir=settings.DATA_DIR,
                host=settings.HETUFLOW_HOST,
                port=settings.HETUFLOW_PORT,
                database_url=os.environ.get("DATABASE_URL", ""),
                admin_password=os.environ.get("HETUFLOW_ADMIN_PASSWORD", ""),
            ),
            say=self._say,
            complain=self._complain,
        )
        try:
            standalone.run()
        except StandaloneError as error:
            complain(str(error))
            sys.exit(1)

    # A terminal that is gone must not keep us from ending everything in order.

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stdout.write(line)
            self.stdout.flush()

    def _complain(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stderr.write(line)
