"""The scheduler process: every duty in turn, as often as it needs; any number of these may run at once."""

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from access import throttling
from agents import samples
from scheduling.clock import database_now
from scheduling.services import backfilling, bulk, lifecycle, planning, rescue, zone_data
from scheduling.services.retention import Retention

logger = logging.getLogger(__name__)

TICK_SECS: Final = 1.0
# A process does not see new data before it starts again, but others may have planned with older ones.
ZONE_DATA_SECS: Final = 600.0
RETENTION_SECS: Final = 10.0
FORGETTING_SECS: Final = 3600.0
# More often than samples are taken, so that no minute is left out.
SAMPLES_SECS: Final = 20.0

_RETENTION: Final = Retention()


@dataclass(frozen=True)
class Duty:
    """Something done again and again; `run_once` may race with itself in other processes.

    It is done at once and then every `every_secs` by the monotonic clock, after a failure at the next tick.
    What `has_more` goes on as soon as the other duties had their turn, while its `run_once` returns True.
    """

    name: str
    run_once: Callable[[datetime], object]
    every_secs: float = 0.0
    has_more: bool = False


def plan(now: datetime) -> int:
    """Plan what is due within the horizon."""
    return planning.run_once(
        now=now,
        horizon_secs=settings.HETUFLOW_PLANNING_HORIZON_SECS,
        catch_up_secs=settings.HETUFLOW_CATCH_UP_SECS,
    )


def note_presence(now: datetime) -> None:
    """Say that this process was there."""
    rescue.note_scheduler_alive(
        process=f"{socket.gethostname()}-{os.getpid()}", version=settings.HETUFLOW_VERSION, now=now
    )


DUTIES: Final = (
    Duty("planning", plan),
    Duty("zone data", lambda now: zone_data.run_once(now=now), every_secs=ZONE_DATA_SECS),
    Duty("backfilling", lambda now: backfilling.run_once(now=now)),
    Duty("bulk actions", lambda now: bulk.run_once(now=now), has_more=True),
    Duty("overlap", lambda now: lifecycle.skip_overlapping_tasks(now=now)),
    Duty("replace", lambda now: lifecycle.replace_overlapping_attempts(now=now)),
    Duty("rescue", lambda now: rescue.run_once(now=now)),
    Duty("presence", note_presence),
    Duty("forgetting", lambda now: rescue.forget_schedulers(now=now), every_secs=FORGETTING_SECS),
    Duty("retention", lambda now: _RETENTION.run_once(now=now), every_secs=RETENTION_SECS),
    Duty("throttles", lambda now: throttling.forget_idle_callers()),
    Duty("samples of agents", lambda now: samples.run_once(now=now), every_secs=SAMPLES_SECS),
)


def run_forever(stop: threading.Event, others: Sequence[Duty] = ()) -> None:
    """Run all duties once a tick until `stop` is set; one that fails does not stop the others.

    `others` are those of the layers above.
    """
    duties = (*DUTIES, *others)
    due_at = dict.fromkeys(duties, -math.inf)
    while not stop.is_set():
        pause_secs = TICK_SECS
        for duty in duties:
            if due_at[duty] > time.monotonic():
                continue
            try:
                if duty.run_once(database_now()) and duty.has_more:
                    pause_secs = 0.0
                due_at[duty] = time.monotonic() + duty.every_secs
            except (OperationalError, InterfaceError) as error:
                logger.warning("database away during %s: %s", duty.name, error)
                connection.close()
            except Exception:
                logger.exception("%s failed", duty.name)
        stop.wait(pause_secs)
