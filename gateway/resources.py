"""What is left of the machine that this process runs on. Usages are percentages."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from django.conf import settings

# The first reading of the processors takes this long; later ones look back to the one before.
FIRST_READING_SECS: Final = 0.1
FRESH_SECS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """One reading; `network_io` is None on a machine that does not tell."""

    cpu_usage: float
    memory_usage: float
    disk_usage: float
    network_io: dict[str, int] | None


class ProcessorMeter:
    """How busy the processors were since the last reading, of which there is at most one a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[float, float] | None = None

    def read(self) -> float:
        """Return the percentage of all processors' time that was in use."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > FRESH_SECS:
                interval = FIRST_READING_SECS if self._last is None else None
                self._last = (time.monotonic(), psutil.cpu_percent(interval=interval))
            return self._last[1]


_processors: Final = ProcessorMeter()


def resource_usage() -> ResourceUsage:
    """Read processors, memory, the disk of the data folder, and the network since the machine started."""
    network: Any = psutil.net_io_counters()
    return ResourceUsage(
        cpu_usage=_processors.read(),
        memory_usage=psutil.virtual_memory().percent,
        disk_usage=psutil.disk_usage(str(_nearest_folder(Path(settings.DATA_DIR)))).percent,
        network_io={
            "bytes_received": network.bytes_recv,
            "bytes_sent": network.bytes_sent,
            "packets_received": network.packets_recv,
            "packets_sent": network.packets_sent,
        }
        if network is not None
        else None,
    )


def _nearest_folder(path: Path) -> Path:
    """Return the folder, or the nearest above it that is there: a server on its own has no data folder."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
