"""The scheduler process: every duty in turn, as often as it needs; any number of these may run at once."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from access import throttling
from scheduling.clock import database_now
from scheduling.services import backfilling, lifecycle, planning, rescue

logger = logging.getLogger(__name__)

TICK_SECS: Final = 1.0


@dataclass(frozen=True)
class Duty:
    """Something done again and again; `run_once` may race with itself in other processes."""

    name: str
    run_once: Callable[[datetime], object]


def plan(now: datetime) -> int:
    """Plan what is due within the horizon."""
    return planning.run_once(
        now=now,
        horizon_secs=settings.HETUFLOW_PLANNING_HORIZON_SECS,
        catch_up_secs=settings.HETUFLOW_CATCH_UP_SECS,
    )


DUTIES: Final = (
    Duty("planning", plan),
    Duty("backfilling", lambda now: backfilling.run_once(now=now)),
    Duty("overlap", lambda now: lifecycle.skip_overlapping_tasks(now=now)),
    Duty("replace", lambda now: lifecycle.replace_overlapping_attempts(now=now)),
    Duty("rescue", lambda now: rescue.run_once(now=now)),
    Duty("presence", lambda now: rescue.note_scheduler_alive(now=now)),
    Duty("throttles", lambda now: throttling.forget_idle_callers()),
)


def run_forever(stop: threading.Event) -> None:
    """Run all duties once a tick until `stop` is set; one that fails does not stop the others."""
    while not stop.is_set():
        for duty in DUTIES:
            try:
                duty.run_once(database_now())
            except (OperationalError, InterfaceError) as error:
                logger.warning("database away during %s: %s", duty.name, error)
                connection.close()
            except Exception:
                logger.exception("%s failed", duty.name)
        stop.wait(TICK_SECS)
