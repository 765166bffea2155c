"""What the machine is doing, for heartbeats."""

import os
import time
from pathlib import Path

import psutil

from agents.protocol.messages import AgentMetrics


class Machine:
    """Measures this machine; usages in percent since the last look."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started_at = time.monotonic()
        psutil.cpu_percent(interval=None)

    def metrics(self) -> AgentMetrics:
        """Return the metrics of now; `uptime` is the daemon's, in seconds."""
        return AgentMetrics(
            cpu_usage=psutil.cpu_percent(interval=None),
            memory_usage=psutil.virtual_memory().percent,
            disk_usage=psutil.disk_usage(str(self._directory)).percent,
            load_1m=round(os.getloadavg()[0], 2),
            uptime=round(time.monotonic() - self._started_at, 1),
        )
