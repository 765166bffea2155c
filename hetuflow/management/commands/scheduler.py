"""`manage.py scheduler`"""

import os
import signal
import sys
import threading
from typing import Any, Final

from django.core.management.base import BaseCommand

from gateway.retention import LogRetention
from hetuflow.command_line import complain
from hetuflow.database import UnusableDatabase, check_usable
from hetuflow.signal_queue import SignalQueue
from scheduling.scheduler import RETENTION_SECS, Duty, run_forever

STOP_TIMEOUT_SECS: Final = 4.0


class Command(BaseCommand):
    help = "Plan schedules and look after tasks until stopped; any number may run at once."

    def handle(self, *args: Any, **options: Any) -> None:
        with SignalQueue((signal.SIGTERM, signal.SIGINT)) as signals:
            try:
                check_usable()
            except UnusableDatabase as error:
                complain(str(error))
                sys.exit(1)
            stop = threading.Event()
            duties = threading.Thread(target=run_forever, args=(stop, _others()), name="duties", daemon=True)
            duties.start()
            asked = False
            while duties.is_alive() and not asked:
                asked = bool(signals.wait(1.0))
            stop.set()
            duties.join(STOP_TIMEOUT_SECS)
            if duties.is_alive():
                # The database hangs. What it was asked is rolled back when the connection closes.
                os._exit(0)
            if not asked:
                sys.exit(1)


def _others() -> tuple[Duty, ...]:
    """Return the duties of layers that the scheduler knows nothing of."""
    logs = LogRetention()
    return (Duty("logs of agents", lambda now: logs.run_once(now=now), every_secs=RETENTION_SECS),)
