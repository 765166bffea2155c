"""`manage.py scheduler`"""

import signal
import sys
import threading
from typing import Any

from django.core.management.base import BaseCommand

from hetuflow.command_line import complain
from hetuflow.database import UnusableDatabase, check_usable
from scheduling.scheduler import run_forever


class Command(BaseCommand):
    help = "Plan schedules and look after tasks until stopped; any number may run at once."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_usable()
        except UnusableDatabase as error:
            complain(str(error))
            sys.exit(1)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run_forever(stop)
